//! What each event says: the same in the shapes of every generation, and never a panic whatever comes.

mod hostile;
mod invoices;
mod payloads;
mod sessions;
mod shapes;
mod subscriptions;

// The integration tests tell their stories with the same bodies.
#[path = "../../../tests/it/support/bodies.rs"]
mod bodies;

use std::collections::BTreeMap;

use bodies::{CREDITS, Generation, HOBBY, Invoice, PRO, START, Session, Subscription, event};
use serde_json::{Value, json};

use super::{Answers, read};
use crate::plans::{Catalogue, Plan, PlanKind};
use crate::rules::{Kind, Note, Object, Reading};

/// `pro` gives 100 credits with every paid period, and may be named by its lookup key.
fn catalogue() -> Catalogue {
    let plan = |id: &str, kind, prices: &[&str], credits| Plan {
        id: id.to_owned(),
        name: id.to_owned(),
        kind,
        prices: prices.iter().map(|price| (*price).to_owned()).collect(),
        credits,
        limits: BTreeMap::new(),
    };
    let plans = vec![
        plan("hobby", PlanKind::Subscription, &[HOBBY], 0),
        plan("pro", PlanKind::Subscription, &[PRO, "pro_monthly"], 100),
        plan("credits10", PlanKind::OneTime, &[CREDITS], 10),
    ];
    Catalogue::new(plans, BTreeMap::new())
}

fn reading(body: &Value) -> Reading {
    read(body, &catalogue(), &Answers::default()).unwrap_or_else(|unreadable| panic!("{unreadable}"))
}

fn facts(body: &Value) -> (Vec<Object>, Vec<Note>) {
    match reading(body) {
        Reading::Facts { objects, notes } => (objects, notes),
        other => panic!("{other:?}"),
    }
}

/// The fields that are told of the object of a kind, without the keys.
fn fields(body: &Value, kind: Kind) -> BTreeMap<String, Value> {
    let object = facts(body).0.into_iter().find(|object| object.kind == kind).unwrap();
    object.fields.into_iter().map(|(field, register)| (field.to_string(), register.value)).collect()
}

/// The notes of a body, as kind and cause.
fn notes(body: &Value) -> Vec<(String, String)> {
    facts(body).1.into_iter().map(|note| (note.kind, note.cause)).collect()
}

fn note(kind: &str, cause: impl Into<String>) -> (String, String) {
    (kind.to_owned(), cause.into())
}

fn of_subscription(what: &str, subscription: &Subscription) -> Value {
    let kind = format!("customer.subscription.{what}");
    event(Generation::C, "evt_1", &kind, START + 60, &subscription.body(Generation::C))
}

fn of_invoice(what: &str, invoice: &Invoice) -> Value {
    event(Generation::C, "evt_1", &format!("invoice.{what}"), START + 60, &invoice.body(Generation::C))
}

fn of_session(what: &str, session: &Session) -> Value {
    event(Generation::C, "evt_1", &format!("checkout.session.{what}"), START + 60, &session.body(Generation::C))
}

/// One event of each type that is read, in one generation's shape.
fn every_event(generation: Generation) -> Vec<Value> {
    let subscription = Subscription { workspace: Some("ws_1"), ..Subscription::default() }.body(generation);
    let invoice = Invoice { workspace: Some("ws_1"), ..Invoice::default() }.body(generation);
    let open = Invoice { status: "open", reason: "subscription_cycle", paid_at: None, ..Invoice::default() };
    let customer = json!({
        "id": "cus_1", "object": "customer", "email": "ada@example.com", "name": "Ada",
        "metadata": {"workspace_id": "ws_1"}, "preferred_locales": ["pt-BR"],
    });
    let refund = json!({
        "id": "re_1", "object": "refund", "amount": 300, "charge": "ch_1", "payment_intent": "pi_1", "currency": "eur",
        "status": "succeeded", "created": START + 50,
    });
    let dispute = json!({
        "id": "dp_1", "object": "dispute", "amount": 900, "charge": "ch_1", "payment_intent": "pi_1", "status": "won",
        "created": START + 50,
    });
    let charge = json!({
        "id": "ch_1", "object": "charge", "amount": 900, "amount_refunded": 300, "customer": "cus_1",
        "payment_intent": "pi_1", "currency": "eur",
    });
    let paid = json!({
        "id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "amount_paid": 900,
        "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
    });
    let price = json!({
        "id": "price_1", "object": "price", "product": "prod_1", "unit_amount": 900, "currency": "eur", "active": true,
        "recurring": {"interval": "month"}, "lookup_key": "hobby_monthly", "nickname": "Hobby",
    });
    let of = |prefix: &str, types: &[&str], object: &Value| {
        let kinds = types.iter().map(|what| format!("{prefix}.{what}"));
        kinds.map(|kind| event(generation, "evt_1", &kind, START + 60, object)).collect::<Vec<_>>()
    };
    [
        of("customer", &["created", "updated", "deleted"], &customer),
        of("customer.subscription", &["created", "updated", "deleted", "paused", "resumed"], &subscription),
        of("customer.subscription", &["trial_will_end", "pending_update_applied"], &subscription),
        of("invoice", &["created", "finalized", "updated", "paid", "payment_succeeded", "voided"], &invoice),
        of("invoice", &["payment_failed", "payment_action_required", "marked_uncollectible"], &open.body(generation)),
        of("invoice", &["overdue"], &open.body(generation)),
        of(
            "checkout.session",
            &["completed", "async_payment_succeeded", "async_payment_failed", "expired"],
            &Session { quantity: Some("2"), ..Session::credits() }.body(generation),
        ),
        of("charge", &["refunded"], &charge),
        of("refund", &["created", "failed"], &refund),
        of("charge.dispute", &["created", "closed"], &dispute),
        of("invoice_payment", &["paid"], &paid),
        of("price", &["created", "deleted"], &price),
        of("coupon", &["created"], &json!({"id": "WINTER", "object": "coupon", "percent_off": 12.5, "valid": true})),
        of("promotion_code", &["created"], &json!({"id": "promo_1", "code": "GO", "promotion": {"coupon": "WINTER"}})),
    ]
    .concat()
}
