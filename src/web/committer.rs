//! Group commit: requests that wait at the same moment share one transaction, so that under load one fsync serves many
//! events, and an idle receiver commits at once.
//!
//! The races, argued:
//! - Nobody waits for company who has none. A committer that is free takes what is there, and while it commits the next batch
//!   gathers. Only where the last batch had several rows does the next wait a moment for more: a commit costs more than its
//!   rows, and at half of the load that can be taken both cores were busy with commits of one and two.
//! - A requester is answered only after the commit of its row, by the committer that made it. If the committer dies, the
//!   answer's channel closes and the requester says 503; at worst an event is stored and not acknowledged, which Stripe
//!   heals by sending it again.
//! - A requester that has gone (its time was up and it said 503, or its connection broke) is passed over: Stripe sends
//!   that event again anyway, and a database that has just come back should not spend its first seconds on work that
//!   nobody waits for. If it goes while its row is being committed, the row stays, and the next delivery is a duplicate.
//! - At shutdown the queue is closed first, then emptied: what was accepted is committed and answered.

mod arrivals;
mod fault;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrivals::{Arrivals, Batch, Moment};
use billing::{Clock, Db};
use fault::Fault;
use futures::FutureExt;
use jobs::receive::{Inbox, Incoming};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::WebSettings;

/// At half of what two cores can take, one event comes each half millisecond: commits of sixteen then, and not of five, while
/// the few that a handful of senders can have under way wait no longer than it takes to see that no more come.
const MOMENT: Moment = Moment { pause: Duration::from_millis(2), most: Duration::from_millis(5) };
/// A commit that takes longer is given up: its requesters have answered 503 by then, and the next batch deserves a
/// connection that works.
const COMMIT_TIME: Duration = Duration::from_secs(10);

/// Where batches are committed: the database, or what a test puts in its place.
pub(crate) trait Store: Send + 'static {
    /// Commits all rows or none. For each, in order: whether it was there already.
    fn commit(&mut self, batch: &[Incoming]) -> impl Future<Output = sqlx::Result<Vec<bool>>> + Send;
}

impl Store for (Inbox, Clock) {
    async fn commit(&mut self, batch: &[Incoming]) -> sqlx::Result<Vec<bool>> {
        let (inbox, clock) = self;
        billing::chaos::point("ingest.before_commit");
        let committed = inbox.commit(batch, clock.now()).await;
        billing::chaos::point("ingest.after_commit");
        committed
    }
}

/// Why an event was not stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCommitted {
    #[error("too many requests are waiting for a commit")]
    Overloaded,
    #[error("the database did not take the event")]
    Unavailable,
    #[error("the receiver is shutting down")]
    Closing,
}

type Answer = Result<bool, NotCommitted>;

struct Waiting {
    incoming: Incoming,
    answer: oneshot::Sender<Answer>,
    /// The body's share of memory, given back when the row is done with.
    place: Option<OwnedSemaphorePermit>,
}

/// The way in; clones share it.
#[derive(Clone)]
pub(crate) struct Queue(mpsc::Sender<Waiting>);

impl Queue {
    /// Whether one more may wait at this moment.
    pub(crate) fn has_room(&self) -> bool {
        self.0.is_closed() || self.0.capacity() > 0
    }

    /// Waits until `incoming` is committed and says whether it was there already. Dropping the future gives it up.
    ///
    /// # Errors
    /// Full (at once), not taken by the database, or shutting down: all mean "try again later".
    pub(crate) async fn commit(&self, incoming: Incoming, place: Option<OwnedSemaphorePermit>) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Waiting { incoming, answer, place }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NotCommitted::Overloaded,
            mpsc::error::TrySendError::Closed(_) => NotCommitted::Closing,
        })?;
        answered.await.unwrap_or(Err(NotCommitted::Unavailable))
    }
}

/// The running committers. Dropping this ends them without waiting; [`Committers::drain`] is the orderly way.
#[must_use = "dropping the committers ends them"]
pub(crate) struct Committers {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Committers {
    /// Takes nothing more, commits and answers what was accepted, and returns when that is done.
    pub(crate) async fn drain(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a committer ended badly");
            }
        }
    }
}

/// Starts the committers of `db`; at most `queue_requests` of the settings (at least 1) wait for them.
pub(crate) fn start_committers(db: &Db, clock: &Clock, settings: &WebSettings) -> (Queue, Committers) {
    let count = match db {
        // One prepares while the other waits for the disk.
        Db::Postgres(_) => 2,
        // There is one writer anyway.
        Db::Sqlite(_) => 1,
    };
    let inboxes = (0..count).map(|_| (Inbox::new(db.clone(), settings.event_lanes), clock.clone()));
    start(inboxes.collect(), settings.queue_requests, MOMENT)
}

