//! The inbox: every event that was acknowledged, and what became of it. (Receiving is one statement with its job, and
//! so stands with the queue.)

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::rows::{as_json, ids};
use super::statement::{execute, fetch};
use super::{Db, Tx};

/// An event that is about to be processed.
#[derive(Clone, Debug, FromRow)]
pub struct InboxEvent {
    pub id: String,
    pub livemode: bool,
    pub account: Option<String>,
    /// How often it was finished or set aside before.
    pub attempts: i64,
    /// The job that carries it.
    pub job_id: Option<String>,
    pub payload: String,
    /// Whether the job that runs carries it; otherwise it is taken along.
    pub own: bool,
}

/// The lanes of those of the events that still wait.
pub async fn lanes_of<S: AsRef<str> + Serialize>(tx: &mut Tx, event_ids: &[S]) -> sqlx::Result<Vec<i16>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "select distinct lane from stripe_events
             where id = any(array(select jsonb_array_elements_text($1::jsonb))) and coalesce(status, '') = 'received' order by lane"
        }
        Tx::Sqlite(_) => {
            "select distinct lane from stripe_events where id in (select value from json_each($1)) and status = 'received'
             order by lane"
        }
    };
    let lanes: Vec<(i16,)> = fetch!(all, tx, sql, as_json(event_ids)?)?;
    Ok(lanes.into_iter().map(|(lane,)| lane).collect())
}

/// The lane of each of the events that there are.
pub async fn lane_of_each(tx: &mut Tx, event_ids: &[String]) -> sqlx::Result<Vec<(String, i16)>> {
    fetch!(
        all,
        tx,
        of &ids(event_ids),
        "select e.id, e.lane from stripe_events as e where e.id in (select r.id from ",
        [id text],
        " as r) order by e.id"
    )
}

/// Locks events of the lane that wait, and gives them, with whether each is one of `event_ids`.
///
/// Of those, all that still wait. What another worker has finished is left out: this is the fence against a worker that
/// only seemed dead. So is what another worker is at.
///
/// And up to `backlog` more, which nobody has tried yet, the oldest first, and unless one of `event_ids` has been tried before:
/// so a backlog of small jobs is worked off in large transactions, and what fails runs by itself. On PostgreSQL only such as
/// came with the oldest of `event_ids` or later: jobs run in the order in which they came, so there is hardly another, and
/// its index keeps all that is finished until the next vacuum, which each batch of a long backlog would go through from its
/// beginning. SQLite has no such index, and its jobs of one second run in any order.
pub async fn lock_events(tx: &mut Tx, event_ids: &[String], lane: i16, backlog: i64) -> sqlx::Result<Vec<InboxEvent>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            // The least of a column is taken from the beginning of an index where there is one, of all events then: therefore
            // `named` is apart.
            "with named as materialized (
                 select received_at from stripe_events where id = any(array(select jsonb_array_elements_text($1::jsonb)))
             ), own as materialized (
                 select id, livemode, account, attempts, job_id, payload from stripe_events
                 where id = any(array(select jsonb_array_elements_text($1::jsonb))) and coalesce(status, '') = 'received' and lane = $2
                 order by id for update skip locked
             ), along as materialized (
                 select id, livemode, account, attempts, job_id, payload from stripe_events
                 where status = 'received' and attempts = 0 and lane = $2 and id not in (select jsonb_array_elements_text($1::jsonb))
                   and not exists (select 1 from own where attempts > 0)
                   and received_at >= (select min(received_at) from named)
                 order by received_at, job_id limit $3 for update skip locked
             )
             select *, true as own from own union all select *, false from along"
        }
        Tx::Sqlite(_) => {
            "with own as materialized (
                 select id, livemode, account, attempts, job_id, payload from stripe_events
                 where id in (select value from json_each($1)) and status = 'received' and lane = $2
             )
             select *, true as own from own
             union all
             select * from (
                 select id, livemode, account, attempts, job_id, payload, false as own from stripe_events
                 where status = 'received' and attempts = 0 and lane = $2 and id not in (select value from json_each($1))
                   and not exists (select 1 from own where attempts > 0)
                 order by received_at, job_id limit $3)"
        }
    };
    fetch!(all, tx, sql, as_json(event_ids)?, lane, backlog)
}

/// Begins a transaction that processes events of a lane, and gives whether it has the lane to itself. On PostgreSQL it waits
/// until nobody else has, holding nothing: not for long, though, since the lane only keeps batches from waiting for each other
/// with events in their hands.
///
/// Who has not may take nothing along: the other has some of a job's events locked, and what looks like the whole job is the
/// rest of it.
///
/// The transaction commits without waiting for the disk: a crash of the machine that forgets it leaves the events `received` in
/// the durable inbox, and they are processed again. What is sent to the outside because of it, a mail, is claimed first in a
/// commit that does wait, and with it all that was committed before: both engines keep one log.
pub async fn begin_processing(db: &Db, lane: i16) -> sqlx::Result<(Tx, bool)> {
    let mut tx = db.begin_unsynced().await?;
    match prepare(&mut tx, Some(lane)).await {
        Err(error) if waited_too_long(&error) => {
            drop(tx);
            tracing::debug!(lane, "another transaction has the lane for long; this one goes beside it");
            tx = db.begin().await?;
            prepare(&mut tx, None).await?;
            Ok((tx, false))
        }
        prepared => prepared.map(|()| (tx, true)),
    }
}

