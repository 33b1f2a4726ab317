//! From a job's name to its code. A removed kind stays here for a release, so that what waits can still be decoded.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Context, Done, ExpireTrials, Failure, Job, Policy, ProcessEvents, Reconcile, Refresh, RemindTrials, SendEmail,
};

/// A job as it lies in the queue: `{"job": name, "args": {…}}`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Payload {
    pub(crate) job: String,
    pub(crate) args: Value,
}

/// The member under which a payload that is no JSON arrives, with the reason.
pub(crate) const UNREADABLE: &str = "unreadable";

/// How a payload turned out before any work was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecodable {
    #[error("the job's payload is unreadable: {0}")]
    Payload(serde_json::Error),
    #[error("the job's payload is unreadable: {0}")]
    NoJson(String),
    /// Perhaps of a newer version that also works on this queue.
    #[error("the job kind {0:?} is not known to this version")]
    Unknown(String),
}

impl From<Undecodable> for Failure {
    fn from(error: Undecodable) -> Self {
        match error {
            Undecodable::Payload(_) | Undecodable::NoJson(_) => Self::Cancel(error.to_string()),
            Undecodable::Unknown(_) => {
                Self::Snooze { after: std::time::Duration::from_secs(60), reason: error.to_string() }
            }
        }
    }
}

pub(crate) fn decode(value: &Value) -> Result<Payload, Undecodable> {
    if let Some(reason) = value[UNREADABLE].as_str() {
        return Err(Undecodable::NoJson(reason.to_owned()));
    }
    Payload::deserialize(value).map_err(Undecodable::Payload)
}

macro_rules! jobs {
    ($($job:ty),+ $(,)?) => {
        /// The policy of a kind of job; `None` for a kind that is not known here.
        pub(crate) fn policy_of(name: &str) -> Option<Policy> {
            $(if name == <$job>::NAME { return Some(<$job>::POLICY); })+
            None
        }

        pub(crate) async fn run(context: &Context, value: &Value) -> Result<Done, Failure> {
            let payload = decode(value)?;
            $(if payload.job == <$job>::NAME {
                let job: $job = serde_json::from_value(payload.args).map_err(Undecodable::Payload)?;
                return job.run(context).await;
            })+
            Err(Undecodable::Unknown(payload.job).into())
        }

        pub(crate) async fn bury(context: &Context, value: &Value, reason: &str) -> sqlx::Result<()> {
            // What cannot be decoded names nothing that could be marked.
            let Ok(payload) = decode(value) else { return Ok(()) };
            $(if payload.job == <$job>::NAME {
                return match serde_json::from_value::<$job>(payload.args) {
                    Ok(job) => job.bury(context, reason).await,
                    Err(_) => Ok(()),
                };
            })+
            Ok(())
        }
    };
}

jobs!(ProcessEvents, SendEmail, ExpireTrials, RemindTrials, Refresh, Reconcile);
