//! `process-events`: from the inbox to the state, for all events that were committed together.

mod batch;
mod size;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use billing::store::{self, Outcome, Tx};
use serde::{Deserialize, Serialize};

use crate::queue::{self, Options};
use crate::{Context, Done, Failure, Job, Policy, Queue};
use batch::{Work, outcome, process};
pub use size::BatchSize;

/// Events per job that a sweep or a replay makes; a commit of the receiver makes at most as many.
pub(crate) const EVENTS_PER_JOB: usize = 64;

/// How long a job goes on with the backlog on SQLite, for as long as that fills its batches. To take another job out of the queue
/// costs two commits and as many turns; and where several processes work, what one of them writes, be it that a job is done, has
/// the others read again every page that they had in memory. No longer, so that none waits in vain for the lane.
const GOES_ON: Duration = Duration::from_secs(4);

/// The events of one commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessEvents {
    pub event_ids: Vec<String>,
    /// Where the events are; should one be in another lane, it is found.
    #[serde(default)]
    pub lane: i16,
}

impl Job for ProcessEvents {
    const NAME: &'static str = "process-events";
    const QUEUE: Queue = Queue::Events;
    /// Retries after 2 s, 4 s, 8 s .. 34 min; then dead, about 70 minutes after the first failure.
    const POLICY: Policy = Policy {
        max_attempts: 12,
        backoff: Duration::from_secs(2),
        backoff_most: Duration::from_secs(3600),
        // A transaction has less; to ask Stripe takes as many pages as there are.
        timeout: Duration::from_mins(5),
    };

