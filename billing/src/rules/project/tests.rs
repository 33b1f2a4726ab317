//! The contract's "What the state must be", rules 2 to 6, sentence by sentence: from registers to columns, and from
//! columns and the clock to the plan that is given.

use serde_json::json;

use super::*;
use crate::plans::Catalogue;
use crate::rules::billing_of;
use crate::rules::entitlement::Subject;
use crate::rules::fact::{EVIDENCE, Kind, OWN, WriteKey};

mod calendar;
mod entitlements;
mod invoices;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(START + seconds, 0).unwrap()
}

/// A subscription whose fields were all told by its own event at `told` seconds.
fn subscription(id: &str, told: i64, fields: &[(&str, Value)]) -> Object {
    let mut object = Object::new(Kind::Subscription, id);
    let key = WriteKey { terminal: false, at: START + told, rank: OWN, changed: true, event: "evt_1".into() };
    for (field, value) in fields {
        object.write(*field, value.clone(), &key);
    }
    object
}

fn status(status: &str) -> (&'static str, Value) {
    ("status", json!(status))
}

fn created(seconds: i64) -> (&'static str, Value) {
    ("created", json!(START + seconds))
}

fn plan(plan: &str) -> (&'static str, Value) {
    ("plan", json!(plan))
}

fn projected(subscriptions: &[&Object]) -> WorkspaceState {
    project(&[], subscriptions, None, None, at(0))
}

#[test]
fn stripes_status_in_our_words() {
    let nothing = || Vec::new();
    let flag = || vec![("cancel_at_period_end", json!(true))];
    let date = || vec![("cancel_at", json!(START + DAY))];
    let cases = [
        ("trialing", nothing(), "trialing"),
        ("active", nothing(), "active"),
        ("active", vec![("cancel_at_period_end", json!(false)), ("cancel_at", Value::Null)], "active"),
        ("past_due", nothing(), "past_due"),
        ("unpaid", nothing(), "unpaid"),
        ("paused", nothing(), "paused"),
        ("incomplete", nothing(), "incomplete"),
        ("active", flag(), "cancel_at_period_end"),
        ("active", date(), "cancel_at_period_end"),
        ("trialing", flag(), "cancel_at_period_end"),
        ("trialing", date(), "cancel_at_period_end"),
        // What is not paid for is so, whether or not it will end.
        ("past_due", flag(), "past_due"),
        ("unpaid", flag(), "unpaid"),
        ("canceled", flag(), "deleted"),
        ("incomplete_expired", nothing(), "deleted"),
        // Stripe may invent others: no access, and the row stays for somebody to look at.
        ("hibernating", nothing(), "unpaid"),
        ("", nothing(), "unpaid"),
    ];
    for (told, fields, shown) in cases {
        let fields: Vec<_> = fields.into_iter().chain([status(told)]).collect();
        assert_eq!(projected(&[&subscription("sub_1", 0, &fields)]).subscription_status, shown, "{fields:?}");
    }
}

#[test]
fn without_a_subscription_the_own_trial_decides() {
    for (ends, shown) in [(None, "free"), (Some(0), "free"), (Some(-1), "free"), (Some(1), "trialing")] {
        let state = project(&[], &[], ends.map(at), None, at(0));
        assert_eq!(state.subscription_status, shown, "{ends:?}");
        assert_eq!((state.subscription_id, state.subscription_plan), (None, None));
    }
    // One of which nothing but a field is known is none yet, and one that ended is one.
    let nothing = subscription("sub_1", 0, &[created(0)]);
    assert_eq!(project(&[], &[&nothing], Some(at(1)), None, at(0)).subscription_status, "trialing");
    let ended = subscription("sub_1", 0, &[status("canceled")]);
    assert_eq!(project(&[], &[&ended], Some(at(1)), None, at(0)).subscription_status, "deleted");
}

#[test]
fn the_best_status_is_current_and_then_the_newest() {
    let ranks = ["active", "trialing", "past_due", "unpaid", "paused", "incomplete", "canceled"];
    for (index, better) in ranks.iter().enumerate() {
        for worse in &ranks[index + 1..] {
            // The better one is the older one, too, and comes first or last.
            let old = subscription("sub_a", 0, &[status(better), created(0)]);
            let new = subscription("sub_b", 0, &[status(worse), created(DAY)]);
            for order in [[&old, &new], [&new, &old]] {
                assert_eq!(projected(&order).subscription_id.as_deref(), Some("sub_a"), "{better} over {worse}");
            }
        }
    }
    let old = subscription("sub_b", 5, &[status("active"), created(0)]);
    let new = subscription("sub_a", 0, &[status("active"), created(1)]);
    assert_eq!(projected(&[&old, &new]).subscription_id.as_deref(), Some("sub_a"), "made later, not told later");
    // That it will end takes nothing from its status.
    let ending = subscription("sub_a", 0, &[status("active"), ("cancel_at_period_end", json!(true))]);
    let failing = subscription("sub_b", 0, &[status("past_due"), created(9)]);
    assert_eq!(projected(&[&failing, &ending]).subscription_status, "cancel_at_period_end");
}

