//! `reconcile`: asks Stripe for events that never came and for subscriptions that stand otherwise there than here, and
//! repairs both by the ways there are: events go into the inbox, and what Stripe says of a subscription is taken over as the
//! answer to a question is, as of when it was asked.
//!
//! Everything in it may be done twice, so a pass that was cut off begins again, and nobody minds two at a time.

mod events;
mod pages;
mod report;
mod subscriptions;

use std::time::Duration;

use billing::store;
use billing::stripe::Stripe;
use billing::stripe::scope::Accounts;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use self::report::{Difference, Differing, MissingEvent, Report};
use crate::{Context, Done, Failure, Job, Policy, Queue};

/// For how long Stripe lists events.
pub const LISTED: TimeDelta = TimeDelta::days(30);
/// So far back events are asked for; the hour is for the time that listing them takes.
const KEPT: TimeDelta = TimeDelta::hours(LISTED.num_hours() - 1);
/// How far back the first pass looks: as long as Stripe goes on trying to deliver.
const FIRST: TimeDelta = TimeDelta::hours(72);
/// What a pass looks at once more: an event may be listed later than it was made.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// What is younger is presumably on its way, and no drift; the next pass looks at it.
const UNDER_WAY: TimeDelta = TimeDelta::minutes(5);

/// The pass of an hour. Without a Stripe key there is nobody to ask, and nothing to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reconcile {}

impl Job for Reconcile {
    const NAME: &'static str = "reconcile";
    const QUEUE: Queue = Queue::Maintenance;
    /// Few attempts: the next tick looks again, from where the last one that came to its end had looked.
    const POLICY: Policy = Policy {
        max_attempts: 3,
        backoff: Duration::from_secs(60),
        backoff_most: Duration::from_secs(600),
        timeout: Duration::from_secs(1800),
    };

    async fn run(&self, context: &Context) -> Result<Done, Failure> {
        if context.stripe.is_none() {
            return Ok(Done);
        }
        let now = context.clock.now();
        let window = Window::after(store::reconciled_until(&context.db, now).await?, now);
        let report = reconcile(context, window, How::Scheduled, &|_| {}).await?;
        if report.drifted() {
            tracing::warn!(
                events = report.events_missing,
                subscriptions = report.subscriptions_differing,
                since = %report.since,
                "drift was found, and is being repaired"
            );
        }
        // Not dead: it is no job's fault, and nothing that a retry could change. The next tick asks again.
        for refused in &report.refused {
            tracing::warn!(refused, "what Stripe does not let us see cannot be reconciled");
        }
        Ok(Done)
    }
}

/// Events that were made in this time are asked for; subscriptions are compared as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

impl Window {
    /// The last so many hours or days, as far as Stripe remembers.
    pub fn last(span: TimeDelta, now: DateTime<Utc>) -> Self {
        Self { since: now - span.min(KEPT), until: now }
    }

    /// What comes after the passes that have come to their end.
    fn after(reconciled_until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let since = reconciled_until.map_or(now - FIRST, |until| until - OVERLAP);
        Self { since: since.max(now - KEPT), until: now - UNDER_WAY }
    }
}

/// On whose behalf, and whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Scheduled,
    ByHand,
    /// Looks and tells, and leaves everything as it is.
    DryRun,
}

/// A pass that is on its way.
struct Pass<'a> {
    context: &'a Context,
    stripe: &'a Stripe,
    window: Window,
    repairs: bool,
    report: Report,
    progress: Progress<'a>,
}

/// Is told after each page what was found so far.
type Progress<'a> = &'a (dyn Fn(&Report) + Send + Sync);

/// Looks for drift, and unless it is a dry run repairs it.
///
/// # Errors
/// There is no key; the database or Stripe does not answer, also not when asked again. What Stripe refuses to show is told
/// by the report.
pub async fn reconcile(context: &Context, window: Window, how: How, progress: Progress<'_>) -> Result<Report, Failure> {
    let Some(stripe) = &context.stripe else {
        return Err(Failure::Cancel("there is no STRIPE_API_KEY to ask with".to_owned()));
    };
    let started_at = context.clock.now();
    let repairs = how != How::DryRun;
    let report = Report::new(window, !repairs);
    let mut pass = Pass { context, stripe, window, repairs, report, progress };
    for account in [None].into_iter().chain(accounts(&mut pass).await?.into_iter().map(Some)) {
        let looked = events::look(&mut pass, account.as_deref()).await;
        pass.refused(looked)?;
        let looked = subscriptions::look(&mut pass, account.as_deref()).await;
        pass.refused(looked)?;
    }
    let report = pass.report;
    if repairs {
        metrics::counter!("billingd_reconciled_total", "what" => "events").increment(report.events_missing);
        metrics::counter!("billingd_reconciled_total", "what" => "subscriptions")
            .increment(report.subscriptions_differing);
        let done = report.record(how, started_at, context.clock.now());
        store::record_reconciliation(&context.db, &done).await?;
    }
    Ok(report)
}

/// The connected accounts whose events count.
async fn accounts(pass: &mut Pass<'_>) -> Result<Vec<String>, Failure> {
    match &pass.context.policy.accounts {
        Accounts::Ours => Ok(Vec::new()),
        Accounts::Named(names) => Ok(names.iter().cloned().collect()),
        Accounts::All => {
            let mut connected = Vec::new();
            let looked = pages::connected(pass, &mut connected).await;
            pass.refused(looked)?;
            Ok(connected)
        }
    }
}

impl Pass<'_> {
    /// One part that may not be seen is no reason not to look at the others.
    fn refused(&mut self, looked: Result<(), Failure>) -> Result<(), Failure> {
        match looked {
            Err(Failure::Cancel(reason)) => {
                self.report.refused.push(reason);
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_begins_where_the_last_one_ended_and_no_earlier_than_stripe_remembers() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let since = |until: Option<TimeDelta>| now - Window::after(until.map(|ago| now - ago), now).since;
        assert_eq!(since(None), TimeDelta::hours(72));
        assert_eq!(since(Some(TimeDelta::hours(1))), TimeDelta::hours(2), "an hour is looked at twice");
        assert_eq!(since(Some(TimeDelta::days(3))), TimeDelta::hours(73), "everything was down for three days");
        assert_eq!(since(Some(TimeDelta::days(200))), KEPT);
        assert_eq!(Window::after(None, now).until, now - UNDER_WAY);
        assert_eq!(Window::last(TimeDelta::days(90), now), Window { since: now - KEPT, until: now });
    }
}
