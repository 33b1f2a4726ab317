//! `invoice.*`, and what an invoice says of its subscription.

use super::bodies::{DAY, MONTH};
use super::*;

/// Status, plan, and the end of what was paid for; `None` where the invoice says nothing of the subscription.
fn evidence(body: &Value) -> Option<(String, Value, Option<i64>)> {
    let object = facts(body).0.into_iter().find(|object| object.kind == Kind::Subscription)?;
    let said = object.register("evidence")?.value.clone();
    let end = object.register("paid_for").and_then(|paid| paid.value["period_end"].as_i64());
    Some((said["status"].as_str()?.to_owned(), said["plan"].clone(), end))
}

#[test]
fn what_a_payment_and_a_failure_say_of_the_subscription() {
    let paid = Invoice::default();
    let end = START + MONTH;
    let open = |reason| Invoice { status: "open", reason, paid_at: None, ..Invoice::default() };
    let with = |lines| Invoice { lines, ..Invoice::default() };
    let of = |status: &str, plan: Value, end| Some((status.to_owned(), plan, end));
    let cases = [
        ("paid", paid.clone(), of("active", json!("hobby"), Some(end))),
        ("payment_succeeded", paid.clone(), of("active", json!("hobby"), Some(end))),
        ("updated", paid, of("active", json!("hobby"), Some(end))),
        ("payment_failed", open("subscription_cycle"), of("past_due", json!("hobby"), None)),
        ("payment_failed", open("subscription_create"), of("incomplete", json!("hobby"), None)),
        ("payment_action_required", open("subscription_cycle"), None),
        ("finalized", open("subscription_cycle"), None),
        // A trial's invoice of zero says nothing, nor does a period that a credit note of old paid for.
        ("paid", with(vec![(HOBBY, 0, end, false)]), None),
        ("paid", with(vec![(HOBBY, 900, end, false), (PRO, -900, end, true)]), None),
        // The price is that of the regular line, and so is the period.
        (
            "paid",
            with(vec![(PRO, 500, end + 9 * DAY, true), (HOBBY, 900, end, false)]),
            of("active", json!("hobby"), Some(end)),
        ),
        ("paid", with(vec![(HOBBY, -600, end, true), (PRO, 1900, end, true)]), of("active", Value::Null, None)),
        ("paid", Invoice { subscription: None, ..Invoice::default() }, None),
    ];
    for (what, invoice, wanted) in cases {
        let body = of_invoice(what, &invoice);
        assert_eq!(evidence(&body), wanted, "{what}: {:?}", invoice.lines);
    }
}

#[test]
fn a_paid_invoice_is_one_payment_whichever_event_tells() {
    let invoice = Invoice { lines: vec![(PRO, 2900, START + MONTH, false)], ..Invoice::default() };
    for what in ["paid", "payment_succeeded", "updated"] {
        let body = of_invoice(what, &invoice);
        assert_eq!(notes(&body), [note("payment_succeeded", "in_1"), note("credits_granted", "in_1")], "{what}");
        let told = fields(&body, Kind::Invoice);
        assert_eq!(
            (&told["status"], &told["total"], &told["paid_at"]),
            (&json!("paid"), &json!(2900), &json!(START + 2))
        );
        assert_eq!(fields(&body, Kind::Customer)["date_paid"], START + 2);
    }
}

#[test]
fn credits_come_with_a_paid_regular_period_alone() {
    let pro = |reason, amount, proration| Invoice {
        reason,
        lines: vec![(PRO, amount, START + MONTH, proration)],
        ..Invoice::default()
    };
    let cases = [
        (pro("subscription_create", 2900, false), true),
        (pro("subscription_cycle", 2900, false), true),
        (pro("subscription_create", 0, false), false),
        (pro("subscription_update", 2900, true), false),
        (pro("manual", 2900, false), false),
        (Invoice::default(), false),
    ];
    for (invoice, granted) in cases {
        let (_, notes) = facts(&of_invoice("paid", &invoice));
        let credits = notes.iter().find(|note| note.kind == "credits_granted");
        assert_eq!(credits.map(|note| note.data["credits"].clone()), granted.then(|| json!(100)), "{invoice:?}");
    }
}

