//! Keeping the queue's tables small: finished jobs and workers that are long gone. On SQLite also the statistics,
//! without which the queue's own statements search by the wrong index and cost several times as much.

use billing::store::{Db, Engine};

/// Rows per statement, so that no lock is held for long.
const BATCH: i64 = 5000;
/// Workers per hour: on SQLite the removal of each looks through the jobs, for there is no index that names it.
const DEAD_WORKERS: i64 = 100;

/// Deletes jobs that were done more than a day ago and dead ones of more than 30 days; gives how many. A schedule's key
/// may go with its job: its tick is long past.
pub async fn prune(db: &Db) -> sqlx::Result<u64> {
    let mut pruned = 0;
    loop {
        let deleted = match db {
            Engine::Postgres(pool) => {
                sqlx::query(
                    "delete from apalis.jobs where id in (
                         select id from apalis.jobs
                         where job_type like current_schema() || '.%'
                           and ((status = 'Done' and done_at < now() - interval '1 day') or (status = 'Killed' and done_at < now() - interval '30 days'))
                         limit $1)",
                )
                .bind(BATCH)
                .execute(pool)
                .await?
                .rows_affected()
            }
            Engine::Sqlite(file) => {
                sqlx::query(
                    "delete from Jobs where rowid in (
                         select rowid from Jobs
                         where (status = 'Done' and done_at < strftime('%s', 'now') - 86400) or (status = 'Killed' and done_at < strftime('%s', 'now') - 2592000)
                         limit $1)",
                )
                .bind(BATCH)
                .execute(&file.writer)
                .await?
                .rows_affected()
            }
        };
        pruned += deleted;
        if deleted < BATCH as u64 {
            break;
        }
    }
    match db {
        Engine::Postgres(pool) => {
            sqlx::query(
                "delete from apalis.workers w where last_seen < now() - interval '1 day'
                 and worker_type like current_schema() || '.%' and not exists (select 1 from apalis.jobs j where j.lock_by = w.id)",
            )
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
            analyze(db).await?;
        }
    }
    Ok(pruned)
}

/// Refreshes SQLite's statistics of the queue; PostgreSQL does it by itself.
pub(crate) async fn analyze(db: &Db) -> sqlx::Result<()> {
    if let Engine::Sqlite(file) = db {
        sqlx::query("analyze Jobs").execute(&file.writer).await?;
    }
    Ok(())
}
