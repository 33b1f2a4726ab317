use serde_json::json;

use super::*;
use crate::rules::fact::{Kind, OWN, WriteKey};

const SALE: Sale = Sale { credits: 10, total: 900 };

fn key(at: i64, event: &str) -> WriteKey {
    WriteKey { terminal: false, at, rank: OWN, changed: true, event: event.to_owned() }
}

fn payment(fields: &[(&str, Value)]) -> Object {
    let mut payment = Object::new(Kind::Payment, "pi_1");
    for (field, value) in fields {
        let at = value["at"].as_i64().unwrap_or_default();
        payment.write(*field, value.clone(), &key(at, &format!("evt_{at}")));
    }
    payment
}

fn refund(amount: i64, created: i64) -> Value {
    json!({"amount": amount, "created": created, "at": created, "reversed": false})
}

fn over(mut value: Value, at: i64) -> Value {
    value["reversed"] = json!(true);
    value["at"] = json!(at);
    value
}

fn level(amount: i64, at: i64) -> Value {
    json!({"amount": amount, "at": at, "charge": "ch_1"})
}

fn entries(fields: &[(&str, Value)]) -> Vec<(&'static str, String, i64)> {
    let payment = payment(fields);
    reversals(&SALE, &[&payment]).into_iter().map(|entry| (entry.reason, entry.source_id, entry.delta)).collect()
}

fn entry(reason: &'static str, source: &str, delta: i64) -> (&'static str, String, i64) {
    (reason, source.to_owned(), delta)
}

#[test]
fn parts_are_rounded_by_the_cumulative_amount() {
    let thirds = [("refund:re_1", refund(300, 1)), ("refund:re_2", refund(300, 2)), ("refund:re_3", refund(300, 3))];
    assert_eq!(entries(&thirds), [entry(REFUND, "re_1", -3), entry(REFUND, "re_2", -3), entry(REFUND, "re_3", -4)]);
}

#[test]
fn a_failed_refund_gives_back_what_it_took() {
    let fields = [("refund:re_1", over(refund(300, 1), 5)), ("refund:re_2", refund(900, 9))];
    let wanted = [entry(REFUND, "re_1", -3), entry(REFUND_FAILED, "re_1", 3), entry(REFUND, "re_2", -10)];
    assert_eq!(entries(&fields), wanted);
}

#[test]
fn a_dispute_and_a_refund_take_no_more_than_was_granted() {
    let lost = [("refund:re_1", refund(450, 1)), ("dispute:dp_1", refund(900, 2))];
    assert_eq!(entries(&lost), [entry(REFUND, "re_1", -5), entry(DISPUTE, "dp_1", -5)]);
    let won = [("refund:re_1", refund(450, 1)), ("dispute:dp_1", over(refund(900, 2), 3))];
    assert_eq!(entries(&won), [entry(REFUND, "re_1", -5), entry(DISPUTE, "dp_1", -5), entry(DISPUTE_WON, "dp_1", 5)]);
}

#[test]
fn a_charge_tells_of_refunds_that_are_not_known_by_themselves() {
    let charge = [("refunded:300", level(300, 1)), ("refunded:900", level(900, 2))];
    assert_eq!(entries(&charge), [entry(REFUND, "ch_1:300", -3), entry(REFUND, "ch_1:900", -7)]);
    // One of the two is known; the charge tells of the other.
    let mixed = [charge[0].clone(), charge[1].clone(), ("refund:re_2", refund(600, 2))];
    assert_eq!(entries(&mixed), [entry(REFUND, "ch_1:300", -3), entry(REFUND, "re_2", -7)]);
    let known = [charge[0].clone(), charge[1].clone(), mixed[2].clone(), ("refund:re_1", refund(300, 1))];
    assert_eq!(entries(&known), [entry(REFUND, "re_1", -3), entry(REFUND, "re_2", -7)]);
    // It failed in the very second.
    let failed = [("refunded:300", level(300, 1)), ("refund:re_1", over(refund(300, 1), 1))];
    assert_eq!(entries(&failed), [entry(REFUND, "re_1", -3), entry(REFUND_FAILED, "re_1", 3)]);
}