#[test]
fn each_attempt_is_a_failure_of_its_own() {
    let open = Invoice {
        status: "open",
        reason: "subscription_cycle",
        paid_at: None,
        attempt: 3,
        next_attempt: Some(START + 5 * DAY),
        ..Invoice::default()
    };
    let body = of_invoice("payment_failed", &open);
    assert_eq!(notes(&body), [note("payment_failed", "in_1:3")]);
    assert_eq!(notes(&of_invoice("payment_action_required", &open)), [note("payment_action_required", "in_1:3")]);
    let data = &facts(&body).1[0].data;
    assert_eq!((&data["next_payment_attempt"], &data["amount_due"]), (&json!(START + 5 * DAY), &json!(900)));
    assert_eq!(fields(&body, Kind::Invoice)["status"], "open");
}

#[test]
fn the_type_says_the_status_where_it_can() {
    let draft = Invoice { status: "draft", paid_at: None, ..Invoice::default() };
    let cases = [
        ("created", "draft", false),
        ("voided", "void", true),
        ("marked_uncollectible", "uncollectible", false),
        ("paid", "paid", true),
    ];
    for (what, status, terminal) in cases {
        let (objects, _) = facts(&of_invoice(what, &draft));
        let invoice = objects.iter().find(|object| object.kind == Kind::Invoice).unwrap();
        let told = invoice.register("status").unwrap();
        assert_eq!((told.value.as_str(), told.key.terminal), (Some(status), terminal), "{what}");
    }
    // Before there was a status, there was a flag.
    let mut old = of_invoice("updated", &Invoice::default());
    old["data"]["object"].as_object_mut().unwrap().remove("status");
    old["data"]["object"]["paid"] = json!(true);
    assert_eq!(fields(&old, Kind::Invoice)["status"], "paid");
}

#[test]
fn the_first_invoice_says_since_when_a_subscription_is_billed() {
    let of =
        |what: &str, created| fields(&of_invoice(what, &Invoice { created, ..Invoice::default() }), Kind::Subscription);
    assert_eq!(of("paid", START)["billed_since"], json!(START));
    let key = |created| {
        let (objects, _) = facts(&of_invoice("paid", &Invoice { created, ..Invoice::default() }));
        let subscription = objects.into_iter().find(|object| object.kind == Kind::Subscription).unwrap();
        subscription.register("billed_since").unwrap().key.clone()
    };
    assert!(key(START) > key(START + MONTH));
}

#[test]
fn only_a_price_that_means_a_plan_says_which_plan_is_billed() {
    let of = |price| {
        let invoice = Invoice { lines: vec![(price, 900, START + MONTH, false)], ..Invoice::default() };
        fields(&of_invoice("paid", &invoice), Kind::Subscription).get("billed_plan").cloned()
    };
    assert_eq!(of(HOBBY), Some(json!("hobby")));
    assert_eq!(of("price_legacy"), None);
}

/// The last attempt fails, and Stripe gives the invoice up in the same second.
#[test]
fn an_attempt_that_failed_changes_no_status() {
    let open = Invoice { status: "open", paid_at: None, ..Invoice::default() };
    let changes = |what: &str| {
        let (objects, _) = facts(&of_invoice(what, &open));
        let invoice = objects.iter().find(|object| object.kind == Kind::Invoice).unwrap();
        invoice.register("status").unwrap().key.changed
    };
    for what in ["payment_failed", "payment_action_required", "overdue"] {
        assert!(!changes(what), "{what}");
    }
    for what in ["finalized", "marked_uncollectible", "voided"] {
        assert!(changes(what), "{what}");
    }
}

#[test]
fn sums_stay_within_their_range_however_many_lines() {
    let mut body = of_invoice("paid", &Invoice::default());
    let mut line = body["data"]["object"]["lines"]["data"][0].clone();
    line["amount"] = json!(1_000_000_000_000_000_i64);
    body["data"]["object"]["lines"]["data"] = json!(vec![line; 10_000]);
    assert!(evidence(&body).is_some());
}
