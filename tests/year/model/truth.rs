//! What must be true of a workspace, by the contract's rules, from what really is at Stripe.

use std::collections::BTreeSet;

use super::Life;
use super::account::{TRIAL_PLAN, rank};
use super::things::{Status, Subscription};
use crate::calendar::DAY;

/// How long a running plan outlives its period while the renewal is late.
const LEEWAY: i64 = 3 * DAY;
/// How long a plan outlives the first failed payment.
const GRACE: i64 = 7 * DAY;

/// A workspace as it must be at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// One of these is shown; which, where there are several, nobody promises.
    pub(crate) customers: BTreeSet<String>,
    pub(crate) subscription_id: Option<String>,
    pub(crate) status: &'static str,
    pub(crate) plan: Option<&'static str>,
    pub(crate) effective_plan: &'static str,
    pub(crate) current_period_end: Option<i64>,
    pub(crate) cancel_at_period_end: bool,
    pub(crate) date_paid: Option<i64>,
    pub(crate) credits: i64,
}

impl Life {
    pub(crate) fn wanted(&self, now: i64) -> Wanted {
        let mut known: Vec<&Subscription> = self.subscriptions.iter().collect();
        known.sort_by_key(|subscription| (precedence(subscription.status), subscription.created));
        known.reverse();
        let current = known.first().copied();
        let on_trial = self.trial_ends_at().is_some_and(|end| now < end);
        let shown = current.map_or(if on_trial { "trialing" } else { "free" }, shown);
        let given = current.filter(|current| gives(current, shown, now)).and_then(|_| self.plan(&known));
        let by_trial = on_trial.then_some(TRIAL_PLAN);
        Wanted {
            customers: self.customers.iter().map(|customer| customer.id.clone()).collect(),
            subscription_id: current.map(|subscription| subscription.id.clone()),
            status: shown,
            plan: self.plan(&known),
            effective_plan: [given, by_trial].into_iter().flatten().max_by_key(|plan| rank(plan)).unwrap_or("free"),
            current_period_end: current.map(|subscription| subscription.period_end),
            cancel_at_period_end: current.is_some_and(Subscription::will_end),
            date_paid: self.date_paid,
            credits: self.sales.iter().map(super::things::Sale::credits_left).sum(),
        }
    }

    /// The plan of the current subscription; where its prices mean none, the plan stays what it was.
    fn plan(&self, known: &[&Subscription]) -> Option<&'static str> {
        known.iter().find_map(|subscription| subscription.plan)
    }

    pub(crate) fn trial_ends_at(&self) -> Option<i64> {
        self.put_at.filter(|_| self.trial_days > 0).map(|at| at + self.trial_days * DAY)
    }
}

fn precedence(status: Status) -> u8 {
    match status {
        Status::Active => 6,
        Status::Trialing => 5,
        Status::PastDue => 4,
        Status::Unpaid => 3,
        Status::Paused => 2,
        Status::Incomplete => 1,
        Status::Canceled | Status::IncompleteExpired => 0,
    }
}

fn shown(subscription: &Subscription) -> &'static str {
    match subscription.status {
        Status::Active | Status::Trialing if subscription.will_end() => "cancel_at_period_end",
        Status::Canceled | Status::IncompleteExpired => "deleted",
        status => status.as_str(),
    }
}

/// Whether the subscription gives its plan now.
fn gives(subscription: &Subscription, shown: &str, now: i64) -> bool {
    match shown {
        "trialing" => true,
        "active" => now < subscription.period_end + LEEWAY,
        "cancel_at_period_end" => subscription.ends_at().is_none_or(|end| now < end),
        "past_due" => subscription.failing_since.is_none_or(|since| now < since + GRACE),
        _ => false,
    }
}
