//! `process-events`: from the inbox to the state, for all events that were committed together.

use std::time::Duration;

use billing::apply::{Told, apply};
use billing::rules::{Question, Reading};
use billing::store::{self, InboxEvent, Outcome, Tx};
use billing::stripe::{Answers, created_of, read, scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::queue::{self, Options};
use crate::{Context, Done, Failure, Job, Policy, Queue, ask, refresh, send_email};

/// Events per job that a sweep or a replay makes; a commit of the receiver makes at most as many.
pub(crate) const EVENTS_PER_JOB: usize = 64;

/// Events that a job takes along from the backlog, beside its own.
const BACKLOG: i64 = 256;

/// The events of one commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessEvents {
    pub event_ids: Vec<String>,
}

impl Job for ProcessEvents {
    const NAME: &'static str = "process-events";
    const QUEUE: Queue = Queue::Events;
    /// Retries after 2 s, 4 s, 8 s .. 34 min; then dead, about 70 minutes after the first failure.
    const POLICY: Policy = Policy {
        max_attempts: 12,
        backoff: Duration::from_secs(2),
        backoff_most: Duration::from_secs(3600),
        timeout: Duration::from_secs(60),
    };

    async fn run(&self, context: &Context) -> Result<Done, Failure> {
        let mut answers = Answers::new(context.stripe.is_some());
        match process(context, &self.event_ids, BACKLOG, &mut answers).await {
            Ok(()) => Ok(Done),
            // Nothing that was taken along is to blame, and asking at once again would be no patience.
            Err(Failed::Asking(failure)) => Err(failure),
            Err(Failed::Applying(Failure::Retry(reason))) if outage(context).await => Err(Failure::Retry(reason)),
            Err(Failed::Applying(snooze @ Failure::Snooze { .. })) => Err(snooze),
            Err(Failed::Applying(failure)) if self.event_ids.len() == 1 => {
                tracing::debug!(%failure, "an event failed, perhaps because of what was taken along; it runs alone");
                process(context, &self.event_ids, 0, &mut answers).await?;
                Ok(Done)
            }
            Err(Failed::Applying(failure)) => {
                tracing::warn!(events = self.event_ids.len(), %failure, "a batch failed; its events run one by one");
                one_by_one(context, &self.event_ids).await
            }
        }
    }

    async fn bury(&self, context: &Context, reason: &str) -> sqlx::Result<()> {
        let outcomes: Vec<Outcome> =
            self.event_ids.iter().map(|id| outcome(id, "dead", Some(reason.to_owned()))).collect();
        let mut tx = context.db.begin().await?;
        let dead = store::finish_events(&mut tx, &outcomes, context.clock.now()).await?;
        tx.commit().await?;
        metrics::counter!("billingd_events_total", "outcome" => "dead").increment(dead);
        Ok(())
    }
}

/// What failed: a question to Stripe, for one event that asks, or the rest of the work.
enum Failed {
    Asking(Failure),
    Applying(Failure),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Applying(failure)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Applying(error.into())
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Asking(failure) | Failed::Applying(failure) => failure,
        }
    }
}

/// Whether it is the database that fails, and not an event of the batch.
async fn outage(context: &Context) -> bool {
    context.db.ping().await.is_err()
}

/// The good ones commit; a failing one gets a job of its own with its own attempts.
async fn one_by_one(context: &Context, event_ids: &[String]) -> Result<Done, Failure> {
    let mut put_off = None;
    for id in event_ids {
        let single = std::slice::from_ref(id);
        let mut answers = Answers::new(context.stripe.is_some());
        match process(context, single, 0, &mut answers).await.map_err(Failure::from) {
            Ok(()) => {}
            // The job comes back for it, and finds the others finished.
            Err(snooze @ Failure::Snooze { .. }) => put_off = Some(snooze),
            Err(Failure::Cancel(reason)) => ProcessEvents { event_ids: single.to_vec() }.bury(context, &reason).await?,
            Err(failure) => {
                tracing::warn!(event.id = id, %failure, "the event failed and is tried again by itself");
                let mut tx = context.db.begin().await?;
                set_aside(&mut tx, single, ProcessEvents::POLICY.backoff).await?;
                tx.commit().await?;
            }
        }
    }
    put_off.map_or(Ok(Done), Err)
}

