//! What must be true of a workspace, by the contract's rules, from what really is at Stripe.

use std::collections::BTreeSet;

use super::Life;
use super::account::{TRIAL_PLAN, rank};
use super::things::{Sale, Status, Subscription};
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

/// A subscription as the product can know it.
struct Known<'a> {
    id: &'a str,
    status: Status,
    created: i64,
    plan: Option<&'static str>,
    period_end: Option<i64>,
    will_end: bool,
    ends_at: Option<i64>,
    failing_since: Option<i64>,
}

impl Life {
    pub(crate) fn wanted(&self, now: i64) -> Wanted {
        let mut known: Vec<Known<'_>> = self.subscriptions.iter().filter_map(|of| self.known(of)).collect();
        known.sort_by_key(|subscription| (precedence(subscription.status), subscription.created));
        known.reverse();
        let current = known.first();
        let on_trial = self.trial_ends_at().is_some_and(|end| now < end);
        // The plan of the current subscription; where its prices mean none, the plan stays what it was.
        let plan = known.iter().find_map(|subscription| subscription.plan);
        let given = current.filter(|current| current.gives(now)).and(plan);
        let by_trial = on_trial.then_some(TRIAL_PLAN);
        Wanted {
            customers: self.customers.iter().map(|customer| customer.id.clone()).collect(),
            subscription_id: current.map(|subscription| subscription.id.to_owned()),
            status: current.map_or(if on_trial { "trialing" } else { "free" }, Known::shown),
            plan,
            effective_plan: [given, by_trial].into_iter().flatten().max_by_key(|plan| rank(plan)).unwrap_or("free"),
            current_period_end: current.and_then(|subscription| subscription.period_end),
            cancel_at_period_end: current.is_some_and(|subscription| subscription.will_end),
            date_paid: self.date_paid,
            credits: self.sales.iter().map(Sale::credits_left).sum(),
        }
    }

    fn known<'a>(&self, of: &'a Subscription) -> Option<Known<'a>> {
        if self.account.tells_subscriptions {
            return Some(Known {
                id: &of.id,
                status: of.status,
                created: of.created,
                plan: of.plan,
                period_end: Some(of.period_end),
                will_end: of.will_end(),
                ends_at: of.ends_at(),
                failing_since: of.failing_since,
            });
        }
        let told = &of.by_invoices;
        // Stripe ends what a deleted customer had, whether or not it says so.
        let deleted = self.customers[of.customer].deleted;
        Some(Known {
            id: &of.id,
            status: if deleted { told.status.and(Some(Status::Canceled))? } else { told.status? },
            created: told.first?,
            plan: told.plan,
            period_end: told.paid_until,
            will_end: false,
            ends_at: None,
            failing_since: told.failing_since(),
        })
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

impl Known<'_> {
    fn shown(&self) -> &'static str {
        match self.status {
            Status::Active | Status::Trialing if self.will_end => "cancel_at_period_end",
            Status::Canceled | Status::IncompleteExpired => "deleted",
            status => status.as_str(),
        }
    }

    /// Whether it gives its plan now.
    fn gives(&self, now: i64) -> bool {
        match self.shown() {
            "trialing" => true,
            "active" => self.period_end.is_none_or(|end| now < end + LEEWAY),
            "cancel_at_period_end" => self.ends_at.is_none_or(|end| now < end),
            "past_due" => self.failing_since.is_none_or(|since| now < since + GRACE),
            _ => false,
        }
    }
}
