//! What refunds and disputes take back of the credits that a sale granted, and what they give back.
//!
//! The entries are not made from one event to the next but computed from all that is known of the sale's payments, in the
//! order in which things happened and not in which they were told. So the same facts give the same entries, whatever
//! the way to them; an entry that was made before an earlier refund became known is corrected.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Object;

/// What to do when credits that are taken back were spent already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpentRefund {
    /// The balance goes below zero.
    #[default]
    Negative,
    /// Only what is left is taken.
    Floor,
}

/// Ledger reasons of what is taken back, and of what is given back.
pub const REFUND: &str = "refund";
pub const REFUND_FAILED: &str = "refund_failed";
pub const DISPUTE: &str = "dispute";
pub const DISPUTE_WON: &str = "dispute_won";

/// Prefixes of the payment's fields; what follows is a refund's id, a dispute's id, or a cumulative amount.
pub const REFUND_FIELD: &str = "refund:";
pub const DISPUTE_FIELD: &str = "dispute:";
pub const REFUNDED_FIELD: &str = "refunded:";
/// Prefix of the field that keeps the first event that told of a refund or dispute.
pub const FIRST_FIELD: &str = "first:";

/// What was sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// What its grant entered.
    pub credits: i64,
    /// What was paid, in the currency's minor unit.
    pub total: i64,
}

/// One entry that the ledger has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reversal {
    pub reason: &'static str,
    /// The refund's id, the dispute's, or `CHARGE:CUMULATIVE` where only the charge tells of a refund.
    pub source_id: String,
    pub delta: i64,
    /// The refunded or disputed amount, in the currency's minor unit.
    pub amount: i64,
    pub event_id: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// `created` of the event that told it last.
    pub told: DateTime<Utc>,
}

/// The order within one second: a charge's cumulative amount counts the refunds of its second, and those that fail in
/// it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Taken,
    /// The charge says that so much of it has been refunded by now.
    Level,
    Given,
}

struct Moment<'a> {
    at: i64,
    step: Step,
    reason: &'static str,
    source_id: &'a str,
    /// Whose cumulative amount it is.
    payment: usize,
    amount: i64,
    event_id: &'a str,
    told: i64,
}

/// The entries that the payments of one sale call for, in the order in which they happened.
pub fn reversals(sale: &Sale, payments: &[&Object]) -> Vec<Reversal> {
    let mut moments: Vec<Moment<'_>> =
        payments.iter().enumerate().flat_map(|(index, payment)| moments(index, payment)).collect();
    moments.sort_by_key(|moment| (moment.at, moment.step, moment.amount, moment.reason, moment.source_id));

    let mut reversed = 0_i64;
    // Refunds that stand, by payment: what a charge's cumulative amount is compared with.
    let mut refunded: BTreeMap<usize, i64> = BTreeMap::new();
    let mut entries = Vec::new();
    for moment in moments {
        let of_payment = refunded.entry(moment.payment).or_default();
        let (amount, source_id) = match moment.step {
            Step::Level => {
                let unexplained = moment.amount - *of_payment;
                if unexplained <= 0 {
                    continue;
                }
                (unexplained, format!("{}:{}", moment.source_id, moment.amount))
            }
            Step::Taken => (moment.amount, moment.source_id.to_owned()),
            Step::Given => (-moment.amount, moment.source_id.to_owned()),
        };
        if moment.reason == REFUND || moment.reason == REFUND_FAILED {
            *of_payment = of_payment.saturating_add(amount);
        }
        let before = taken(sale, reversed);
        reversed = reversed.saturating_add(amount);
        entries.push(Reversal {
            reason: moment.reason,
            source_id,
            delta: before - taken(sale, reversed),
            amount: amount.abs(),
            event_id: moment.event_id.to_owned(),
            at: time(moment.at),
            told: time(moment.told),
        });
    }
    entries
}