#[test]
fn an_ended_one_never_comes_back_and_a_new_one_does() {
    let mut ended = Object::new(Kind::Subscription, "sub_1");
    let key = |terminal, seconds: i64, event: &str| WriteKey {
        terminal,
        at: START + seconds,
        rank: OWN,
        changed: true,
        event: event.into(),
    };
    ended.write("status", json!("canceled"), &key(true, 10, "evt_1"));
    ended.write("plan", json!("hobby"), &key(true, 10, "evt_1"));
    for late in ["active", "trialing", "past_due"] {
        ended.write("status", json!(late), &key(false, 99, "evt_2"));
        assert_eq!(projected(&[&ended]).subscription_status, "deleted", "{late}");
    }
    // Nor does a payment of its last invoice bring it back.
    let paid = WriteKey { rank: EVIDENCE, ..key(false, 200, "evt_3") };
    ended.write("evidence", json!({"status": "active", "at": START + 200, "invoice": "in_1"}), &paid);
    assert_eq!(projected(&[&ended]).subscription_status, "deleted");
    assert_eq!(projected(&[&ended]).subscription_plan.as_deref(), Some("hobby"), "the plan stays");

    let new = subscription("sub_2", 300, &[status("active"), plan("pro"), created(300)]);
    let state = projected(&[&ended, &new]);
    assert_eq!((state.subscription_id.as_deref(), state.subscription_plan.as_deref()), (Some("sub_2"), Some("pro")));
    assert_eq!(state.subscription_status, "active");
}

#[test]
fn a_price_that_no_plan_has_leaves_the_plan() {
    let known = subscription("sub_1", 0, &[status("canceled"), plan("hobby")]);
    let unknown = subscription("sub_2", 9, &[status("active"), created(9)]);
    let state = projected(&[&known, &unknown]);
    assert_eq!((state.subscription_id.as_deref(), state.subscription_plan.as_deref()), (Some("sub_2"), Some("hobby")));
    assert_eq!(projected(&[&unknown]).subscription_plan, None);
}

#[test]
fn the_columns_of_the_current_one() {
    let fields = [
        status("active"),
        plan("pro"),
        ("current_period_end", json!(START + 30 * DAY)),
        ("cancel_at_period_end", json!(false)),
        ("cancel_at", json!(START + 40 * DAY)),
    ];
    let state = projected(&[&subscription("sub_1", 0, &fields)]);
    assert!(state.cancel_at_period_end, "the flag says that it will end, however Stripe was told so");
    assert_eq!((state.current_period_end, state.cancel_at), (Some(at(30 * DAY)), Some(at(40 * DAY))));
    assert_eq!((state.past_due_since, state.date_paid), (None, None));
}

#[test]
fn customers_tell_the_date_paid_and_which_of_them_is_shown() {
    let customer = |id: &str, fields: &[(&str, i64)]| {
        let mut object = Object::new(Kind::Customer, id);
        for (field, seconds) in fields {
            let key = WriteKey { terminal: false, at: 0, rank: OWN, changed: true, event: format!("evt_{id}").into() };
            object.write(*field, json!(START + seconds), &key);
        }
        object
    };
    let first = customer("cus_b", &[("claim:ws_1", 1), ("date_paid", 3)]);
    let second = customer("cus_a", &[("claim:ws_1", 2), ("date_paid", 9)]);
    let state = project(&[&second, &first], &[], None, Some(at(5)), at(0));
    assert_eq!(state.stripe_customer_id.as_deref(), Some("cus_b"), "the earliest claim");
    assert_eq!((state.date_paid, state.fresh_as_of), (Some(at(9)), Some(at(5))));
    let by_hand = customer("cus_z", &[("linked_by_hand", 0)]);
    let later = customer("cus_y", &[("linked_by_hand", 1)]);
    let state = project(&[&first, &by_hand, &later], &[], None, None, at(0));
    assert_eq!(state.stripe_customer_id.as_deref(), Some("cus_y"), "the operator's last word");
    assert_eq!(project(&[], &[], None, None, at(0)).stripe_customer_id, None);
}
