//! What a pass has found.

use billing::store::Reconciliation;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::{How, Window};

/// Of each kind so many are told one by one; the rest is counted.
const TOLD: usize = 1000;
/// And so many are kept with the record of the pass.
const KEPT: usize = 100;

/// An event that Stripe has and the inbox has not.
#[derive(Clone, Debug, Serialize)]
pub struct MissingEvent {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub created: Option<DateTime<Utc>>,
    /// The connected account, where it is not our own.
    pub account: Option<String>,
    pub object_id: Option<String>,
}

/// A field that is one thing here and another at Stripe; null where it is nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub field: String,
    pub here: Value,
    pub stripe: Value,
}

/// A subscription that stands otherwise here than at Stripe.
#[derive(Clone, Debug, Serialize)]
pub struct Differing {
    /// With the connected account in front, where it has one.
    pub id: String,
    pub customer: Option<String>,
    pub workspace_id: Option<String>,
    /// Stripe knows nothing of it, so there is nobody to ask how it stands.
    pub unknown_to_stripe: bool,
    pub differences: Vec<Difference>,
}

/// What was looked at, and what was found; the lists hold the first thousand of each.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub dry_run: bool,
    pub events_listed: u64,
    pub events_missing: u64,
    pub subscriptions_listed: u64,
    pub subscriptions_differing: u64,
    pub missing: Vec<MissingEvent>,
    pub differing: Vec<Differing>,
    /// What could not be looked at, and why.
    pub refused: Vec<String>,
}

impl Report {
    pub(super) fn new(window: Window, dry_run: bool) -> Self {
        Self { since: window.since, until: window.until, dry_run, ..Self::default() }
    }

    /// Whether anything is not as it should be.
    pub fn drifted(&self) -> bool {
        self.events_missing > 0 || self.subscriptions_differing > 0
    }

    pub(super) fn missing(&mut self, event: MissingEvent) {
        self.events_missing += 1;
        if self.missing.len() < TOLD {
            self.missing.push(event);
        }
    }

    pub(super) fn differing(&mut self, subscription: Differing) {
        self.subscriptions_differing += 1;
        if self.differing.len() < TOLD {
            self.differing.push(subscription);
        }
    }

    pub(super) fn record(&self, how: How, started_at: DateTime<Utc>, finished_at: DateTime<Utc>) -> Reconciliation {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Reconciliation {
            id: billing::clock::new_id(),
            // What could not be looked at has to be looked at again.
            complete: how == How::Scheduled && self.refused.is_empty(),
            since: self.since,
            until: self.until,
            started_at,
            finished_at,
            events_listed: count(self.events_listed),
            events_missing: count(self.events_missing),
            subscriptions_listed: count(self.subscriptions_listed),
            subscriptions_differing: count(self.subscriptions_differing),
            found: sqlx::types::Json(json!({
                "missing": &self.missing[..self.missing.len().min(KEPT)],
                "differing": &self.differing[..self.differing.len().min(KEPT)],
                "refused": self.refused,
            })),
        }
    }
}
