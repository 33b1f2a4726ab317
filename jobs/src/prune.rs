//! Keeping the queue's tables small: finished jobs and workers that are long gone.

use billing::store::{Db, Engine};

/// Rows per statement, so that no lock is held for long.
const BATCH: i64 = 5000;
/// Workers per run: the removal of each looks through the jobs, for there is no index that names it.
const DEAD_WORKERS: i64 = 100;
/// For how many days a job is kept that is over.
const KEPT: [(&str, u32); 2] = [("Done", 1), ("Killed", 30)];

/// Deletes jobs that were done more than a day ago and dead ones of more than 30 days; gives how many. A schedule's key
/// may go with its job: its tick is long past.
pub async fn prune(db: &Db) -> sqlx::Result<u64> {
    let mut pruned = 0;
    for (status, days) in KEPT {
        loop {
            let deleted = match db {
                Engine::Postgres(pool) => {
                    let sql = sqlx::AssertSqlSafe(on_postgres(status, days));
                    sqlx::query(sql).bind(BATCH).execute(pool).await?.rows_affected()
                }
                Engine::Sqlite(file) => {
                    let sql = sqlx::AssertSqlSafe(on_sqlite(status, days));
                    sqlx::query(sql).bind(BATCH).execute(&file.writer).await?.rows_affected()
                }
            };
            pruned += deleted;
            if deleted < BATCH as u64 {
                break;
            }
        }
    }
    match db {
        Engine::Postgres(pool) => {
            sqlx::query(
                "delete from apalis.workers where id in (
                     select id from apalis.workers w where last_seen < now() - interval '1 day'
                     and worker_type like current_schema() || '.%' and not exists (select 1 from apalis.jobs j where j.lock_by = w.id)
                     limit $1)",
            )
            .bind(DEAD_WORKERS)
            .execute(pool)
            .await?;
        }
        Engine::Sqlite(file) => {
            sqlx::query(
                "delete from Workers where id in (
                     select id from Workers where last_seen < strftime('%s', 'now') - 86400
                     and id not in (select lock_by from Jobs where lock_by is not null) limit $1)",
            )
            .bind(DEAD_WORKERS)
            .execute(&file.writer)
            .await?;
        }
    }
    Ok(pruned)
}

/// Each state has an index of its own by the time at which it came.
pub(crate) fn on_postgres(status: &str, days: u32) -> String {
    format!(
        "delete from apalis.jobs where id = any(array(
             select id from apalis.jobs
             where status = '{status}' and done_at < now() - interval '{days} days' and job_type like current_schema() || '.%' limit $1))"
    )
}

pub(crate) fn on_sqlite(status: &str, days: u32) -> String {
    format!(
        "delete from Jobs where rowid in (
             select rowid from Jobs where status = '{status}' and done_at < strftime('%s', 'now') - {days} * 86400 limit $1)"
    )
}
