//! `remind-trials`: tells the owners of trials that end in three days, and again in one.

use std::time::Duration;

use billing::apply::trials_ending;
use serde::{Deserialize, Serialize};

use crate::{Context, Done, Failure, Job, Policy, Queue, send_email};

/// Trials per transaction.
const BATCH: i64 = 1000;

/// One sweep over all trials that end soon.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RemindTrials {}

impl Job for RemindTrials {
    const NAME: &'static str = "remind-trials";
    const QUEUE: Queue = Queue::Maintenance;
    /// Few attempts: the next tick sweeps again.
    const POLICY: Policy = Policy {
        max_attempts: 3,
        backoff: Duration::from_secs(5),
        backoff_most: Duration::from_secs(60),
        timeout: Duration::from_secs(300),
    };

    async fn run(&self, context: &Context) -> Result<Done, Failure> {
        let mut marked = 0;
        loop {
            let mut tx = context.db.begin().await?;
            let swept = trials_ending(&mut tx, &context.policy, BATCH, context.clock.now()).await?;
            send_email::enqueue_emails(&mut tx, &swept.emails).await?;
            tx.commit().await?;
            marked += swept.marked;
            if (swept.marked as i64) < BATCH {
                break;
            }
        }
        if marked > 0 {
            tracing::info!(trials = marked, "owners are reminded of the end of their trials");
        }
        metrics::counter!("billingd_trials_ending_total").increment(marked as u64);
        Ok(Done)
    }
}