/// Whether a statement of a processing transaction gave up waiting for a lock.
pub fn waited_too_long(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "55P03")
}

/// Sets a processing transaction up, on PostgreSQL.
///
/// Everything it reads, it reads by keys: with an index, whatever the planner thinks of the sizes of tables that have grown
/// since they were last looked at. Left alone it sorted the whole backlog for every batch, and compared every member there is
/// with every workspace of the batch. A plan that was made while the inbox was empty is kept, too: so who knows the ids of
/// events hides their status from the planner (`coalesce`), or it would look at all that wait for each of them, by the index
/// of those that do.
///
/// It waits half a second for a row or an owner, and then fails, as [`waited_too_long`] tells: it may wait for one
/// workspace with all others in its hands. A worker that has stopped in the middle, frozen or cut off, keeps its locks for
/// no more than a minute.
async fn prepare(tx: &mut Tx, lane: Option<i16>) -> sqlx::Result<()> {
    if let Tx::Postgres(_) = tx {
        execute!(
            tx,
            "select set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true),
                    set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
                    set_config('enable_mergejoin', 'off', true), set_config('lock_timeout', '2s', true),
                    set_config('idle_in_transaction_session_timeout', '60s', true),
                    case when $1::smallint is not null then
                        pg_advisory_xact_lock(hashtext('billingd ' || current_schema()), $1::int) end,
                    set_config('lock_timeout', '500ms', true)",
            lane
        )?;
    }
    Ok(())
}

/// Takes events out of the backlog: they run in the job `job_id`, or in that which they have, and nobody else takes them along.
pub async fn set_events_aside(tx: &mut Tx, event_ids: &[String], job_id: Option<&str>) -> sqlx::Result<u64> {
    execute!(
        tx,
        of &ids(event_ids),
        "update stripe_events set job_id = coalesce($2, job_id), attempts = attempts + 1
         where coalesce(status, '') = 'received' and id in (select r.id from ",
        [id text],
        " as r)",
        job_id
    )
}

/// What became of an event.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub id: String,
    /// `processed`, `ignored` or `dead`.
    pub status: &'static str,
    pub last_error: Option<String>,
    pub workspace_id: Option<String>,
    pub owner: Option<String>,
}

/// Ends an event; `$also` is set with the rest.
macro_rules! finish {
    ($also:literal) => {
        concat!(
            "update stripe_events set ",
            $also,
            "status = r.status, last_error = r.last_error, workspace_id = r.workspace_id,
             owner = r.owner, processed_at = $2, attempts = stripe_events.attempts + 1 from "
        )
    };
}

/// Ends events, whatever they came to.
pub async fn finish_events(tx: &mut Tx, outcomes: &[Outcome], now: DateTime<Utc>) -> sqlx::Result<u64> {
    execute!(
        tx,
        of outcomes,
        { postgres: finish!(""), sqlite: finish!("bucket = stripe_events.rowid / 8192, ") },
        [id text, status text, last_error text, workspace_id text, owner text],
        " as r where stripe_events.id = r.id and coalesce(stripe_events.status, '') = 'received'",
        now
    )
}

/// Makes events ready to run (again) as part of the job `job_id`. Gives the ids that were found.
pub async fn rearm_events(tx: &mut Tx, event_ids: &[String], job_id: &str) -> sqlx::Result<Vec<String>> {
    let found: Vec<(String,)> = fetch!(
        all,
        tx,
        of &ids(event_ids),
        "update stripe_events set status = 'received', job_id = $2 where id in (select r.id from ",
        [id text],
        " as r) returning id",
        job_id
    )?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// An event as the operator sees it.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct EventRow {
    pub id: String,
    #[sqlx(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    pub api_version: Option<String>,
    pub livemode: bool,
    pub account: Option<String>,
    pub created: DateTime<Utc>,
    pub object_id: Option<String>,
    pub received_at: DateTime<Utc>,
    pub status: String,
    pub attempts: i64,
    pub processed_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
    pub workspace_id: Option<String>,
    pub job_id: Option<String>,
    /// The body as it was signed; left out of listings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Which events to list; an absent condition is none.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub status: Option<String>,
    pub kind: Option<String>,
    pub workspace_id: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub limit: i64,
}

