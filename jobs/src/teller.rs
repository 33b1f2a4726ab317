//! Tells workers of the jobs that a receiver has committed, on PostgreSQL.
//!
//! A transaction that tells of something holds, until its commit is on the disk, a lock that every other such transaction
//! waits for: were a receiver's commits to tell themselves, they would take turns at the disk, and workers, whose mails are
//! told of in their transactions, would wait for each of them. So it is told a moment later, in a transaction of its own that
//! waits for no disk. What is not told, because the process dies in between, is found by the workers' tick.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::mpsc;

use crate::bounded::done_within;
use crate::queue::TELL_POSTGRES;
use crate::{Job, ProcessEvents};

/// The tick has told them long before.
const TELL_MOST: Duration = Duration::from_secs(5);

/// Tells until it is dropped, and then what it had been asked to.
#[derive(Debug)]
pub(crate) struct Teller(mpsc::Sender<()>);

impl Teller {
    /// Tells through this pool, in whose schema the jobs are.
    pub(crate) fn of(pool: PgPool) -> Self {
        // One place is enough: what is told next is told of all that was committed until then.
        let (sender, mut asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                let tell = sqlx::query(TELL_POSTGRES).bind(ProcessEvents::QUEUE.as_str()).execute(&pool);
                if let Err(reason) = done_within(TELL_MOST, tell).await {
                    tracing::debug!(reason, "workers were not told of events; the tick finds them");
                }
            }
        });
        Self(sender)
    }

    /// That there are new jobs with events. Waits for nothing.
    pub(crate) fn tell(&self) {
        if let Err(mpsc::error::TrySendError::Closed(())) = self.0.try_send(()) {
            tracing::debug!("nobody tells workers of events any more; the tick finds them");
        }
    }
}
