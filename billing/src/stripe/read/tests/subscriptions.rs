//! `customer.subscription.*`.

use super::bodies::{DAY, MONTH, changed};
use super::*;

#[test]
fn of_several_items_the_highest_plan_and_the_latest_end() {
    let several = Subscription { items: vec![(PRO, 2), (HOBBY, 1), ("price_seats", 5)], ..Subscription::default() };
    let mut body = of_subscription("created", &several);
    body["data"]["object"]["items"]["data"][1]["current_period_end"] = json!(START + MONTH + DAY);
    let told = fields(&body, Kind::Subscription);
    assert_eq!((&told["plan"], &told["current_period_end"]), (&json!("pro"), &json!(START + MONTH + DAY)));
    let items = json!([
        {"price": PRO, "quantity": 2}, {"price": HOBBY, "quantity": 1}, {"price": "price_seats", "quantity": 5},
    ]);
    assert_eq!(told["items"], items);
    assert_eq!(notes(&body), [note("subscription_created", "sub_1")], "beside a plan, an extra is nothing to note");
}

#[test]
fn a_price_that_no_plan_has_is_noted_and_leaves_the_plan_alone() {
    let odd = Subscription { items: vec![("price_b", 1), ("price_a", 1), ("price_b", 1)], ..Subscription::default() };
    let body = of_subscription("created", &odd);
    assert_eq!(fields(&body, Kind::Subscription).get("plan"), None);
    assert_eq!(fields(&body, Kind::Subscription)["status"], "active");
    let wanted = ["price_a", "price_b"].map(|price| note("unknown_price", format!("sub_1:{price}")));
    assert_eq!(notes(&body)[..2], wanted);
}

#[test]
fn a_lookup_key_names_a_plan_too() {
    let mut body = of_subscription("created", &Subscription { items: vec![("price_x", 1)], ..Subscription::default() });
    body["data"]["object"]["items"]["data"][0]["price"]["lookup_key"] = json!("pro_monthly");
    assert_eq!(fields(&body, Kind::Subscription)["plan"], "pro");
}

#[test]
fn before_there_were_items_the_plan_stood_on_top() {
    let mut body = event(
        Generation::A,
        "evt_1",
        "customer.subscription.created",
        START,
        &Subscription::default().body(Generation::A),
    );
    body["data"]["object"].as_object_mut().unwrap().remove("items");
    let told = fields(&body, Kind::Subscription);
    assert_eq!((&told["plan"], &told["current_period_end"]), (&json!("hobby"), &json!(START + MONTH)));
}

#[test]
fn the_end_that_is_coming_is_noted_once_per_request() {
    let running = Subscription::default();
    let flagged = Subscription { cancel_at_period_end: true, canceled_at: Some(START + 9), ..running.clone() };
    let dated = Subscription { cancel_at: Some(START + 40 * DAY), canceled_at: Some(START + 9), ..running.clone() };
    let silent = Subscription { cancel_at: Some(START + 40 * DAY), ..running.clone() };
    let cases = [
        (&running, None),
        (&flagged, Some((START + 9, START + MONTH))),
        (&dated, Some((START + 9, START + 40 * DAY))),
        // No time of the request is known: the end that it leads to tells one from the next.
        (&silent, Some((START + 40 * DAY, START + 40 * DAY))),
    ];
    for (subscription, wanted) in cases {
        let (_, notes) = facts(&of_subscription("updated", subscription));
        let cancelled: Vec<_> = notes.iter().filter(|note| note.kind == "subscription_cancelled").collect();
        match wanted {
            None => assert!(cancelled.is_empty()),
            Some((request, ends_at)) => {
                assert_eq!(cancelled.len(), 1);
                assert_eq!(cancelled[0].cause, format!("sub_1:{request}"));
                assert_eq!(
                    (&cancelled[0].data["ends_at"], &cancelled[0].data["plan"]),
                    (&json!(ends_at), &json!("hobby"))
                );
            }
        }
    }
}

#[test]
fn a_deletion_is_the_end_whatever_the_snapshot_says() {
    let body = of_subscription("deleted", &Subscription { cancel_at_period_end: true, ..Subscription::default() });
    let (objects, told) = facts(&body);
    let status = objects[0].register("status").unwrap();
    assert_eq!((&status.value, status.key.terminal, status.key.changed), (&json!("canceled"), true, true));
    assert_eq!(told.iter().map(|note| note.kind.as_str()).collect::<Vec<_>>(), ["subscription_deleted"]);
    for (status, terminal) in [("canceled", true), ("incomplete_expired", true), ("unpaid", false), ("active", false)] {
        let (objects, _) = facts(&of_subscription("updated", &Subscription { status, ..Subscription::default() }));
        assert_eq!(objects[0].register("status").unwrap().key.terminal, terminal, "{status}");
    }
}

#[test]
fn what_an_update_changed_is_known_from_what_was_before() {
    let body =
        changed(of_subscription("updated", &Subscription::default()), json!({"status": "incomplete", "items": {}}));
    let (objects, _) = facts(&body);
    for (field, is) in [("status", true), ("plan", true), ("current_period_end", true), ("cancel_at", false)] {
        assert_eq!(objects[0].register(field).unwrap().key.changed, is, "{field}");
    }
}

#[test]
fn two_events_of_one_change_are_one_update() {
    let mut twin = of_subscription("updated", &Subscription::default());
    let first = notes(&twin);
    twin["id"] = json!("evt_2");
    assert_eq!(notes(&twin), first);
    twin["data"]["object"]["status"] = json!("past_due");
    assert_ne!(notes(&twin), first);
}

#[test]
fn the_customer_is_claimed_by_metadata() {
    let body = of_subscription("created", &Subscription { workspace: Some("ws_1"), ..Subscription::default() });
    assert_eq!(
        fields(&body, Kind::Customer),
        BTreeMap::from([("claim:ws_1".to_owned(), json!(START + 60)), ("seen".to_owned(), json!(START + 60)),])
    );
    assert!(facts(&body).0.iter().all(|object| object.owner.as_deref() == Some("cus_1")));
}
