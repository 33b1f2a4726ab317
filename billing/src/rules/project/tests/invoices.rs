//! What invoices say of their subscription, where its own events do not come or come late.

use super::*;

/// Evidence of an invoice that was made at `made` seconds; `said` is when it was paid or failed.
fn evidence(object: &mut Object, invoice: &str, made: i64, status: &str, said: i64) {
    let key = WriteKey {
        terminal: false,
        at: START + made,
        rank: EVIDENCE,
        changed: status == "active",
        event: format!("{said:013}:evt").into(),
    };
    let value = json!({"status": status, "at": START + said, "invoice": invoice, "plan": "hobby"});
    object.write("evidence", value, &key);
    if status == "active" {
        object.write("paid_for", json!({"period_end": START + made + 30 * DAY, "plan": "hobby"}), &key);
        object.write(PAID_FIELD, json!({"invoice": invoice, "at": START + said}), &key);
    } else if status == "past_due" {
        let first = WriteKey { event: format!("{:013}", 9_000_000_000 - said).into(), ..key };
        object.write(format!("{FAILING_FIELD}{invoice}"), json!({"invoice": invoice, "at": START + said}), &first);
    }
}

#[test]
fn a_subscription_known_from_its_invoices_alone() {
    let mut known = Object::new(Kind::Subscription, "sub_1");
    evidence(&mut known, "in_1", 0, "active", 2);
    let state = projected(&[&known]);
    assert_eq!((state.subscription_status.as_str(), state.subscription_plan.as_deref()), ("active", Some("hobby")));
    assert_eq!(state.current_period_end, Some(at(30 * DAY)));

    evidence(&mut known, "in_2", 30 * DAY, "past_due", 30 * DAY + 5);
    evidence(&mut known, "in_2", 30 * DAY, "past_due", 33 * DAY);
    let state = projected(&[&known]);
    assert_eq!((state.subscription_status.as_str(), state.subscription_plan.as_deref()), ("past_due", Some("hobby")));
    assert_eq!(state.current_period_end, Some(at(30 * DAY)), "what was paid for stays paid for");
    assert_eq!(state.past_due_since, Some(at(30 * DAY + 5)), "the first failure, not the latest");

    // A late word of the first month changes nothing.
    evidence(&mut known, "in_1", 0, "active", 35 * DAY);
    assert_eq!(projected(&[&known]).subscription_status, "past_due");

    evidence(&mut known, "in_2", 30 * DAY, "active", 35 * DAY);
    evidence(&mut known, "in_2", 30 * DAY, "past_due", 36 * DAY);
    let state = projected(&[&known]);
    assert_eq!(state.subscription_status, "active", "a paid invoice stays paid");
    assert_eq!((state.current_period_end, state.past_due_since), (Some(at(60 * DAY)), None));
}

#[test]
fn an_invoice_overrules_only_what_it_can_know_better() {
    // Own status, what the invoice says, whether it is said later, and what is shown.
    let cases = [
        ("past_due", "active", true, "active"),
        ("unpaid", "active", true, "active"),
        ("incomplete", "active", true, "active"),
        ("trialing", "active", true, "active"),
        ("past_due", "active", false, "past_due"),
        ("active", "past_due", true, "past_due"),
        ("trialing", "past_due", true, "past_due"),
        ("active", "past_due", false, "active"),
        ("paused", "active", true, "paused"),
        ("unpaid", "past_due", true, "unpaid"),
        ("active", "incomplete", true, "active"),
        ("hibernating", "active", true, "unpaid"),
    ];
    for (own, says, later, shown) in cases {
        let mut object = subscription("sub_1", 100, &[status(own)]);
        evidence(&mut object, "in_1", 0, says, if later { 101 } else { 100 });
        assert_eq!(projected(&[&object]).subscription_status, shown, "{own}, then {says}, later: {later}");
    }
}

#[test]
fn the_own_period_stands_unless_a_later_invoice_pays_for_more() {
    let own = |told, end: i64| {
        subscription("sub_1", told, &[status("active"), plan("pro"), ("current_period_end", json!(START + end))])
    };
    // When the subscription told, its end, when the invoice was made (it pays for 30 days), the end that is shown.
    let day = DAY;
    let cases = [
        (0, 30 * day, 30 * day, 60 * day, "hobby"),
        (40 * day, 60 * day, 30 * day, 60 * day, "pro"),
        (40 * day, 45 * day, 30 * day, 45 * day, "pro"),
        (0, 365 * day, 30 * day, 365 * day, "hobby"),
    ];
    for (told, end, made, shown, plan) in cases {
        let mut object = own(told, end);
        evidence(&mut object, "in_1", made, "active", made);
        let state = projected(&[&object]);
        assert_eq!(state.current_period_end, Some(at(shown)), "{told} {end} {made}");
        assert_eq!(state.subscription_plan.as_deref(), Some(plan), "{told} {end} {made}");
    }
}