#[test]
fn two_payments_of_one_sale_are_reversed_together() {
    let one = payment(&[("refund:re_1", refund(500, 1))]);
    let other = payment(&[("refund:re_2", refund(400, 2))]);
    let deltas: Vec<i64> = reversals(&SALE, &[&one, &other]).iter().map(|entry| entry.delta).collect();
    assert_eq!(deltas, [-5, -5]);
}

#[test]
fn a_sale_of_nothing_is_taken_back_whole() {
    let payment = payment(&[("refund:re_1", refund(1, 1))]);
    assert_eq!(reversals(&Sale { credits: 10, total: 0 }, &[&payment])[0].delta, -10);
}

/// Enters what is wanted, the way the store does.
fn enter(ledger: &mut Vec<Entered>, wanted: &[Reversal], balance: &mut i64, spent: SpentRefund) {
    let before = ledger.clone();
    for change in changes(wanted, &before, *balance, spent) {
        let entered = Entered {
            id: change.reversal.source_id.clone(),
            reason: change.reversal.reason.to_owned(),
            source_id: change.reversal.source_id.clone(),
            delta: change.delta,
        };
        *balance += change.delta - change.entered.map_or(0, |known| known.delta);
        ledger.retain(|entry| Some(entry) != change.entered);
        ledger.push(entered);
    }
}

#[test]
fn the_ledger_ends_the_same_whatever_was_known_first() {
    let facts = [
        ("refund:re_1", refund(250, 1)),
        ("refunded:250", level(250, 1)),
        ("refund:re_2", over(refund(250, 2), 4)),
        ("refunded:500", level(500, 2)),
        ("dispute:dp_1", over(refund(900, 3), 6)),
        ("refund:re_3", refund(250, 5)),
    ];
    let mut ends = std::collections::BTreeSet::new();
    let mut order: Vec<usize> = (0..facts.len()).collect();
    for round in 0..720 {
        // The factorial number system names every order once.
        let (mut rest, mut left) = (round, (0..facts.len()).collect::<Vec<_>>());
        for (place, slot) in order.iter_mut().enumerate() {
            *slot = left.remove(rest % (facts.len() - place));
            rest /= facts.len() - place;
        }
        let mut known = payment(&[]);
        let (mut ledger, mut balance) = (Vec::new(), 10);
        for index in &order {
            known.merge(payment(std::slice::from_ref(&facts[*index])));
            enter(&mut ledger, &reversals(&SALE, &[&known]), &mut balance, SpentRefund::Negative);
            assert_eq!(balance, 10 + ledger.iter().map(|entry: &Entered| entry.delta).sum::<i64>());
            assert!((0..=10).contains(&balance), "{order:?}: {ledger:?}");
        }
        ledger.sort_by(|a, b| (&a.reason, &a.source_id).cmp(&(&b.reason, &b.source_id)));
        ends.insert(format!("{:?}", ledger.iter().map(|e| (&e.reason, &e.source_id, e.delta)).collect::<Vec<_>>()));
    }
    assert_eq!(ends.len(), 1, "{ends:#?}");
}

#[test]
fn with_a_floor_only_what_is_left_is_taken_and_given_back() {
    let disputed = payment(&[("dispute:dp_1", refund(900, 1))]);
    let (mut ledger, mut balance) = (Vec::new(), 4);
    enter(&mut ledger, &reversals(&SALE, &[&disputed]), &mut balance, SpentRefund::Floor);
    assert_eq!((balance, ledger[0].delta), (0, -4));
    // A later purchase does not pay for it when it is looked at again.
    balance += 10;
    enter(&mut ledger, &reversals(&SALE, &[&disputed]), &mut balance, SpentRefund::Floor);
    assert_eq!(balance, 10);
    let won = payment(&[("dispute:dp_1", over(refund(900, 1), 2))]);
    enter(&mut ledger, &reversals(&SALE, &[&won]), &mut balance, SpentRefund::Floor);
    assert_eq!((balance, ledger[1].delta), (14, 4));

    let (mut ledger, mut balance) = (Vec::new(), 4);
    enter(&mut ledger, &reversals(&SALE, &[&disputed]), &mut balance, SpentRefund::Negative);
    assert_eq!(balance, -6);
}
