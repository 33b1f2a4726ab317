//! Batches: the events of a lane that wait, from their bodies to the state, in one transaction.

use std::time::Duration;

use billing::apply::{Told, apply, busy};
use billing::rules::{Question, Reading};
use billing::store::{self, InboxEvent, LaneTurn, Outcome};
use billing::stripe::{Answers, Body, Json, created_of, read, scope};

use super::{Failed, ProcessEvents, locked_pause, set_aside};
use crate::bounded::bounded;
use crate::receive::other_mode;
use crate::{Context, Failure, ask, queue, refresh, send_email};

/// What a transaction may take: so little that the events of one that takes longer, or panics, can run one by one in the time of
/// their job, and what is to blame is found. On SQLite more than somebody else's lock of the file is waited for.
const BATCH_MOST: Duration = Duration::from_secs(30);

/// What a job works with, in all its batches.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context,
    /// What Stripe answered; it is not asked again should a transaction fail.
    answers: Answers,
    /// The job's turn in the lane, kept from batch to batch, but not while Stripe is asked.
    turn: Option<LaneTurn>,
    /// Whether the last batch was a single event of the job's own: what failed then is that event.
    pub(super) single: bool,
    /// Of the bodies of the last batch.
    pub(super) bytes: usize,
}

impl<'a> Work<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, answers: Answers::new(context.stripe.is_some()), turn: None, single: false, bytes: 0 }
    }

    /// Takes the job's turn in the lane, if it has not got it. `false`: it need not, for while it waited for another job of this
    /// process that one has taken its events along.
    async fn take_turn(&mut self, event_ids: &[String]) -> sqlx::Result<bool> {
        if self.turn.is_none()
            && let Some(place) = self.context.db.lane_place().await
        {
            if place.waited() && !store::is_any_waiting(&self.context.db, event_ids).await? {
                return Ok(false);
            }
            self.turn = Some(place.turn().await);
        }
        Ok(true)
    }

    /// Whether the job should go on with what waits, because the next one would only take its turn in the one lane there is.
    /// Where there are several, other lanes would wait for its slot.
    pub(super) fn may_go_on(&self) -> bool {
        self.turn.is_some()
    }
}

/// How one event of the batch came out of reading.
enum Read {
    Told(Told),
    Over(Outcome),
    Asks(Question),
}

/// What a batch did not do.
struct Left {
    /// The lanes where others of the job's events wait, or are worked at.
    lanes: Vec<i16>,
    /// Whether more events wait in the batch's lane than were taken along.
    more: bool,
}

/// Applies the job's events, those of a lane in one transaction; each takes along up to `backlog` others. Gives whether
/// more wait in the job's lane.
pub(super) async fn process(work: &mut Work<'_>, job: &ProcessEvents, backlog: usize) -> Result<bool, Failed> {
    let (mut lanes, mut done) = (vec![job.lane], Vec::new());
    let (mut elsewhere, mut more) = (false, false);
    while let Some(lane) = lanes.pop() {
        done.push(lane);
        let left = process_lane(work, &job.event_ids, lane, backlog).await?;
        more |= left.more && lane == job.lane;
        elsewhere = left.lanes.iter().any(|lane| done.contains(lane));
        lanes = left.lanes.into_iter().filter(|lane| !done.contains(lane)).collect();
    }
    if elsewhere {
        // Another worker is at them, and will finish them, or die. Waiting for it would hold a slot; so this job did other
        // work, and comes back where that worker has given them up.
        let reason = "another worker is at these events".to_owned();
        return Err(Failure::Snooze { after: Duration::from_secs(1), reason }.into());
    }
    Ok(more)
}

/// What came of a transaction.
enum Step {
    Left(Left),
    /// An event has to ask Stripe first.
    Asks(Question),
    /// Others have something locked that it waited for.
    Locked,
}

/// Applies those of the events that wait in the lane. No network call is made while a transaction is open: an event that has
/// to ask Stripe leaves a batch for a job of its own, and asks before its transaction begins anew. Neither that nor the wait for
/// the lane is part of the time that a transaction has.
async fn process_lane(work: &mut Work<'_>, event_ids: &[String], lane: i16, backlog: usize) -> Result<Left, Failed> {
    // What others have locked is not waited for again.
    let mut wary = false;
    loop {
        if !work.take_turn(event_ids).await? {
            return Ok(Left { lanes: Vec::new(), more: false });
        }
        let step = bounded(BATCH_MOST, step(work, event_ids, lane, backlog, wary)).await;
        match step.unwrap_or_else(|reason| Err(Failure::Retry(format!("the batch {reason}")).into()))? {
            Step::Left(left) => return Ok(left),
            Step::Locked => wary = true,
            Step::Asks(question) => {
                work.turn = None;
                let answer = ask::ask(work.context, &question).await.map_err(Failed::Asking)?;
                work.answers.insert(question, answer);
            }
        }
    }
}

