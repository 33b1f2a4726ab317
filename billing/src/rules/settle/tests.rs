use serde_json::json;

use super::*;
use crate::rules::fact::{Kind, OWN, WriteKey};

fn sale() -> Sale {
    Sale { id: "cs_1".to_owned(), credits: 10, total: 900, at: DateTime::UNIX_EPOCH }
}

fn key(at: i64, event: &str) -> WriteKey {
    WriteKey { terminal: false, at, rank: OWN, changed: true, event: event.into() }
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
    reversals(&sale(), &[&payment]).into_iter().map(|entry| (entry.reason, entry.source_id, entry.delta)).collect()
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
    let deltas: Vec<i64> = reversals(&sale(), &[&one, &other]).iter().map(|entry| entry.delta).collect();
    assert_eq!(deltas, [-5, -5]);
}

#[test]
fn a_sale_of_nothing_is_taken_back_whole() {
    let payment = payment(&[("refund:re_1", refund(1, 1))]);
    assert_eq!(reversals(&Sale { total: 0, ..sale() }, &[&payment])[0].delta, -10);
}

/// A ledger of one workspace: the sale's grant at 0, what was spent and when, and what is settled.
struct Ledger {
    spent_refund: SpentRefund,
    others: Vec<(i64, i64)>,
    entered: Vec<Entered>,
}

impl Ledger {
    fn new(spent_refund: SpentRefund, others: &[(i64, i64)]) -> Self {
        Self { spent_refund, others: [&[(0, 10)], others].concat(), entered: Vec::new() }
    }

    fn balance(&self) -> i64 {
        let settled: i64 = self.entered.iter().map(|entry| entry.delta).sum();
        settled + self.others.iter().map(|(_, delta)| delta).sum::<i64>()
    }

    /// The least of the balances from `at` on, without what is settled.
    fn least_since(&self, at: DateTime<Utc>) -> i64 {
        let balance = |at: i64| self.others.iter().filter(|(when, _)| *when <= at).map(|(_, delta)| delta).sum::<i64>();
        let later = self.others.iter().map(|(when, _)| *when).filter(|when| *when > at.timestamp());
        later.chain([at.timestamp()]).map(balance).min().unwrap()
    }

    /// Enters what the facts call for, the way the store does.
    fn settle(&mut self, payment: &Object) {
        let mut wanted = reversals(&sale(), &[payment]);
        if self.spent_refund == SpentRefund::Floor {
            only_what_is_left(&mut wanted, |at| self.least_since(at));
        }
        let before = self.entered.clone();
        let Changes { new, corrected, gone } = changes(&wanted, &before);
        self.entered.retain(|entry| !gone.contains(&entry) && !corrected.iter().any(|(known, _)| *known == entry));
        for reversal in new.into_iter().chain(corrected.into_iter().map(|(_, reversal)| reversal)) {
            self.entered.push(Entered {
                id: String::new(),
                sale: reversal.sale.clone(),
                reason: reversal.reason.to_owned(),
                source_id: reversal.source_id.clone(),
                delta: reversal.delta,
            });
        }
    }

    fn rows(&self) -> Vec<(String, String, i64)> {
        let row = |entry: &Entered| (entry.reason.clone(), entry.source_id.clone(), entry.delta);
        let mut rows: Vec<_> = self.entered.iter().map(row).collect();
        rows.sort();
        rows
    }
}

