//! Looking at the queue and taking a hand in it.

use std::collections::HashSet;

use billing::store::{self, Db, Engine, EventFilter, Tx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;

use crate::{Context, Queue, foreign, process_events, registry};

/// Where a job stands, in words of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Pending,
    Running,
    Retrying,
    Done,
    Dead,
}

impl JobState {
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Retrying, Self::Done, Self::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Which jobs to list; an absent condition is none.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub state: Option<JobState>,
    pub queue: Option<Queue>,
    pub limit: i64,
}

/// A job as the operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct JobRow {
    pub id: String,
    pub queue: String,
    pub job: Option<String>,
    pub state: String,
    pub attempts: i64,
    pub max_attempts: i64,
    pub run_at: DateTime<Utc>,
    pub last_error: Option<String>,
    pub args: Option<String>,
}

/// A row of the queue. Its payload is read here and not by the database, for which one that is no JSON fails them all.
#[derive(FromRow)]
struct Stored {
    id: String,
    queue: String,
    state: String,
    attempts: i64,
    max_attempts: i64,
    run_at: DateTime<Utc>,
    last_error: Option<String>,
    payload: Vec<u8>,
}

impl From<Stored> for JobRow {
    fn from(row: Stored) -> Self {
        let payload: Value = serde_json::from_slice(&row.payload).unwrap_or_default();
        let Stored { id, queue, state, attempts, max_attempts, run_at, last_error, .. } = row;
        let job = payload["job"].as_str().map(ToOwned::to_owned);
        let args = payload.get("args").map(Value::to_string);
        Self { id, queue, job, state, attempts, max_attempts, run_at, last_error, args }
    }
}

const POSTGRES: &str = "
    select id, split_part(job_type, '.', 2) as queue,
           case when status in ('Running', 'Queued') then 'running' when status = 'Done' then 'done'
                when status = 'Killed' or (status = 'Failed' and attempts >= max_attempts) then 'dead'
                when status = 'Failed' or attempts > 0 then 'retrying' else 'pending' end as state,
           attempts::bigint as attempts, max_attempts::bigint as max_attempts, run_at, last_result ->> 'Err' as last_error,
           job as payload
    from apalis.jobs where job_type like current_schema() || '.%'";
const SQLITE: &str = "
    select id, job_type as queue,
           case when status in ('Running', 'Queued') then 'running' when status = 'Done' then 'done'
                when status = 'Killed' or (status = 'Failed' and attempts >= max_attempts) then 'dead'
                when status = 'Failed' or attempts > 0 then 'retrying' else 'pending' end as state,
           attempts, max_attempts, strftime('%Y-%m-%dT%H:%M:%S+00:00', run_at, 'unixepoch') as run_at,
           case when json_valid(last_result) then last_result ->> 'Err' end as last_error, cast(job as blob) as payload
    from Jobs";

/// The newest jobs first.
pub async fn list_jobs(db: &Db, filter: &JobFilter) -> sqlx::Result<Vec<JobRow>> {
    let state = filter.state.map(JobState::as_str);
    let queue = filter.queue.map(Queue::as_str);
    let rest = "where ($1 is null or state = $1) and ($2 is null or queue = $2) order by run_at desc, id desc limit $3";
    let rows: Vec<Stored> = match db {
        Engine::Postgres(pool) => {
            let sql = sqlx::AssertSqlSafe(format!("select * from ({POSTGRES}) as jobs {rest}"));
            sqlx::query_as(sql).bind(state).bind(queue).bind(filter.limit).fetch_all(pool).await?
        }
        Engine::Sqlite(file) => {
            let sql = sqlx::AssertSqlSafe(format!("select * from ({SQLITE}) as jobs {rest}"));
            sqlx::query_as(sql).bind(state).bind(queue).bind(filter.limit).fetch_all(&file.reader).await?
        }
    };
    Ok(rows.into_iter().map(JobRow::from).collect())
}

/// Those of the jobs that will still run, or are running.
pub(crate) async fn live_jobs(db: &Db, job_ids: &[&str]) -> sqlx::Result<HashSet<String>> {
    let ids = serde_json::to_string(job_ids).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let live: Vec<(String,)> = match db {
        Engine::Postgres(pool) => {
            sqlx::query_as(
                "select id from apalis.jobs where id = any(array(select jsonb_array_elements_text($1::jsonb)))
                 and (status in ('Pending', 'Queued', 'Running') or (status = 'Failed' and attempts < max_attempts))",
            )
            .bind(ids)
            .fetch_all(pool)
            .await?
        }
        Engine::Sqlite(file) => {
            sqlx::query_as(
                "select id from Jobs where id in (select value from json_each($1))
                 and (status in ('Pending', 'Queued', 'Running') or (status = 'Failed' and attempts < max_attempts))",
            )
            .bind(ids)
            .fetch_all(&file.reader)
            .await?
        }
    };
    Ok(live.into_iter().map(|(id,)| id).collect())
}

