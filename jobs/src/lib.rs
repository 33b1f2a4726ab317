//! The jobs, one file each, and the queue's one door.
//!
//! Apalis is known to `host`, `wake` and `queue` only; its traps are closed there. A job is a struct with a name, a
//! queue, a policy and `run`; its fate follows from the type of its error.

mod ask;
mod bounded;
mod context;
mod expire_trials;
mod foreign;
mod host;
mod job;
mod lanes;
mod manage;
mod migrate;
mod process_events;
mod prune;
pub mod queue;
pub mod receive;
mod reconcile;
mod refresh;
mod registry;
mod remind_trials;
mod rescue;
mod schedule;
mod send_email;
mod set_back;
mod teller;
mod tuning;
mod wake;

pub use context::{Context, Links};
pub use expire_trials::ExpireTrials;
pub use host::{Host, HostError};
pub use job::{Done, Failure, Job, Policy, Queue};
pub use lanes::LANES;
pub use manage::{
    JobFilter, JobRow, JobState, Replay, discard_jobs, list_jobs, queue_depths, replay_events, retry_jobs,
};
pub use migrate::migrate;
pub use process_events::{BatchSize, ProcessEvents};
pub use prune::prune;
pub use reconcile::{Difference, Differing, How, LISTED, MissingEvent, Reconcile, Report, Window, reconcile};
pub use refresh::Refresh;
pub use remind_trials::RemindTrials;
pub use rescue::{Rescued, rescue, welcome};
pub use schedule::SCHEDULES;
pub use send_email::{SendEmail, enqueue_emails, retry_emails};
