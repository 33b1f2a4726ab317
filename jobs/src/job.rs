//! What a job is.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Context;

/// The queues; each has workers of its own, so that slow mail never holds up events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    Events,
    Mail,
    Maintenance,
}

impl Queue {
    pub const ALL: [Self; 3] = [Self::Events, Self::Mail, Self::Maintenance];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Mail => "mail",
            Self::Maintenance => "maintenance",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.as_str() == text)
    }

    /// Jobs at a time in one process, unless told otherwise.
    pub fn concurrency(self) -> usize {
        match self {
            Self::Events => 4,
            Self::Mail => 8,
            Self::Maintenance => 2,
        }
    }
}

/// How often and how long a job is tried.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub max_attempts: u32,
    /// The wait after the first failure; it doubles with each further one, ± 20 %.
    pub backoff: Duration,
    /// No wait is longer than this.
    pub backoff_most: Duration,
    /// An attempt that takes longer has failed.
    pub timeout: Duration,
}

/// The job did what it should, or found that there was nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done;

/// What is to become of a job that did not.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Counts as an attempt; tried again after the policy's wait, dead after the last attempt.
    #[error("{0}")]
    Retry(String),
    /// Somebody else is down: tried again after the policy's wait, for as long as that lasts, without counting the attempt.
    #[error("{0}")]
    Outage(String),
    /// Not a failure, only too early: run again after this long, without counting the attempt.
    #[error("{reason}")]
    Snooze { after: Duration, reason: String },
    /// Trying again cannot help: dead at once.
    #[error("{0}")]
    Cancel(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Retry(format!("the database failed: {error}"))
    }
}

/// A kind of work. The struct is the payload: ids and small facts; fields added later need `#[serde(default)]`.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// A verb phrase, such as `send-email`; renaming one strands the jobs that wait.
    const NAME: &'static str;
    const QUEUE: Queue;
    const POLICY: Policy;

    /// Does the work. Must be safe to run twice.
    fn run(&self, context: &Context) -> impl Future<Output = Result<Done, Failure>> + Send;

    /// Writes down that the job is dead, so that what it was about is not left waiting.
    fn bury(&self, _context: &Context, _reason: &str) -> impl Future<Output = sqlx::Result<()>> + Send {
        async { Ok(()) }
    }
}