/// A committer for each of the stores.
fn start<S: Store>(stores: Vec<S>, queue_requests: usize, moment: Moment) -> (Queue, Committers) {
    let (sender, receiver) = mpsc::channel(queue_requests.max(1));
    let arrivals = Arc::new(Mutex::new(Arrivals::new(receiver, moment)));
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for store in stores {
        tasks.spawn(run(store, Arc::clone(&arrivals), stopped.clone()));
    }
    (Queue(sender), Committers { tasks, stop })
}

async fn run<S: Store>(mut store: S, arrivals: Arc<Mutex<Arrivals>>, mut stopped: watch::Receiver<bool>) {
    loop {
        // The lock is held only while waiting and taking: the other committer waits for it, or commits meanwhile.
        let Some(batch) = arrivals.lock().await.next_batch(&mut stopped).await else { return };
        if !batch.rows.is_empty() {
            settle(&mut store, batch).await;
        }
    }
}

/// Commits a batch and answers each of its requesters.
async fn settle<S: Store>(store: &mut S, batch: Batch) {
    let Batch { rows, answers, places, .. } = batch;
    metrics::histogram!("billingd_ingest_batch_events").record(rows.len() as f64);
    let mut result = attempt(store, &rows).await;
    if let Err(fault) = &result
        && fault.is_passing()
    {
        // A commit whose connection broke may have happened: then the rows are found as duplicates, which is as true.
        tracing::warn!(events = rows.len(), %fault, "a batch of events failed and is tried again");
        result = attempt(store, &rows).await;
    }
    match result {
        Ok(duplicates) => {
            for (answer, duplicate) in answers.into_iter().zip(duplicates) {
                tell(answer, Ok(duplicate));
            }
        }
        Err(fault) if fault.may_be_one_row() && rows.len() > 1 => {
            tracing::warn!(events = rows.len(), %fault, "a batch of events failed and is tried row by row");
            settle_singly(store, &rows, answers).await;
        }
        Err(fault) => {
            tracing::error!(events = rows.len(), %fault, "events were not stored");
            for answer in answers {
                tell(answer, Err(NotCommitted::Unavailable));
            }
        }
    }
    drop(places);
}

/// One transaction a row, so that one bad row never fails its neighbours. Ends early when the database itself is gone:
/// the rest would only wait for the same.
async fn settle_singly<S: Store>(store: &mut S, rows: &[Incoming], answers: Vec<oneshot::Sender<Answer>>) {
    let mut gone = false;
    for (row, answer) in rows.iter().zip(answers) {
        if gone || answer.is_closed() {
            tell(answer, Err(NotCommitted::Unavailable));
            continue;
        }
        match attempt(store, std::slice::from_ref(row)).await {
            Ok(duplicates) => tell(answer, duplicates.first().copied().ok_or(NotCommitted::Unavailable)),
            Err(fault) => {
                let (id, kind) = (&row.envelope.id, &row.envelope.kind);
                tracing::error!(event.id = %id, event.kind = %kind, %fault, "an event was not stored");
                gone = !fault.may_be_one_row();
                tell(answer, Err(NotCommitted::Unavailable));
            }
        }
    }
}

/// One try, bounded in time; a panic below costs the batch, never the committer.
async fn attempt<S: Store>(store: &mut S, rows: &[Incoming]) -> Result<Vec<bool>, Fault> {
    let started = Instant::now();
    let commit = AssertUnwindSafe(store.commit(rows)).catch_unwind();
    let duplicates = match tokio::time::timeout(COMMIT_TIME, commit).await {
        Err(_elapsed) => return Err(Fault::Late),
        Ok(Err(_panic)) => return Err(Fault::Panic),
        Ok(Ok(result)) => result?,
    };
    if duplicates.len() != rows.len() {
        return Err(Fault::Miscounted { rows: rows.len(), answers: duplicates.len() });
    }
    metrics::histogram!("billingd_ingest_commit_seconds").record(started.elapsed().as_secs_f64());
    Ok(duplicates)
}

fn tell(answer: oneshot::Sender<Answer>, result: Answer) {
    if answer.send(result).is_err() {
        // It went while its row was being committed; its own time limit has told the sender.
        tracing::debug!(stored = result.is_ok(), "a requester was gone before its answer");
    }
}
