//! `expire-trials`: makes the end of trials visible and tells the owners. Access does not wait for it: entitlements
//! compare the clock themselves.

use std::time::Duration;

use billing::apply::trials_expired;
use serde::{Deserialize, Serialize};

use crate::{Context, Done, Failure, Job, Policy, Queue, send_email};

/// Trials per transaction.
const BATCH: i64 = 1000;

/// One sweep over all trials whose time is up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExpireTrials {}

impl Job for ExpireTrials {
    const NAME: &'static str = "expire-trials";
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
            let swept = trials_expired(&mut tx, &context.policy, BATCH, context.clock.now()).await?;
            send_email::enqueue_emails(&mut tx, &swept.emails).await?;
            tx.commit().await?;
            marked += swept.marked;
            if (swept.marked as i64) < BATCH {
                break;
            }
        }
        if marked > 0 {
            tracing::info!(trials = marked, "trials have ended");
        }
        metrics::counter!("billingd_trials_expired_total").increment(marked as u64);
        Ok(Done)
    }
}
