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

/// Whether any of the events still waits. Asks nobody's turn.
pub async fn is_any_waiting(db: &Db, event_ids: &[String]) -> sqlx::Result<bool> {
    let sql = match db {
        Db::Postgres(_) => {
            "select exists (select 1 from stripe_events
                            where id = any(array(select jsonb_array_elements_text($1::jsonb))) and coalesce(status, '') = 'received')"
        }
        Db::Sqlite(_) => {
            "select exists (select 1 from stripe_events where id in (select value from json_each($1)) and status = 'received')"
        }
    };
    let (waiting,): (bool,) = fetch!(one, db, sql, as_json(event_ids)?)?;
    Ok(waiting)
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

/// Ends an event; `$also` is set with the rest. On SQLite that is its bucket, of 8,192 events that came one after the other, by which
/// it lies in the index of what belongs to a workspace.
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

/// Makes events ready to run (again) as part of the job `job_id`, and of no other: they count as tried, and so are not taken
/// along, whereupon the job would be thought to be over, for what a job has was received at one time. Gives the ids that were
/// found.
pub async fn rearm_events(tx: &mut Tx, event_ids: &[String], job_id: &str) -> sqlx::Result<Vec<String>> {
    let found: Vec<(String,)> = fetch!(
        all,
        tx,
        of &ids(event_ids),
        "update stripe_events set status = 'received', job_id = $2, attempts = case attempts when 0 then 1 else attempts end where id in (select r.id from ",
        [id text],
        " as r) returning id",
        job_id
    )?;
    Ok(found.into_iter().map(|(id,)| id).collect())
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
