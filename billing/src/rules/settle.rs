//! What refunds and disputes take back of the credits that a sale granted, and what they give back.
//!
//! The entries are not made from one event to the next but computed from all that is known of the sale's payments, in the
//! order in which things happened and not in which they were told. So the same facts give the same entries, whatever
//! the way to them: an entry that was made before an earlier refund became known is corrected, and one whose cause has
//! turned out to be another is taken out.

mod spent;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Object;
use super::link::{join, split};
pub use spent::{SpentRefund, only_what_is_left};

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
/// Prefix of the field that keeps the first event that told that it gave back what it took.
pub const OVER_FIELD: &str = "over:";

/// What was sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Of the session or the invoice.
    pub id: String,
    /// What its grant entered.
    pub credits: i64,
    /// What was paid, in the currency's minor unit.
    pub total: i64,
    /// When it was paid.
    pub at: DateTime<Utc>,
}

/// One entry that the ledger has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reversal {
    /// The sale's id.
    pub sale: String,
    pub reason: &'static str,
    /// The refund's id, the dispute's, or `CHARGE:CUMULATIVE` where only the charge tells of a refund.
    pub source_id: String,
    pub delta: i64,
    /// The refunded or disputed amount, in the currency's minor unit.
    pub amount: i64,
    pub event_id: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// From when on it counts: not before the sale.
    pub counts_from: DateTime<Utc>,
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
    /// With the payment's account in front, where it has one: ids repeat between accounts.
    source_id: String,
    /// Whose cumulative amount it is.
    payment: usize,
    amount: i64,
    event_id: &'a str,
}

/// The entries that the payments of one sale call for, in the order in which they happened.
pub fn reversals(sale: &Sale, payments: &[&Object]) -> Vec<Reversal> {
    let mut moments: Vec<Moment<'_>> =
        payments.iter().enumerate().flat_map(|(index, payment)| moments(index, payment)).collect();
    moments.sort_by(|a, b| {
        let key = |moment: &Moment<'_>| (moment.at, moment.step, moment.amount, moment.reason);
        key(a).cmp(&key(b)).then_with(|| a.source_id.cmp(&b.source_id))
    });

    // One refund may be told under two payments, by its intent and by its charge.
    let mut seen = BTreeSet::new();
    moments.retain(|moment| moment.step == Step::Level || seen.insert((moment.reason, moment.source_id.clone())));

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
            Step::Taken => (moment.amount, moment.source_id),
            Step::Given => (-moment.amount, moment.source_id),
        };
        if moment.reason == REFUND || moment.reason == REFUND_FAILED {
            *of_payment = of_payment.saturating_add(amount);
        }
        let before = taken(sale, reversed);
        reversed = reversed.saturating_add(amount);
        let at = DateTime::from_timestamp(moment.at, 0).unwrap_or_default();
        entries.push(Reversal {
            sale: sale.id.clone(),
            reason: moment.reason,
            source_id,
            delta: before - taken(sale, reversed),
            amount: amount.abs(),
            event_id: moment.event_id.to_owned(),
            at,
            counts_from: at.max(sale.at),
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

/// Whether something of a payment was refunded or disputed.
pub fn is_reversed(payment: &Object) -> bool {
    let fields = [REFUND_FIELD, DISPUTE_FIELD, REFUNDED_FIELD];
    payment.fields.keys().any(|field| fields.iter().any(|prefix| field.starts_with(prefix)))
}

fn moments(payment: usize, object: &Object) -> Vec<Moment<'_>> {
    let scope = split(&object.id).0;
    let mut moments = Vec::new();
    for (field, register) in &object.fields {
        let value = &register.value;
        let amount = value["amount"].as_i64().unwrap_or(0);
        let mut add = |step, reason, id: &str, at: &Value, event_id| {
            let (at, source_id) = (at.as_i64().unwrap_or(register.key.at), join(scope, id));
            moments.push(Moment { at, step, reason, source_id, payment, amount, event_id });
        };
        let (taken, given, id) = if let Some(id) = field.strip_prefix(REFUND_FIELD) {
            (REFUND, REFUND_FAILED, id)
        } else if let Some(id) = field.strip_prefix(DISPUTE_FIELD) {
            (DISPUTE, DISPUTE_WON, id)
        } else if field.starts_with(REFUNDED_FIELD) {
            let charge = value["charge"].as_str().unwrap_or(split(&object.id).1);
            add(Step::Level, REFUND, charge, &value["at"], &register.key.event);
            continue;
        } else {
            continue;
        };
        let first = object.register(&format!("{FIRST_FIELD}{field}"));
        let first_event = first.and_then(|first| first.value["event"].as_str()).unwrap_or(&register.key.event);
        add(Step::Taken, taken, id, &value["created"], first_event);
        if value["reversed"] == true {
            let over = object.register(&format!("{OVER_FIELD}{field}")).map_or(&Value::Null, |over| &over.value);
            add(Step::Given, given, id, &over["at"], over["event"].as_str().unwrap_or(&register.key.event));
        }
    }
    moments
}

/// An entry as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    pub id: String,
    pub sale: String,
    pub reason: String,
    pub source_id: String,
    pub delta: i64,
}

/// The difference between what the ledger has and what it has to have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    pub new: Vec<&'a Reversal>,
    pub corrected: Vec<(&'a Entered, &'a Reversal)>,
    /// Nothing calls for these any more: the charge told of a refund before the refund did.
    pub gone: Vec<&'a Entered>,
}

/// Compares entries by their cause, whatever sale they were entered for.
pub fn changes<'a>(wanted: &'a [Reversal], entered: &'a [Entered]) -> Changes<'a> {
    let mut changes = Changes::default();
    let mut left: BTreeMap<(&str, &str), &Entered> =
        entered.iter().map(|entry| ((entry.reason.as_str(), entry.source_id.as_str()), entry)).collect();
    for reversal in wanted {
        match left.remove(&(reversal.reason, reversal.source_id.as_str())) {
            None => changes.new.push(reversal),
            Some(entry) if entry.delta != reversal.delta || entry.sale != reversal.sale => {
                changes.corrected.push((entry, reversal));
            }
            Some(_) => {}
        }
    }
    changes.gone = left.into_values().collect();
    changes
}

#[cfg(test)]
mod tests;