    async fn run(&self, context: &Context) -> Result<Done, Failure> {
        let mut work = Work::new(context);
        match with_backlog(&mut work, self).await {
            Ok(more) => {
                if more && work.may_go_on() {
                    self.go_on(&mut work).await;
                }
                Ok(Done)
            }
            // Nothing that was taken along is to blame, and asking at once again would be no patience.
            Err(Failed::Asking(failure)) => Err(failure),
            Err(Failed::Applying(Failure::Retry(reason))) if outage(context).await => Err(Failure::Retry(reason)),
            Err(Failed::Applying(snooze @ Failure::Snooze { .. })) => Err(snooze),
            Err(failed) if self.event_ids.len() == 1 => self.by_itself(&mut work, failed).await,
            Err(failed) => {
                let failure = Failure::from(failed);
                tracing::warn!(events = self.event_ids.len(), %failure, "a batch failed; its events run one by one");
                self.one_by_one(&mut work).await
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

/// What failed: a question to Stripe, for one event that asks; or the rest of the work, perhaps because another transaction
/// has something locked for long.
enum Failed {
    Asking(Failure),
    Applying(Failure),
    Locked,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Applying(failure)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        if store::waited_too_long(&error) { Self::Locked } else { Self::Applying(error.into()) }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Asking(failure) | Failed::Applying(failure) => failure,
            Failed::Locked => Failure::Snooze {
                after: locked_pause(),
                reason: "another transaction has locked what these events change".to_owned(),
            },
        }
    }
}

/// Whether it is the database that fails, and not an event of the batch.
async fn outage(context: &Context) -> bool {
    context.db.ping().await.is_err()
}

impl ProcessEvents {
    /// Works on at the backlog, but not once the worker is told to stop. The jobs of what waits there are still in the queue,
    /// and should something fail, they will see to it: this one has nothing of its own any more that could be to blame, or
    /// that could be tried again.
    async fn go_on(&self, work: &mut Work<'_>) {
        let backlog = Self { event_ids: Vec::new(), lane: self.lane };
        let started = Instant::now();
        while started.elapsed() < GOES_ON && !work.context.running.is_closed() {
            match with_backlog(work, &backlog).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(failed) => {
                    let failure = Failure::from(failed);
                    tracing::debug!(%failure, "a batch of the backlog failed; its events are left to their own jobs");
                    return;
                }
            }
        }
    }

    /// An event that fails by itself is taken along by nobody any more, for all would fail with it.
    async fn by_itself(&self, work: &mut Work<'_>, failed: Failed) -> Result<Done, Failure> {
        let result = match failed {
            Failed::Applying(failure) if work.single => Err(failure),
            failed => {
                let failure = Failure::from(failed);
                tracing::debug!(%failure, "an event failed, perhaps because of what was taken along; it runs alone");
                alone(work, self).await.map_err(Failure::from)
            }
        };
        if let Err(Failure::Retry(_)) = result {
            let mut tx = work.context.db.begin().await?;
            store::set_events_aside(&mut tx, &self.event_ids, None).await?;
            tx.commit().await?;
        }
        result.map(|()| Done)
    }

    /// The good ones commit; a failing one gets a job of its own with its own attempts.
    async fn one_by_one(&self, work: &mut Work<'_>) -> Result<Done, Failure> {
        let mut put_off = None;
        for id in &self.event_ids {
            let single = Self { event_ids: vec![id.clone()], lane: self.lane };
            match alone(work, &single).await.map_err(Failure::from) {
                Ok(()) => {}
                // The job comes back for it, and finds the others finished.
                Err(snooze @ Failure::Snooze { .. }) => put_off = Some(snooze),
                Err(Failure::Cancel(reason)) => single.bury(work.context, &reason).await?,
                Err(failure) => {
                    tracing::warn!(event.id = id, %failure, "the event failed and is tried again by itself");
                    single.come_back(work.context, Self::POLICY.backoff).await?;
                }
            }
        }
        put_off.map_or(Ok(Done), Err)
    }

    /// Sets its events aside, in a new job.
    async fn come_back(self, context: &Context, after: Duration) -> sqlx::Result<()> {
        let mut tx = context.db.begin().await?;
        set_aside(&mut tx, self.event_ids, self.lane, after).await?;
        tx.commit().await
    }
}

/// Gives the events new jobs of their own, each with events of one lane.
pub(crate) async fn give_job(tx: &mut Tx, event_ids: &[String]) -> sqlx::Result<usize> {
    let mut lanes: BTreeMap<i16, Vec<String>> = BTreeMap::new();
    for (id, lane) in store::lane_of_each(tx, event_ids).await? {
        lanes.entry(lane).or_default().push(id);
    }
    let mut given = 0;
    for (lane, ids) in lanes {
        for chunk in ids.chunks(EVENTS_PER_JOB) {
            let job = ProcessEvents { event_ids: chunk.to_vec(), lane };
            if let Some(job_id) = queue::enqueue(tx, &job, &Options::default()).await? {
                given += store::rearm_events(tx, chunk, &job_id).await?.len();
            }
        }
    }
    Ok(given)
}

/// After how long to look again after what another transaction has locked; not all at the same moment.
fn locked_pause() -> Duration {
    Duration::from_secs(rand::random_range(2..=4))
}

/// Gives events a job of their own after a while, in which nobody takes them along.
async fn set_aside(tx: &mut Tx, event_ids: Vec<String>, lane: i16, after: Duration) -> sqlx::Result<()> {
    let job = ProcessEvents { event_ids, lane };
    if let Some(job_id) = queue::enqueue(tx, &job, &Options { after, unique: None }).await? {
        store::set_events_aside(tx, &job.event_ids, Some(&job_id)).await?;
    }
    Ok(())
}

/// Applies the job's events and those it takes along, and gives whether more wait.
async fn with_backlog(work: &mut Work<'_>, job: &ProcessEvents) -> Result<bool, Failed> {
    let batch_size = &work.context.batch_size;
    let size = batch_size.get();
    let result = process(work, job, size.saturating_sub(job.event_ids.len())).await;
    match &result {
        Ok(_) => batch_size.processed(size, work.bytes),
        Err(Failed::Applying(Failure::Retry(_))) if !work.single => batch_size.shrink(size),
        Err(_) => {}
    }
    result
}

/// Applies a single event. Where something of it is locked for long, it comes back in a job of its own.
async fn alone(work: &mut Work<'_>, single: &ProcessEvents) -> Result<(), Failed> {
    match process(work, single, 0).await {
        Err(Failed::Locked) => Ok(single.clone().come_back(work.context, locked_pause()).await?),
        result => result.map(drop),
    }
}
