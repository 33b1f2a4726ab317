//! What an operator watches first: how long the oldest unfinished event has waited, and how deep the queues are.
//!
//! Both questions go through much where much has happened, and events wait behind them for the processor meanwhile. So neither
//! is asked in one go: the oldest event is looked for every second, from where it was last time, and the depths are asked for
//! the more seldom the longer it takes.

use std::time::Duration;

use billing::{Clock, Db, store};
use chrono::{DateTime, Utc};
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout};

const EVERY: Duration = Duration::from_secs(15);
/// PostgreSQL keeps what is finished in the index of the unfinished until the next vacuum, and who first passes it has to look
/// at its row: 15 s of a busy day at once are 200 ms. From then on it is skipped.
const STEP: Duration = Duration::from_secs(1);
/// A database that is gone without a word is not waited for.
const LOOK_MOST: Duration = Duration::from_secs(30);
/// Counting jobs takes a part in so many of the time.
const COUNT_PART: u32 = 300;

/// Refreshes the gauges, for ever. While the database does not answer they stay as they were.
pub(crate) async fn refresh(db: Db, clock: Clock) {
    let (mut tick, mut step) = (every(EVERY), every(STEP));
    let mut count_at = Instant::now();
    let mut from = DateTime::UNIX_EPOCH;
    loop {
        let looked = tokio::select! {
            biased;
            _ = tick.tick() => timeout(LOOK_MOST, look(&db, &clock, &mut count_at)).await,
            _ = step.tick() => timeout(LOOK_MOST, pass(&db, &mut from)).await,
        };
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the gauges could not be refreshed"),
            Err(late) => tracing::debug!(%late, "the gauges could not be refreshed"),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Passes what was finished since the last step.
async fn pass(db: &Db, from: &mut DateTime<Utc>) -> sqlx::Result<()> {
    if let Some(oldest) = store::oldest_unfinished(db, *from).await? {
        *from = oldest;
    }
    Ok(())
}

async fn look(db: &Db, clock: &Clock, count_at: &mut Instant) -> sqlx::Result<()> {
    let oldest = store::oldest_unfinished(db, DateTime::UNIX_EPOCH).await?;
    let age = oldest.map_or(0.0, |at| (clock.now() - at).as_seconds_f64().max(0.0));
    metrics::gauge!("billingd_oldest_unfinished_event_seconds").set(age);
    if let Some(until) = store::reconciled_until(db, clock.now()).await? {
        metrics::gauge!("billingd_unreconciled_seconds").set((clock.now() - until).as_seconds_f64().max(0.0));
    }
    if Instant::now() >= *count_at {
        let started = Instant::now();
        count(db).await?;
        *count_at = started + started.elapsed() * COUNT_PART;
    }
    Ok(())
}

async fn count(db: &Db) -> sqlx::Result<()> {
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

#[cfg(test)]
mod tests {
    use billing::stripe::Envelope;
    use jobs::receive::{Inbox, Incoming};

    use super::*;
    use crate::web::testing::database;

    #[tokio::test]
    async fn a_step_goes_on_from_the_oldest_that_is_left() {
        let (db, _dir) = database().await;
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        for seconds in [10, 20] {
            let body = format!(
                r#"{{"object":"event","id":"evt_{seconds}","type":"invoice.paid","created":1,"livemode":false,"data":{{"object":{{}}}}}}"#
            );
            let envelope = Envelope::parse(body.as_bytes()).unwrap();
            let incoming = Incoming { envelope, body, ignored: None };
            Inbox::new(db.clone(), 1).commit(&[incoming], at(seconds)).await.unwrap();
        }
        let mut from = DateTime::UNIX_EPOCH;
        for (finished, left) in [("evt_none", 10), ("evt_10", 20), ("evt_20", 20)] {
            let mut tx = db.begin().await.unwrap();
            let outcome = store::Outcome {
                id: finished.to_owned(),
                status: "processed",
                last_error: None,
                workspace_id: None,
                owner: None,
            };
            store::finish_events(&mut tx, &[outcome], at(30)).await.unwrap();
            tx.commit().await.unwrap();
            pass(&db, &mut from).await.unwrap();
            assert_eq!(from, at(left), "after {finished}");
        }
    }

    #[tokio::test]
    async fn what_took_long_to_count_is_counted_the_more_seldom() {
        let (db, _dir) = database().await;
        let started = Instant::now();
        let mut count_at = started;
        look(&db, &Clock::system(), &mut count_at).await.unwrap();
        let took = started.elapsed();
        assert!(count_at > started && count_at <= started + took * COUNT_PART);
        let planned = started + Duration::from_secs(3600);
        count_at = planned;
        look(&db, &Clock::system(), &mut count_at).await.unwrap();
        assert_eq!(count_at, planned, "it is not its time");
    }
}
