//! What happens to credits that are to be taken back and were spent already.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Reversal;

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

/// Cuts what the reversals of one workspace take down to what was there to be taken. `left(at)` is the least that the
/// workspace had at any time from `at` on, not counting any reversal: what was spent or granted alone.
///
/// The least from then on, and not what there was at that moment, because a refund may be told late, after more was
/// spent; a purchase that comes after the balance was at its least does not pay for an earlier refund. What is spent
/// later comes from the balance that these entries leave, so it changes nothing of them.
pub fn only_what_is_left(reversals: &mut [Reversal], left: impl Fn(DateTime<Utc>) -> i64) {
    // Stable: within a sale the order of its reversals stays.
    reversals.sort_by(|a, b| (a.counts_from, &a.sale).cmp(&(b.counts_from, &b.sale)));
    let mut sum = 0_i64;
    // By sale: what its reversals call for, and what they got.
    let mut sales: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for reversal in reversals {
        let (called_for, taken) = sales.entry(reversal.sale.clone()).or_default();
        *called_for = called_for.saturating_sub(reversal.delta);
        reversal.delta = if reversal.delta <= 0 {
            let there = left(reversal.counts_from).saturating_add(sum).max(0);
            reversal.delta.max(-there)
        } else {
            // What is still called for may keep what was taken for what is given back.
            taken.saturating_sub(*called_for).max(0)
        };
        *taken = taken.saturating_sub(reversal.delta);
        sum = sum.saturating_add(reversal.delta);
    }
}
