//! The bodies that the tests use, in every generation's shapes.

#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/it/support/bodies.rs"]
mod shapes;

use serde_json::{Value, json};

use shapes::{DAY, Generation, Invoice, MONTH, PRO, START, Session, Subscription, changed, event};

/// A subscription that is upgraded.
pub(crate) fn subscriptions() -> Vec<Value> {
    let upgraded = Subscription { items: vec![(PRO, 1)], ..Subscription::default() };
    let of = |generation| {
        let previous = json!({"items": Subscription::default().body(generation)["items"]});
        let kind = "customer.subscription.updated";
        changed(event(generation, "evt_sub", kind, START + DAY, &upgraded.body(generation)), previous)
    };
    Generation::ALL.map(of).to_vec()
}

/// An invoice that is paid.
pub(crate) fn invoices() -> Vec<Value> {
    let of = |generation| event(generation, "evt_in", "invoice.paid", START + 2, &Invoice::default().body(generation));
    Generation::ALL.map(of).to_vec()
}

/// A checkout session that is paid.
pub(crate) fn sessions() -> Vec<Value> {
    let kind = "checkout.session.completed";
    let of = |generation| event(generation, "evt_cs", kind, START + 2, &Session::credits().body(generation));
    Generation::ALL.map(of).to_vec()
}

/// `count` renewals of one subscription, a month apart, the oldest first: its own events and its invoices'.
pub(crate) fn renewals(count: i64) -> Vec<Value> {
    let months = (0..count).map(|month| START + month * MONTH);
    let of = |(number, at): (usize, i64)| {
        let subscription = Subscription { period_end: at + MONTH, ..Subscription::default() };
        let invoice = Invoice { created: at, paid_at: Some(at + 2), ..Invoice::default() };
        let (generation, kind) = (Generation::E, "customer.subscription.updated");
        [
            event(generation, &format!("evt_sub_{number}"), kind, at, &subscription.body(generation)),
            event(generation, &format!("evt_in_{number}"), "invoice.paid", at + 2, &invoice.body(generation)),
        ]
    };
    months.enumerate().flat_map(of).collect()
}