#[test]
fn the_grace_counts_from_the_first_failure_of_the_invoice_that_is_unpaid() {
    // No invoice is known: since the subscription said so.
    assert_eq!(projected(&[&subscription("sub_1", 70, &[status("past_due")])]).past_due_since, Some(at(70)));
    let mut object = subscription("sub_1", 4 * DAY, &[status("past_due")]);
    evidence(&mut object, "in_1", 0, "past_due", 3 * DAY);
    evidence(&mut object, "in_1", 0, "past_due", 5);
    assert_eq!(projected(&[&object]).past_due_since, Some(at(5)));
    // The next invoice fails, too; the one before was paid meanwhile.
    evidence(&mut object, "in_1", 0, "active", 6 * DAY);
    evidence(&mut object, "in_2", 30 * DAY, "past_due", 31 * DAY);
    assert_eq!(projected(&[&object]).past_due_since, Some(at(31 * DAY)));
}

#[test]
fn a_second_unpaid_invoice_gives_no_new_grace() {
    let became = |told: i64| ("status_since", json!({"status": "past_due", "at": START + told}));
    let mut object = subscription("sub_1", 40 * DAY, &[status("past_due"), became(6)]);
    evidence(&mut object, "in_1", 0, "past_due", 5);
    evidence(&mut object, "in_2", 30 * DAY, "past_due", 31 * DAY);
    assert_eq!(projected(&[&object]).past_due_since, Some(at(6)));
    // The first was paid after all, and nobody has told yet what that made of the status.
    evidence(&mut object, "in_1", 0, "active", 20 * DAY);
    assert_eq!(projected(&[&object]).past_due_since, Some(at(31 * DAY)));
    // It ran in between.
    let ran = ("status_since", json!({"status": "active", "at": START + 20 * DAY}));
    let mut object = subscription("sub_1", 40 * DAY, &[status("past_due"), ran]);
    evidence(&mut object, "in_2", 30 * DAY, "past_due", 31 * DAY);
    assert_eq!(projected(&[&object]).past_due_since, Some(at(31 * DAY)));
}

/// Each of an invoice, when it was made, what it says and when; the last is since when it is past due.
#[test]
fn where_invoices_alone_tell_the_grace_counts_from_the_first_unpaid_after_the_last_paid() {
    type Said = (&'static str, i64, &'static str, i64);
    let paid: Said = ("in_1", 0, "active", 1);
    let (failed, again): (Said, Said) = (("in_2", 30, "past_due", 31), ("in_2", 30, "past_due", 34));
    let next: Said = ("in_3", 60, "past_due", 61);
    let cases: [(&[Said], i64); 5] = [
        (&[paid, failed, again, next], 31),
        (&[failed, next], 31),
        (&[paid, failed, ("in_2", 30, "active", 36), next, ("in_4", 90, "past_due", 91)], 61),
        // The older one is paid when the next has failed already.
        (&[paid, failed, next, ("in_2", 30, "active", 62)], 61),
        // What is paid of what was asked before says nothing.
        (&[paid, failed, next, ("in_0", -30, "active", 62)], 31),
    ];
    for (said, since) in cases {
        let tell = |said: &[Said]| {
            let mut object = Object::new(Kind::Subscription, "sub_1");
            for (invoice, made, status, at) in said {
                evidence(&mut object, invoice, made * DAY, status, at * DAY);
            }
            projected(&[&object]).past_due_since
        };
        assert_eq!(tell(said), Some(at(since * DAY)), "{said:?}");
        assert_eq!(tell(&said.iter().rev().copied().collect::<Vec<_>>()), Some(at(since * DAY)), "{said:?}, reversed");
    }
}

#[test]
fn what_failed_before_the_subscription_ran_by_its_own_word_counts_no_more() {
    let since = |ran_at: i64| {
        let mut object = subscription("sub_1", ran_at, &[status("active")]);
        evidence(&mut object, "in_1", 0, "past_due", DAY);
        evidence(&mut object, "in_2", 30 * DAY, "past_due", 31 * DAY);
        projected(&[&object]).past_due_since
    };
    assert_eq!(since(0), Some(at(DAY)));
    assert_eq!(since(2 * DAY), Some(at(31 * DAY)));
}

#[test]
fn of_two_that_only_invoices_tell_of_the_one_billed_first_is_the_older() {
    let since = |object: &mut Object, made: i64| {
        let key = WriteKey { terminal: false, at: -made, rank: EVIDENCE, changed: false, event: "evt_1".into() };
        object.write("billed_since", json!(START + made), &key);
    };
    let mut old = Object::new(Kind::Subscription, "sub_z");
    evidence(&mut old, "in_1", 0, "active", 2);
    since(&mut old, 0);
    let mut new = Object::new(Kind::Subscription, "sub_a");
    evidence(&mut new, "in_2", 60 * DAY, "active", 60 * DAY);
    since(&mut new, 60 * DAY);
    // Its renewal does not make the older one the newest.
    since(&mut old, 61 * DAY);
    let state = projected(&[&old, &new]);
    assert_eq!(state.subscription_id.as_deref(), Some("sub_a"));
    assert_eq!(state.current_period_end, Some(at(90 * DAY)));
}

#[test]
fn an_invoice_whose_price_means_no_plan_leaves_the_plan() {
    let mut object = Object::new(Kind::Subscription, "sub_1");
    let key = |made: i64| WriteKey {
        terminal: false,
        at: START + made,
        rank: EVIDENCE,
        changed: true,
        event: format!("evt_{made}").into(),
    };
    object.write("billed_plan", json!("pro"), &key(0));
    object.write("evidence", json!({"status": "active", "at": START + 9, "invoice": "in_2", "plan": null}), &key(9));
    assert_eq!(projected(&[&object]).subscription_plan.as_deref(), Some("pro"));
}