/// The newest events first.
pub async fn list_events(db: &Db, filter: &EventFilter) -> sqlx::Result<Vec<EventRow>> {
    fetch!(
        all,
        db,
        "select id, type, api_version, livemode, account, created, object_id, received_at, status, attempts, processed_at,
                last_error, workspace_id, job_id, cast(null as text) as payload
         from stripe_events
         where ($1 is null or status = $1) and ($2 is null or type = $2) and ($3 is null or workspace_id = $3)
           and received_at >= coalesce($4, received_at) and received_at < coalesce($5, '9999-12-31T00:00:00+00:00')
         order by received_at desc nulls last, id desc
         limit $6",
        filter.status.as_deref(),
        filter.kind.as_deref(),
        filter.workspace_id.as_deref(),
        filter.since,
        filter.until,
        filter.limit
    )
}

pub async fn find_event(db: &Db, id: &str) -> sqlx::Result<Option<EventRow>> {
    fetch!(
        optional,
        db,
        "select id, type, api_version, livemode, account, created, object_id, received_at, status, attempts, processed_at,
                last_error, workspace_id, job_id, payload
         from stripe_events where id = $1",
        id
    )
}

/// Those of the events that have come, whatever became of them.
pub async fn known_events(db: &Db, event_ids: &[&str]) -> sqlx::Result<HashSet<String>> {
    let found: Vec<(String,)> = fetch!(
        all,
        db,
        of &ids(event_ids),
        "select id from stripe_events where id in (select r.id from ",
        [id text],
        " as r)"
    )?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// An event with its body, to be read again.
#[derive(Clone, Debug, FromRow)]
pub struct HeardEvent {
    pub id: String,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub received_at: DateTime<Utc>,
    pub payload: String,
}

/// First only where they are, in each bucket: their bodies are read once it is known which are the newest.
const EVENTS_OF_SQLITE: &str = "with recursive buckets (bucket) as (
         select max(bucket) from stripe_events where workspace_id is not null
         union all
         select bucket - 1 from buckets where bucket > (select min(bucket) from stripe_events where workspace_id is not null)
     ), places (place) as (
         select e.rowid from buckets as b cross join stripe_events as e on e.bucket = b.bucket and e.workspace_id = $1
         union all
         select rowid from stripe_events where bucket is null and workspace_id = $1
         union all
         select rowid from stripe_events
         where workspace_id is null and owner is not null and owner in (select value from json_each($2))
     )
     select id, type, received_at, payload from stripe_events
     where rowid in (select place from places order by place desc limit $3) order by rowid desc";

/// The newest events that told of a workspace or of its customers, in the order in which they came.
pub async fn events_of(db: &Db, workspace_id: &str, owners: &[String], limit: i64) -> sqlx::Result<Vec<HeardEvent>> {
    let sql = match db {
        Db::Postgres(_) => {
            "select id, type, received_at, payload from
                 (select id, type, received_at, payload from stripe_events where workspace_id = $1
                  union all
                  select id, type, received_at, payload from stripe_events
                  where workspace_id is null and owner = any(array(select jsonb_array_elements_text($2::jsonb)))) as e
             order by received_at desc, id desc limit $3"
        }
        Db::Sqlite(_) => EVENTS_OF_SQLITE,
    };
    let mut events: Vec<HeardEvent> = fetch!(all, db, sql, workspace_id, as_json(owners)?, limit)?;
    events.reverse();
    Ok(events)
}

/// Events that wait since before `before`, the oldest first, with the job that should carry them.
pub async fn stranded_events(
    db: &Db,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(String, Option<String>)>> {
    fetch!(
        all,
        db,
        "select id, job_id from stripe_events where status = 'received' and received_at < $1 order by received_at limit $2",
        before,
        limit
    )
}

/// When the oldest event that is not finished came in, of those that came at `from` or later.
pub async fn oldest_unfinished(db: &Db, from: DateTime<Utc>) -> sqlx::Result<Option<DateTime<Utc>>> {
    let oldest: Option<(DateTime<Utc>,)> = fetch!(
        optional,
        db,
        "select received_at from stripe_events where status = 'received' and received_at >= $1 order by received_at limit 1",
        from
    )?;
    Ok(oldest.map(|(at,)| at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn of_a_long_history_only_the_newest_events_are_read() {
        testing::on_sqlite(|db: Db| async move {
            let Db::Sqlite(file) = &db else { unreachable!("it is a file") };
            let sql = sqlx::AssertSqlSafe(format!("explain query plan {EVENTS_OF_SQLITE}"));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql).fetch_all(&file.reader).await.unwrap();
            let lines: Vec<&str> =
                plan.iter().map(|line| line.3.as_str()).filter(|line| line.contains("events")).collect();
            let bodies = "SEARCH stripe_events USING INTEGER PRIMARY KEY (rowid=?)";
            let places = ["COVERING INDEX stripe_events_workspace", "INDEX stripe_events_unlinked (owner=?)"];
            let found = lines[1..].iter().all(|line| {
                line.starts_with("SEARCH") && places.iter().any(|index| line.contains(&format!("USING {index}")))
            });
            assert!(lines[0] == bodies && found, "{lines:?}");
        })
        .await;
    }
}