/// Gives the events a new job of their own.
pub(crate) async fn give_job(tx: &mut Tx, event_ids: &[String]) -> sqlx::Result<usize> {
    let mut given = 0;
    for chunk in event_ids.chunks(EVENTS_PER_JOB) {
        let job = ProcessEvents { event_ids: chunk.to_vec() };
        if let Some(job_id) = queue::enqueue(tx, &job, &Options::default()).await? {
            given += store::rearm_events(tx, chunk, &job_id).await?.len();
        }
    }
    Ok(given)
}

/// Gives an event a job of its own after a while, in which nobody takes it along.
async fn set_aside(tx: &mut Tx, event_ids: &[String], after: Duration) -> sqlx::Result<()> {
    let job = ProcessEvents { event_ids: event_ids.to_vec() };
    if let Some(job_id) = queue::enqueue(tx, &job, &Options { after, unique: None }).await? {
        store::set_events_aside(tx, event_ids, &job_id).await?;
    }
    Ok(())
}

/// How one event of the batch came out of reading.
enum Read {
    Told(Told),
    Over(Outcome),
    Asks(Question),
}

/// Applies the events in one transaction. No network call is made while it is open: an event that has to ask Stripe
/// leaves a batch for a job of its own, and asks before its transaction begins anew. Up to `backlog` events that wait
/// for other jobs are taken along, unless these events have been tried before: those run alone. What Stripe answers is kept
/// in `answers`, and not asked again should the transaction fail.
async fn process(context: &Context, event_ids: &[String], backlog: i64, answers: &mut Answers) -> Result<(), Failed> {
    loop {
        let now = context.clock.now();
        let mut tx = context.db.begin().await?;
        store::begin_processing(&mut tx).await?;
        let mut events = store::lock_events(&mut tx, event_ids).await?;
        let elsewhere: Vec<&str> =
            event_ids.iter().map(String::as_str).filter(|id| !events.iter().any(|event| event.id == *id)).collect();
        if backlog > 0 && events.iter().all(|event| event.attempts == 0) {
            let along = store::lock_backlog(&mut tx, event_ids, backlog).await?;
            queue::withdraw(&mut tx, &whole_jobs(&along, backlog)).await?;
            events.extend(along);
        }
        if events.is_empty() {
            drop(tx);
            return Ok(given_up(context, &elsewhere).await?);
        }
        let mut told = Vec::new();
        let mut outcomes = Vec::new();
        let mut asking = Vec::new();
        for event in &events {
            match read_event(context, event, answers) {
                Read::Told(one) => told.push(one),
                Read::Over(outcome) => outcomes.push(outcome),
                Read::Asks(question) => asking.push((event.id.clone(), question)),
            }
        }
        if let [event] = &events[..]
            && let Some((_, question)) = asking.pop()
        {
            // Nobody takes it along meanwhile, to ask the same.
            if let (0, Some(job_id)) = (event.attempts, &event.job_id) {
                store::set_events_aside(&mut tx, std::slice::from_ref(&event.id), job_id).await?;
                tx.commit().await?;
            } else {
                drop(tx);
            }
            let answer = ask::ask(context, &question).await.map_err(Failed::Asking)?;
            answers.insert(question, answer);
            continue;
        }
        for (id, _) in &asking {
            set_aside(&mut tx, std::slice::from_ref(id), Duration::ZERO).await?;
        }
        let applied = apply(&mut tx, &told, &[], context.policy.spent_refund, now).await?;
        send_email::enqueue_emails(&mut tx, &applied.emails).await?;
        refresh::enqueue(context, &mut tx, &applied.unclear, now).await?;
        for (one, (owner, workspace_id)) in told.iter().zip(applied.owners) {
            outcomes.push(Outcome { workspace_id, owner, ..outcome(&one.event_id, "processed", None) });
        }
        store::finish_events(&mut tx, &outcomes, now).await?;
        billing::chaos::point("process.before_commit");
        tx.commit().await?;
        billing::chaos::point("process.after_commit");
        count(&outcomes, applied.unknown_prices);
        return Ok(given_up(context, &elsewhere).await?);
    }
}