type Fact = (&'static str, Value);

fn orders(facts: &[Fact]) -> Vec<Vec<Fact>> {
    if facts.is_empty() {
        return vec![Vec::new()];
    }
    let of_first = |index: usize| {
        let mut rest = facts.to_vec();
        let first = rest.remove(index);
        orders(&rest).into_iter().map(move |mut order| {
            order.insert(0, first.clone());
            order
        })
    };
    (0..facts.len()).flat_map(of_first).collect()
}

/// What refunds, disputes and the charge tell, with the difficulties that each set is there for.
fn told() -> Vec<(&'static str, Vec<Fact>)> {
    let many = vec![
        ("refund:re_1", refund(250, 1)),
        ("refunded:250", level(250, 1)),
        ("refund:re_2", over(refund(250, 2), 4)),
        ("refunded:500", level(500, 2)),
        ("dispute:dp_1", over(refund(900, 3), 6)),
        ("refund:re_3", refund(250, 5)),
    ];
    let failed = over(refund(300, 1), 20);
    vec![
        ("all that there is", many),
        ("a refund and a dispute", vec![("refund:re_1", refund(450, 1)), ("dispute:dp_1", refund(900, 2))]),
        ("two parts", vec![("refund:re_1", refund(300, 1)), ("refund:re_2", refund(600, 2))]),
        (
            "the same amount twice, the first refund never told",
            vec![("refunded:300", level(300, 1)), ("refunded:300", level(300, 40)), ("refund:re_2", refund(300, 40))],
        ),
        (
            "the same amount twice",
            vec![
                ("refunded:300", level(300, 1)),
                ("refunded:300", level(300, 40)),
                ("refund:re_2", refund(300, 40)),
                ("refund:re_1", refund(300, 1)),
                ("refund:re_1", failed),
            ],
        ),
        (
            "amounts of one second",
            vec![
                ("refunded:300", level(300, 2)),
                ("refunded:900", level(900, 2)),
                ("refund:re_1", refund(300, 1)),
                ("refund:re_2", refund(600, 2)),
            ],
        ),
        (
            "a smaller one after one that failed",
            vec![
                ("refunded:900", level(900, 1)),
                ("refund:re_1", over(refund(900, 1), 5)),
                ("refunded:450", level(450, 9)),
                ("refund:re_2", refund(450, 9)),
            ],
        ),
        (
            "the same again after one that failed, which is told late",
            vec![
                ("refunded:900", level(900, 1)),
                ("refund:re_1", refund(900, 1)),
                ("refund:re_1", over(refund(900, 1), 5)),
                ("refunded:900", level(900, 9)),
                ("refund:re_2", refund(900, 9)),
            ],
        ),
    ]
}

#[test]
fn the_ledger_ends_the_same_whatever_was_known_first() {
    let spending: [&[(i64, i64)]; 4] = [&[], &[(2, -6)], &[(0, -10), (5, 10)], &[(1, -3), (3, 20), (8, -20)]];
    for ((name, facts), others) in told().iter().flat_map(|told| spending.iter().map(move |others| (told, others))) {
        for policy in [SpentRefund::Negative, SpentRefund::Floor] {
            let mut ends: BTreeMap<Vec<(String, String, i64)>, Vec<Fact>> = BTreeMap::new();
            for order in orders(facts) {
                let (mut ledger, mut known) = (Ledger::new(policy, others), payment(&[]));
                for fact in &order {
                    let mut told = Object::new(Kind::Payment, "pi_1");
                    let at = fact.1["at"].as_i64().unwrap();
                    let key = WriteKey { terminal: fact.1["reversed"] == true, ..key(at, &format!("evt_{at}")) };
                    told.write(fact.0, fact.1.clone(), &key);
                    known.merge(told);
                    ledger.settle(&known);
                    let taken: i64 = -ledger.entered.iter().map(|entry| entry.delta).sum::<i64>();
                    assert!((0..=10).contains(&taken), "{name}: {order:?}: {:?}", ledger.rows());
                    assert!(policy == SpentRefund::Negative || ledger.balance() >= 0, "{name}: {order:?}");
                }
                ends.insert(ledger.rows(), order);
            }
            assert_eq!(ends.len(), 1, "{name}, {others:?}, {policy:?}: {ends:#?}");
        }
    }
}

/// What is spent, and bought, after an entry was made does not change it.
#[test]
fn what_is_spent_later_changes_nothing() {
    for (name, facts) in told() {
        let known = payment(&facts);
        let mut ledger = Ledger::new(SpentRefund::Floor, &[(2, -6)]);
        ledger.settle(&known);
        let before = ledger.rows();
        let left = ledger.balance();
        ledger.others.extend([(100, -left), (200, 50)]);
        ledger.settle(&known);
        assert_eq!(ledger.rows(), before, "{name}");
    }
}

#[test]
fn with_a_floor_only_what_is_left_is_taken_and_given_back() {
    let disputed = payment(&[("dispute:dp_1", refund(900, 5))]);
    let mut ledger = Ledger::new(SpentRefund::Floor, &[(1, -6)]);
    ledger.settle(&disputed);
    assert_eq!(ledger.balance(), 0);
    // A later purchase does not pay for it when it is looked at again.
    ledger.others.push((9, 10));
    ledger.settle(&disputed);
    assert_eq!(ledger.balance(), 10);
    ledger.settle(&payment(&[("dispute:dp_1", over(refund(900, 5), 12))]));
    assert_eq!(ledger.balance(), 14);
    // What was bought before it is there to be taken.
    let mut ledger = Ledger::new(SpentRefund::Floor, &[(1, -10), (3, 10)]);
    ledger.settle(&disputed);
    assert_eq!(ledger.balance(), 0);
    // Without a floor the balance shows what is missing.
    let mut ledger = Ledger::new(SpentRefund::Negative, &[(1, -6)]);
    ledger.settle(&disputed);
    assert_eq!(ledger.balance(), -6);
}

/// Of two refunds of spent credits one fails; the other would have taken what was left.
#[test]
fn with_a_floor_what_is_left_stays_taken_for_what_still_stands() {
    let both = payment(&[("refund:re_1", over(refund(450, 2), 9)), ("refund:re_2", refund(450, 3))]);
    let mut ledger = Ledger::new(SpentRefund::Floor, &[(1, -6)]);
    ledger.settle(&both);
    assert_eq!(ledger.balance(), 0, "{:?}", ledger.rows());
}

#[test]
fn ids_of_connected_accounts_carry_their_account() {
    let mut connected = payment(&[("refund:re_1", refund(450, 1)), ("refunded:900", level(900, 2))]);
    connected.id = "acct_1/pi_1".to_owned();
    let sources: Vec<String> = reversals(&sale(), &[&connected]).into_iter().map(|entry| entry.source_id).collect();
    assert_eq!(sources, ["acct_1/re_1", "acct_1/ch_1:900"]);
}

#[test]
fn one_cause_is_one_entry_whatever_tells_of_it() {
    let (one, mut other) = (payment(&[("refund:re_1", refund(450, 1))]), payment(&[("refund:re_1", refund(450, 1))]));
    other.id = "ch_1".to_owned();
    let wanted = reversals(&sale(), &[&one, &other]);
    assert_eq!(wanted.iter().map(|reversal| reversal.delta).collect::<Vec<_>>(), [-5]);
}
