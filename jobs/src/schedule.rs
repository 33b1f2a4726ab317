//! Schedules: one job per tick of the database's clock, with a key made of name and tick, enqueued by every worker process. No
//! leader, exactly one run; a tick that was missed while everything was down runs once at start, because the present tick is enqueued.

use std::time::Duration;

use billing::Clock;
use billing::store::{Db, Engine, Tx};

use crate::queue::{Options, enqueue};
use crate::{Context, ExpireTrials, Job, Reconcile, RemindTrials};

/// A job that runs every so often.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub name: &'static str,
    pub every: Duration,
    /// How long after the tick it runs.
    pub after: Duration,
}

/// All schedules.
pub const SCHEDULES: [Schedule; 3] = [
    Schedule { name: ExpireTrials::NAME, every: Duration::from_secs(60), after: Duration::ZERO },
    Schedule { name: RemindTrials::NAME, every: Duration::from_secs(60), after: Duration::ZERO },
    // After a start what waits is processed first: until then it would look like drift.
    Schedule { name: Reconcile::NAME, every: Duration::from_secs(3600), after: Duration::from_secs(60) },
];

/// The number of the tick that `unix_seconds` lies in.
fn tick_of(schedule: &Schedule, unix_seconds: i64) -> i64 {
    unix_seconds / schedule.every.as_secs().max(1) as i64
}

/// Remembers which ticks this process has seen to.
#[derive(Default)]
pub(crate) struct Ticker {
    last: [i64; SCHEDULES.len()],
}

impl Ticker {
    /// Enqueues the ticks that are due; cheap when none is. Which they are the database's clock says: one that is ahead would
    /// use up the ticks that all the others have yet to come to.
    pub(crate) async fn tick(&mut self, context: &Context) -> sqlx::Result<()> {
        let wrong_by = now_of(&context.db).await? - Clock::system().now().timestamp();
        let now = context.clock.now().timestamp() + wrong_by;
        for (schedule, last) in SCHEDULES.iter().zip(&mut self.last) {
            let tick = tick_of(schedule, now);
            if tick == *last {
                continue;
            }
            let key = format!("{}:{tick}", schedule.name);
            let mut tx = context.db.begin().await?;
            enqueue_tick(&mut tx, schedule, &key).await?;
            tx.commit().await?;
            *last = tick;
        }
        Ok(())
    }
}

/// The time at the database, in seconds since the epoch.
async fn now_of(db: &Db) -> sqlx::Result<i64> {
    let (now,): (i64,) = match db {
        Engine::Postgres(pool) => {
            sqlx::query_as("select cast(extract(epoch from now()) as bigint)").fetch_one(pool).await?
        }
        Engine::Sqlite(file) => sqlx::query_as("select unixepoch()").fetch_one(&file.reader).await?,
    };
    Ok(now)
}

async fn enqueue_tick(tx: &mut Tx, schedule: &Schedule, key: &str) -> sqlx::Result<()> {
    let options = Options { unique: Some(key), after: schedule.after };
    match schedule.name {
        RemindTrials::NAME => enqueue(tx, &RemindTrials {}, &options).await?,
        Reconcile::NAME => enqueue(tx, &Reconcile {}, &options).await?,
        _ => enqueue(tx, &ExpireTrials {}, &options).await?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_a_minute() {
        let schedule = &SCHEDULES[0];
        assert_eq!(tick_of(schedule, 119), 1);
        assert_eq!(tick_of(schedule, 120), 2);
    }
}