/// How many jobs each queue has in each state.
pub async fn queue_depths(db: &Db) -> sqlx::Result<Vec<(String, String, i64)>> {
    match db {
        Engine::Postgres(pool) => {
            // Each part by an index that has only what is not done. Counted first and named afterwards: there may be many.
            let parts = [
                (
                    "case when status = 'Failed' or attempts > 0 then 'retrying' else 'pending' end",
                    "status = 'Pending' or status = 'Failed' and attempts < max_attempts",
                ),
                ("'running'", "status = 'Running' or status = 'Queued'"),
                ("'dead'", "status = 'Killed' or status = 'Failed' and attempts >= max_attempts"),
            ];
            let counted = parts.map(|(state, part)| {
                format!(
                    "select job_type, {state} as state, count(*) as count from apalis.jobs where {part} group by 1, 2"
                )
            });
            let counted = counted.join(" union all ");
            let sql = format!(
                "select split_part(job_type, '.', 2), state, count from ({counted}) as counted
                 where job_type like current_schema() || '.%'"
            );
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await
        }
        Engine::Sqlite(file) => {
            // It would rather go through all jobs in the order of the groups.
            let jobs = format!("{SQLITE} indexed by jobs_not_done where status <> 'Done'");
            let sql = format!("select queue, state, count(*) from ({jobs}) as jobs group by queue, state");
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&file.reader).await
        }
    }
}

/// The dead jobs among `ids`, or all of them.
async fn dead_jobs(db: &Db, ids: Option<&[String]>) -> sqlx::Result<Vec<JobRow>> {
    let filter = JobFilter { state: Some(JobState::Dead), queue: None, limit: i64::MAX };
    let mut dead = list_jobs(db, &filter).await?;
    if let Some(ids) = ids {
        dead.retain(|job| ids.contains(&job.id));
    }
    Ok(dead)
}

fn strings(job: &JobRow, field: &str) -> Vec<String> {
    let args: Value = job.args.as_deref().and_then(|args| serde_json::from_str(args).ok()).unwrap_or_default();
    match &args[field] {
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(ToOwned::to_owned)).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// Gives dead jobs all their attempts again, with what they carry; gives the ids of those that were dead. `None`: all. A
/// job whose id the queue cannot read gets one of ours, and that is given.
pub async fn retry_jobs(db: &Db, ids: Option<&[String]>) -> sqlx::Result<Vec<String>> {
    let mut retried = Vec::new();
    for job in dead_jobs(db, ids).await? {
        let id = if foreign::is_ours(&job.id) { job.id.clone() } else { billing::clock::new_id() };
        let mut tx = db.begin().await?;
        store::rearm_events(&mut tx, &strings(&job, "event_ids"), &id).await?;
        store::requeue_emails(&mut tx, &strings(&job, "email_id")).await?;
        match &mut tx {
            Tx::Postgres(tx) => {
                sqlx::query(
                    "update apalis.jobs set id = $2, status = 'Pending', attempts = 0, lock_by = null, lock_at = null, done_at = null, run_at = now()
                     where id = $1",
                )
                .bind(&job.id)
                .bind(&id)
                .execute(&mut **tx)
                .await?;
            }
            Tx::Sqlite(tx) => {
                sqlx::query(
                    "update Jobs set id = $2, status = 'Pending', attempts = 0, lock_by = null, lock_at = null, done_at = null,
                            run_at = cast(strftime('%s', 'now') as integer)
                     where id = $1",
                )
                .bind(&job.id)
                .bind(&id)
                .execute(&mut **tx)
                .await?;
            }
        }
        tx.commit().await?;
        retried.push(id);
    }
    Ok(retried)
}

/// Takes jobs that are not running out of the queue and marks what they carry as dead; gives the ids of those it took.
pub async fn discard_jobs(context: &Context, ids: &[String]) -> sqlx::Result<Vec<String>> {
    let mut taken = Vec::new();
    for id in ids {
        let payload: Option<(Vec<u8>,)> = match &context.db {
            Engine::Postgres(pool) => {
                sqlx::query_as(
                    "delete from apalis.jobs where id = $1 and status not in ('Running', 'Queued') returning job",
                )
                .bind(id)
                .fetch_optional(pool)
                .await?
            }
            Engine::Sqlite(file) => {
                sqlx::query_as("delete from Jobs where id = $1 and status not in ('Running', 'Queued') returning job")
                    .bind(id)
                    .fetch_optional(&file.writer)
                    .await?
            }
        };
        if let Some((payload,)) = payload {
            if let Ok(payload) = serde_json::from_slice::<Value>(&payload) {
                registry::bury(context, &payload, "the job was discarded by hand").await?;
            }
            taken.push(id.clone());
        }
    }
    Ok(taken)
}

/// Runs events again, whatever became of them; what they already did they do not do again. Gives how many there were.
pub async fn replay_events(db: &Db, filter: &Replay<'_>) -> sqlx::Result<usize> {
    let ids = match filter {
        Replay::Ids(ids) => ids.to_vec(),
        Replay::Matching(filter) => store::list_events(db, filter).await?.into_iter().map(|event| event.id).collect(),
    };
    let mut given = 0;
    for chunk in ids.chunks(process_events::EVENTS_PER_JOB) {
        let mut tx = db.begin().await?;
        given += process_events::give_job(&mut tx, chunk).await?;
        tx.commit().await?;
    }
    Ok(given)
}

/// Which events to replay.
#[derive(Clone, Debug)]
pub enum Replay<'a> {
    Ids(&'a [String]),
    Matching(EventFilter),
}
