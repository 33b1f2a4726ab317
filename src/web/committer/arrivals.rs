//! What waits for a commit, and how much of it goes together.

use std::time::Duration;

use jobs::receive::Incoming;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{Answer, Waiting};

/// Rows of one transaction at most. More gain nothing: the fsync is already shared by 64.
const BATCH_ROWS: usize = 64;
/// So many rows do not wait for more.
pub(super) const ENOUGH_ROWS: usize = 16;
/// A batch is full when its bodies reach this, so that 64 large ones are not held twice, here and in the statement.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// How long few rows wait for more where there is company.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// From when the last of them came.
    pub(super) pause: Duration,
    /// From when the first was taken.
    pub(super) most: Duration,
}

/// What waits for a commit.
pub(super) struct Arrivals {
    queue: mpsc::Receiver<Waiting>,
    /// Whether there was more than one in the last batch.
    in_company: bool,
    /// How long the next waits for more then.
    moment: Moment,
}

impl Arrivals {
    pub(super) fn new(queue: mpsc::Receiver<Waiting>, moment: Moment) -> Self {
        Self { queue, in_company: false, moment }
    }

    /// Waits for one, then takes what else is there, and what comes in a moment where there is company. `None`: stopped, and
    /// nothing is left. Empty: nobody waits any more.
    pub(super) async fn next_batch(&mut self, stopped: &mut watch::Receiver<bool>) -> Option<Batch> {
        let first = tokio::select! {
            biased;
            first = self.queue.recv() => Some(first),
            // A dropped `Committers` reads as stopped too.
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        let first = if let Some(first) = first {
            first
        } else {
            self.queue.close();
            self.queue.recv().await
        }?;
        let mut batch = Batch::default();
        batch.add(first);
        self.add_to(&mut batch);
        if self.in_company {
            let most = tokio::time::sleep(self.moment.most);
            tokio::pin!(most);
            while batch.rows.len() < ENOUGH_ROWS && batch.bytes < BATCH_BYTES {
                tokio::select! {
                    biased;
                    Some(waiting) = self.queue.recv() => batch.add(waiting),
                    () = &mut most => break,
                    () = tokio::time::sleep(self.moment.pause) => break,
                }
            }
            self.add_to(&mut batch);
        }
        self.in_company = batch.rows.len() > 1;
        Some(batch)
    }

    /// Adds what is there, as far as it fits.
    fn add_to(&mut self, batch: &mut Batch) {
        while batch.rows.len() < BATCH_ROWS && batch.bytes < BATCH_BYTES {
            let Ok(waiting) = self.queue.try_recv() else { break };
            batch.add(waiting);
        }
    }
}

/// Rows apart from those who wait for them, because the store takes the rows as one slice.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Incoming>,
    pub(super) answers: Vec<oneshot::Sender<Answer>>,
    pub(super) places: Vec<Option<OwnedSemaphorePermit>>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, waiting: Waiting) {
        if !waiting.answer.is_closed() {
            self.bytes += waiting.incoming.body.len();
            self.rows.push(waiting.incoming);
            self.answers.push(waiting.answer);
            self.places.push(waiting.place);
        }
    }
}
