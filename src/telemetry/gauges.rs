//! What an operator watches first: how long the oldest unfinished event has waited, and how deep the queues are.

use std::time::Duration;

use billing::{Clock, Db, store};
use chrono::DateTime;
use metrics_exporter_prometheus::PrometheusHandle;

const EVERY: Duration = Duration::from_secs(15);

/// Refreshes the gauges and tidies the histograms, for ever. While the database does not answer they stay as they were.
pub(crate) async fn refresh(db: Db, clock: Clock, handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        handle.run_upkeep();
        if let Err(error) = look(&db, &clock).await {
            tracing::debug!(%error, "the gauges could not be refreshed");
        }
    }
}

async fn look(db: &Db, clock: &Clock) -> sqlx::Result<()> {
    let oldest = store::oldest_unfinished(db, DateTime::UNIX_EPOCH).await?;
    let age = oldest.map_or(0.0, |at| (clock.now() - at).as_seconds_f64().max(0.0));
    metrics::gauge!("billingd_oldest_unfinished_event_seconds").set(age);
    if let Some(until) = store::reconciled_until(db).await? {
        metrics::gauge!("billingd_unreconciled_seconds").set((clock.now() - until).as_seconds_f64().max(0.0));
    }
    let depths = jobs::queue_depths(db).await?;
    for queue in jobs::Queue::ALL {
        for state in [jobs::JobState::Pending, jobs::JobState::Running, jobs::JobState::Retrying, jobs::JobState::Dead]
        {
            let depth = depths.iter().find(|(name, word, _)| name == queue.as_str() && word == state.as_str());
            metrics::gauge!("billingd_jobs", "queue" => queue.as_str(), "state" => state.as_str())
                .set(depth.map_or(0.0, |(.., count)| *count as f64));
        }
    }
    Ok(())
}