/// The credits that `reversed` of the total take back, in proportion, rounded in the customer's favour; never more than
/// was granted.
fn taken(sale: &Sale, reversed: i64) -> i64 {
    if reversed <= 0 {
        return 0;
    }
    if reversed >= sale.total {
        return sale.credits;
    }
    let share = i128::from(sale.credits) * i128::from(reversed) / i128::from(sale.total);
    i64::try_from(share).unwrap_or(sale.credits)
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

fn moments(payment: usize, object: &Object) -> Vec<Moment<'_>> {
    let mut moments = Vec::new();
    for (field, register) in &object.fields {
        let value = &register.value;
        let amount = value["amount"].as_i64().unwrap_or(0);
        let mut add = |step, reason, source_id, at: &Value, event_id, told| {
            let at = at.as_i64().unwrap_or(register.key.at);
            moments.push(Moment { at, step, reason, source_id, payment, amount, event_id, told });
        };
        let (taken, given, source_id) = if let Some(id) = field.strip_prefix(REFUND_FIELD) {
            (REFUND, REFUND_FAILED, id)
        } else if let Some(id) = field.strip_prefix(DISPUTE_FIELD) {
            (DISPUTE, DISPUTE_WON, id)
        } else if field.starts_with(REFUNDED_FIELD) {
            let charge = value["charge"].as_str().unwrap_or(&object.id);
            add(Step::Level, REFUND, charge, &value["at"], &register.key.event, register.key.at);
            continue;
        } else {
            continue;
        };
        let first = object.register(&format!("{FIRST_FIELD}{field}"));
        let first_event = first.and_then(|first| first.value["event"].as_str()).unwrap_or(&register.key.event);
        let first_told = first.and_then(|first| first.value["at"].as_i64()).unwrap_or(register.key.at);
        add(Step::Taken, taken, source_id, &value["created"], first_event, first_told);
        if value["reversed"] == true {
            add(Step::Given, given, source_id, &value["at"], &register.key.event, register.key.at);
        }
    }
    moments
}

/// An entry as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    pub id: String,
    pub reason: String,
    pub source_id: String,
    pub delta: i64,
}

/// What has to be done to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The entry to correct; `None` for a new one.
    pub entered: Option<&'a Entered>,
    pub reversal: &'a Reversal,
    pub delta: i64,
}

/// The difference between what the ledger has and what it has to have. An entry whose cause has got another name (a
/// refund known at first by its charge alone) is renamed.
pub fn changes<'a>(
    wanted: &'a [Reversal],
    entered: &'a [Entered],
    balance: i64,
    spent: SpentRefund,
) -> Vec<Change<'a>> {
    let same =
        |reversal: &Reversal, entry: &Entered| entry.reason == reversal.reason && entry.source_id == reversal.source_id;
    let mut nameless: Vec<&Entered> =
        entered.iter().filter(|entry| !wanted.iter().any(|reversal| same(reversal, entry))).collect();
    let mut balance = balance;
    let mut taken: BTreeMap<&str, i64> = BTreeMap::new();
    let mut changes = Vec::new();
    for reversal in wanted {
        let known = entered.iter().find(|entry| same(reversal, entry));
        let known = known.or_else(|| {
            let index = nameless.iter().position(|entry| entry.reason == reversal.reason)?;
            Some(nameless.remove(index))
        });
        let before = known.map_or(0, |entry| entry.delta);
        let delta = match spent {
            SpentRefund::Negative => reversal.delta,
            // What was there to be taken when it was; the rest was spent, and later purchases do not pay for it.
            SpentRefund::Floor if reversal.delta <= 0 => {
                reversal.delta.max(if known.is_some() { before } else { -balance.max(0) })
            }
            SpentRefund::Floor => {
                reversal.delta.min(taken.get(reversal.source_id.as_str()).map_or(reversal.delta, |delta| -delta))
            }
        };
        taken.insert(&reversal.source_id, delta);
        balance = balance.saturating_add(delta.saturating_sub(before));
        if known.is_none_or(|entry| entry.delta != delta || !same(reversal, entry)) {
            changes.push(Change { entered: known, reversal, delta });
        }
    }
    changes
}

#[cfg(test)]
mod tests;