/// One transaction. Up to `backlog` events that wait for other jobs are taken along, unless these events have been tried before:
/// those run alone.
async fn step(
    work: &mut Work<'_>,
    event_ids: &[String],
    lane: i16,
    backlog: usize,
    wary: bool,
) -> Result<Step, Failed> {
    let context = work.context;
    work.single = false;
    let (mut tx, has_lane) = store::begin_processing(&context.db, lane).await?;
    let backlog = if has_lane { backlog } else { 0 };
    let now = context.clock.now();
    // One more than are taken along tells which job may have been cut off.
    let ahead = if backlog > 0 { backlog + 1 } else { 0 };
    let mut events = store::lock_events(&mut tx, event_ids, lane, ahead as i64).await?;
    let along = events.iter().filter(|event| !event.own).count();
    let next = if along > backlog { events.pop() } else { None };
    work.bytes = events.iter().map(|event| event.payload.len()).sum();
    work.single = matches!(&events[..], [event] if event.own);
    let others: Vec<&String> = event_ids.iter().filter(|id| !events.iter().any(|event| event.id == **id)).collect();
    let lanes = if others.is_empty() { Vec::new() } else { store::lanes_of(&mut tx, &others).await? };
    let left = Left { lanes, more: next.is_some() };
    queue::withdraw(&mut tx, &whole_jobs(&events, next.as_ref())).await?;
    if events.is_empty() {
        return Ok(Step::Left(left));
    }
    let mut told = Vec::new();
    let mut outcomes = Vec::new();
    let mut asking = Vec::new();
    for event in &events {
        match read_event(context, event, &work.answers) {
            Read::Told(one) => told.push(one),
            Read::Over(outcome) => outcomes.push(outcome),
            Read::Asks(question) => asking.push((event.id.clone(), question)),
        }
    }
    if let [event] = &events[..]
        && event.own
        && let Some((_, question)) = asking.pop()
    {
        // Nobody takes it along meanwhile, to ask the same.
        if event.attempts == 0 {
            store::set_events_aside(&mut tx, std::slice::from_ref(&event.id), None).await?;
            tx.commit().await?;
        } else {
            drop(tx);
        }
        return Ok(Step::Asks(question));
    }
    for (id, _) in &asking {
        set_aside(&mut tx, vec![id.clone()], lane, Duration::ZERO).await?;
    }
    if wary || events.iter().any(|event| event.attempts > 0) {
        let busy = busy(&mut tx, &told).await?;
        told.retain(|one| !busy.contains(&one.event_id));
        if !busy.is_empty() {
            tracing::info!(events = busy.len(), "another transaction has their workspaces locked; they wait");
            set_aside(&mut tx, busy.into_iter().collect(), lane, locked_pause()).await?;
        }
    }
    let ids: Vec<String> = told.iter().map(|one| one.event_id.clone()).collect();
    let applied = match apply(&mut tx, told, &[], context.policy.spent_refund, now).await {
        Err(error) if store::waited_too_long(&error) && !wary => {
            return Ok(Step::Locked);
        }
        applied => applied?,
    };
    send_email::enqueue_emails(&mut tx, &applied.emails).await?;
    refresh::enqueue(context, &mut tx, &applied.unclear, now).await?;
    for (id, (owner, workspace_id)) in ids.iter().zip(applied.owners) {
        outcomes.push(Outcome { workspace_id, owner, ..outcome(id, "processed", None) });
    }
    store::finish_events(&mut tx, &outcomes, now).await?;
    billing::chaos::point("process.before_commit");
    tx.commit().await?;
    billing::chaos::point("process.after_commit");
    count(&outcomes, applied.unknown_prices);
    Ok(Step::Left(left))
}

/// The jobs of what was taken along, all of whose events are here. A job's events were received together, so it is only that
/// of the `next` event that may have been cut off.
fn whole_jobs<'a>(events: &'a [InboxEvent], next: Option<&InboxEvent>) -> Vec<&'a str> {
    let cut = next.and_then(|event| event.job_id.as_deref());
    let along = events.iter().filter(|event| !event.own).filter_map(|event| event.job_id.as_deref());
    let mut jobs: Vec<&str> = along.filter(|job_id| Some(*job_id) != cut).collect();
    jobs.dedup();
    jobs
}

fn read_event(context: &Context, event: &InboxEvent, answers: &Answers) -> Read {
    let dead = |reason: String| Read::Over(outcome(&event.id, "dead", Some(reason)));
    let body = match Body::parse(&event.payload) {
        Ok(body) => body,
        Err(error) => return dead(format!("event: cannot be read: {error}")),
    };
    // It was stored so, and is no other for being replayed.
    if let Some(reason) = other_mode(context.policy.livemode, event.livemode) {
        return Read::Over(outcome(&event.id, "ignored", Some(reason)));
    }
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
fn kind_label(body: &Body<'_>) -> String {
    match Json::from(body).get("type").and_then(Json::as_str) {
        Some(kind)
            if kind.len() <= 64
                && kind.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_' | b'0'..=b'9')) =>
        {
            kind.to_owned()
        }
        _ => "other".to_owned(),
    }
}

pub(super) fn outcome(id: &str, status: &'static str, last_error: Option<String>) -> Outcome {
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
