//! What was written before the queue's clock was set back: the database's, which on SQLite is the machine's.
//!
//! Such a job would wait until the clock has come round again, and a worker that died meanwhile would seem to live. What
//! is later than it can be is brought back to now: a retry comes sooner than it would have, and nothing comes too late.

use billing::store::{Db, Engine};

use crate::queue::AFTER_MOST;
use crate::tuning;

/// Rows per statement.
const BATCH: i64 = 1000;

/// For a transaction of [`tuning::by_index`].
pub(crate) const BRING_BACK_POSTGRES: &str = "update apalis.jobs set run_at = now()
    where id = any(array(select id from apalis.jobs
                         where job_type like current_schema() || '.%' and run_at > now()
                           and (status = 'Pending' or (status = 'Failed' and attempts < max_attempts))
                           and ((attempts = 0 and done_at is null and run_at > now() + make_interval(secs => $1::bigint))
                                or done_at > now() + interval '5 seconds')
                         limit $2 for update skip locked))
    returning id";

/// Lets those jobs run now that wait for a time which no working clock has given them, and lets workers be missed that
/// were seen in the future. Gives how many jobs there were; safe to run at any time, and from several processes.
pub(crate) async fn bring_back(db: &Db) -> sqlx::Result<usize> {
    // A job that has not been tried waits for `AFTER_MOST` at most; one that has, since it was given back.
    let most = AFTER_MOST.as_secs() as i64;
    let back: Vec<(String,)> = match db {
        Engine::Postgres(pool) => {
            sqlx::query(
                "update apalis.workers set last_seen = now()
                 where last_seen > now() + interval '5 seconds' and worker_type like current_schema() || '.%'",
            )
            .execute(pool)
            .await?;
            let mut tx = tuning::by_index(pool).await?;
            let back = sqlx::query_as(BRING_BACK_POSTGRES).bind(most).bind(BATCH).fetch_all(&mut *tx).await?;
            tx.commit().await?;
            back
        }
        Engine::Sqlite(file) => {
            let now = "cast(strftime('%s', 'now') as integer)";
            let ahead = format!(
                "status <> 'Done' and run_at > {now} and (status = 'Pending' or (status = 'Failed' and attempts < max_attempts))
                 and ((attempts = 0 and done_at is null and run_at > {now} + $1) or done_at > {now} + 5)"
            );
            // The file has one writer, who is not kept from work to find nothing.
            let some = format!(
                "select exists (select 1 from Jobs where {ahead}) or exists (select 1 from Workers where last_seen > {now} + 5)"
            );
            let (some,): (bool,) = sqlx::query_as(sqlx::AssertSqlSafe(some)).bind(most).fetch_one(&file.reader).await?;
            if !some {
                return Ok(0);
            }
            let seen = format!("update Workers set last_seen = {now} where last_seen > {now} + 5");
            sqlx::query(sqlx::AssertSqlSafe(seen)).execute(&file.writer).await?;
            let back = format!(
                "update Jobs set run_at = {now} where rowid in (select rowid from Jobs where {ahead} limit $2) returning id"
            );
            sqlx::query_as(sqlx::AssertSqlSafe(back)).bind(most).bind(BATCH).fetch_all(&file.writer).await?
        }
    };
    if !back.is_empty() {
        tracing::warn!(jobs = back.len(), "the queue's clock was set back: jobs that waited for the future run now");
    }
    Ok(back.len())
}