/// Looks again after events that another worker was at: it has taken them along and will finish them, or die. Waiting for
/// it would hold a slot; so this job did other work, and comes back where that worker has given them up.
async fn given_up(context: &Context, elsewhere: &[&str]) -> Result<(), Failure> {
    if elsewhere.is_empty() || !store::still_wait(&context.db, elsewhere).await? {
        return Ok(());
    }
    let reason = "another worker is at these events".to_owned();
    Err(Failure::Snooze { after: Duration::from_secs(1), reason })
}

/// The jobs all of whose events are here. A job's events were received together, so only the last may have been cut off.
fn whole_jobs(along: &[InboxEvent], limit: i64) -> Vec<&str> {
    let mut jobs: Vec<&str> = along.iter().filter_map(|event| event.job_id.as_deref()).collect();
    if along.len() as i64 == limit
        && let Some(last) = jobs.last().copied()
    {
        jobs.retain(|job_id| *job_id != last);
    }
    jobs.dedup();
    jobs
}

fn read_event(context: &Context, event: &InboxEvent, answers: &Answers) -> Read {
    let dead = |reason: String| Read::Over(outcome(&event.id, "dead", Some(reason)));
    let body: Value = match serde_json::from_str(&event.payload) {
        Ok(body) => body,
        Err(error) => return dead(format!("event: cannot be read: {error}")),
    };
    if let Some(account) = scope::account_of(&body).filter(|account| !context.policy.accounts.takes(account)) {
        let reason = format!("of the connected account {account}, which STRIPE_CONNECT_ACCOUNTS does not name");
        return Read::Over(outcome(&event.id, "ignored", Some(reason)));
    }
    match read(&body, &context.policy.catalogue, answers) {
        Ok(Reading::Ignored(reason)) => {
            metrics::counter!("billingd_events_ignored_total", "type" => kind_label(&body)).increment(1);
            Read::Over(outcome(&event.id, "ignored", Some(reason)))
        }
        Ok(Reading::Ask(question)) => Read::Asks(question),
        Ok(Reading::Facts { objects, notes }) => Read::Told(Told {
            event_id: event.id.clone(),
            created: created_of(&body).unwrap_or_default(),
            livemode: event.livemode,
            objects,
            notes,
        }),
        Err(unreadable) => dead(unreadable.to_string()),
    }
}

/// Stripe's types are a few hundred words; anything else would be a label per forgery.
fn kind_label(body: &Value) -> String {
    match body["type"].as_str() {
        Some(kind)
            if kind.len() <= 64
                && kind.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_' | b'0'..=b'9')) =>
        {
            kind.to_owned()
        }
        _ => "other".to_owned(),
    }
}

fn outcome(id: &str, status: &'static str, last_error: Option<String>) -> Outcome {
    Outcome { id: id.to_owned(), status, last_error, workspace_id: None, owner: None }
}

fn count(outcomes: &[Outcome], unknown_prices: usize) {
    for outcome in outcomes {
        metrics::counter!("billingd_events_total", "outcome" => outcome.status).increment(1);
        if outcome.status == "dead" {
            tracing::error!(event.id = outcome.id, reason = outcome.last_error, "an event is dead");
        }
    }
    if unknown_prices > 0 {
        metrics::counter!("billingd_unknown_prices_total").increment(unknown_prices as u64);
    }
}
