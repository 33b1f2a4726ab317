//! Putting jobs into the queue, in the caller's transaction: the job exists exactly if the caller's change does.
//!
//! `run_at` is the database's clock, which is the one the queue compares with: a worker whose own clock is wrong
//! neither hurries nor delays anything. Should the database's be set back, see `set_back.rs`. On PostgreSQL the queue's tables are shared by all schemas of the database, so
//! the queue's name carries ours.

use std::time::Duration;

use billing::store::Tx;
use serde::Serialize;

use crate::{Job, Queue};

/// No job is put into the queue for later than this: what waits for longer, untried, waits because a clock was set back.
pub(crate) const AFTER_MOST: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    job: String,
    /// In seconds.
    after: i64,
}

#[derive(Serialize)]
struct Payload<'a, J> {
    job: &'static str,
    args: &'a J,
}

/// What is put into the queue beside the job itself.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// Not before this long from now, a minute at most; the queue counts in whole seconds.
    pub after: Duration,
    /// At most one job of a queue ever has this key.
    pub unique: Option<&'a str>,
}

/// Tells of jobs in `$1`, in a transaction that waits for no disk.
pub(crate) const TELL_POSTGRES: &str = "select set_config('synchronous_commit', 'off', true),
    pg_notify('apalis::job::insert', json_build_object('job_type', current_schema() || '.' || $1)::text)";

/// Enqueues one job, and gives its id; `None` when its unique key is taken.
pub async fn enqueue<J: Job>(tx: &mut Tx, job: &J, options: &Options<'_>) -> sqlx::Result<Option<String>> {
    let id = billing::clock::new_id();
    let made = insert::<J>(tx, &[(&id, job, options.after)], options.unique).await?;
    Ok((made == 1).then_some(id))
}

/// Enqueues jobs under ids of the caller's, which are ULIDs.
pub async fn enqueue_all<J: Job>(tx: &mut Tx, jobs: &[(&str, &J)]) -> sqlx::Result<u64> {
    insert::<J>(tx, &jobs.iter().map(|(id, job)| (*id, *job, Duration::ZERO)).collect::<Vec<_>>(), None).await
}

/// The same, each not to run before so long from now, a minute at most.
pub async fn enqueue_all_after<J: Job>(tx: &mut Tx, jobs: &[(&str, &J, Duration)]) -> sqlx::Result<u64> {
    insert::<J>(tx, jobs, None).await
}

async fn insert<J: Job>(tx: &mut Tx, jobs: &[(&str, &J, Duration)], unique: Option<&str>) -> sqlx::Result<u64> {
    if jobs.is_empty() {
        return Ok(0);
    }
    let encode = |error| sqlx::Error::Encode(Box::new(error));
    let mut rows = Vec::with_capacity(jobs.len());
    for (id, job, after) in jobs {
        let job = serde_json::to_string(&Payload { job: J::NAME, args: *job }).map_err(encode)?;
        rows.push(Row { id, job, after: (*after).min(AFTER_MOST).as_secs().cast_signed() });
    }
    let (queue, attempts) = (J::QUEUE.as_str(), i64::from(J::POLICY.max_attempts));
    Ok(match tx {
        Tx::Postgres(tx) => {
            // Told of once, whatever their number; the mark keeps the queue's trigger from telling of each row.
            let (made, _told): (i64, i64) = sqlx::query_as(
                "with made as (
                     insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata, idempotency_key)
                     select r.id, current_schema() || '.' || $2, r.job, 'Pending', 0, $3::bigint,
                            now() + make_interval(secs => r.after::double precision), 0, hstore('told', '1'), $6
                     from unnest($1::text[], $4::bytea[], $5::bigint[]) as r(id, job, after)
                     on conflict (job_type, idempotency_key) do nothing
                     returning id, job_type, run_at
                 ), told as (
                     select pg_notify('apalis::job::insert', json_build_object(
                                'job_type', min(job_type), 'id', min(id), 'run_at', min(run_at))::text)
                     from made having min(run_at) <= now()
                 )
                 select (select count(*) from made), (select count(*) from told)",
            )
            .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
            .bind(queue)
            .bind(attempts)
            .bind(rows.iter().map(|row| row.job.as_bytes()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.after).collect::<Vec<_>>())
            .bind(unique)
            .fetch_one(&mut **tx)
            .await?;
            made as u64
        }
        Tx::Sqlite(tx) => sqlx::query(
            "insert into Jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata, idempotency_key)
             select value ->> 'id', $2, cast(value ->> 'job' as blob), 'Pending', 0, $3,
                    cast(strftime('%s', 'now') as integer) + (value ->> 'after'), 0, '{}', $4
             from jsonb_each($1) where true
             on conflict (job_type, idempotency_key) do nothing",
        )
        .bind(serde_json::to_string(&rows).map_err(encode)?)
        .bind(sqlite_name(J::QUEUE))
        .bind(attempts)
        .bind(unique)
        .execute(&mut **tx)
        .await?
        .rows_affected(),
    })
}

/// Only what is deleted is locked: a job that runs could not be acknowledged until this transaction ends. The status is hidden
/// from the planner (`coalesce`), or it would go through all that is pending, by the index of that.
pub(crate) const WITHDRAW_POSTGRES: &str = "delete from apalis.jobs
    where id = any(array(select id from apalis.jobs
                         where id = any(array(select jsonb_array_elements_text($1::jsonb)))
                           and coalesce(status, '') = 'Pending' and attempts = 0
                         for update skip locked))";
pub(crate) const WITHDRAW_SQLITE: &str =
    "delete from Jobs where status = 'Pending' and attempts = 0 and id in (select value from json_each($1))";

/// Takes jobs that nobody has fetched yet out of the queue, because the caller's transaction does their work. Should it
/// fail, they are still there.
pub(crate) async fn withdraw(tx: &mut Tx, job_ids: &[&str]) -> sqlx::Result<()> {
    if job_ids.is_empty() {
        return Ok(());
    }
    let ids = serde_json::to_string(job_ids).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    match tx {
        Tx::Postgres(tx) => {
            sqlx::query(WITHDRAW_POSTGRES).bind(ids).execute(&mut **tx).await?;
        }
        Tx::Sqlite(tx) => {
            sqlx::query(WITHDRAW_SQLITE).bind(ids).execute(&mut **tx).await?;
        }
    }
    Ok(())
}

/// Takes jobs that will not run again out of the queue.
pub(crate) async fn forget(tx: &mut Tx, job_ids: &[&str]) -> sqlx::Result<()> {
    let ids = serde_json::to_string(job_ids).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    match tx {
        Tx::Postgres(tx) => {
            sqlx::query(
                "delete from apalis.jobs where id = any(array(select jsonb_array_elements_text($1::jsonb)))
                 and (status in ('Done', 'Killed') or (status = 'Failed' and attempts >= max_attempts))",
            )
            .bind(ids)
            .execute(&mut **tx)
            .await?;
        }
        Tx::Sqlite(tx) => {
            sqlx::query(
                "delete from Jobs where id in (select value from json_each($1))
                 and (status in ('Done', 'Killed') or (status = 'Failed' and attempts >= max_attempts))",
            )
            .bind(ids)
            .execute(&mut **tx)
            .await?;
        }
    }
    Ok(())
}

/// The name of a queue in a SQLite file, which holds one product only.
pub(crate) fn sqlite_name(queue: Queue) -> &'static str {
    queue.as_str()
}

/// The name of a queue on PostgreSQL.
pub(crate) fn postgres_name(schema: &str, queue: Queue) -> String {
    format!("{schema}.{}", queue.as_str())
}
