//! Receiving: the events of one commit and the jobs that carry them, in one transaction, before anything is acknowledged.
//! One job per commit and lane, because under load the queue's cost per job is the dearest part. On PostgreSQL workers are told
//! of them a moment after it (`teller.rs`).

use std::collections::HashSet;
use std::time::Instant;

use billing::store::{self, Db, Tx};
use billing::stripe::Envelope;
use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Sqlite};

use crate::teller::Teller;
use crate::{Job, ProcessEvents, lanes};

/// A verified event on its way into the inbox.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub envelope: Envelope,
    /// As it was signed.
    pub body: String,
    /// Why it is stored without effect, such as the other mode; `None` to process it.
    pub ignored: Option<String>,
}

/// The reason for not acting on an event of the mode that is not taken; `None` where both are, or it is of the one that is.
pub fn other_mode(takes: Option<bool>, livemode: bool) -> Option<String> {
    let takes = takes.filter(|takes| *takes != livemode)?;
    Some(format!("livemode is {livemode}, this instance takes {takes}"))
}

/// Commits batches, one after the other.
#[derive(Debug)]
pub struct Inbox {
    db: Db,
    lanes: i16,
    /// Kept from one commit to the next: to give it back and take it again are round trips, too, one of a ping. Given up
    /// where a commit fails or is given up.
    connection: Option<(PoolConnection<Postgres>, Instant)>,
    teller: Option<Teller>,
}

impl Inbox {
    /// Of this database, on PostgreSQL spread over so many lanes. Made within a runtime.
    pub fn new(db: Db, lanes: i16) -> Self {
        let teller = match &db {
            Db::Postgres(pool) => Some(Teller::of(pool.clone())),
            Db::Sqlite(_) => None,
        };
        Self { db, lanes: lanes.max(1), connection: None, teller }
    }

    /// Commits a batch, and tells of each whether it was already there. A duplicate of an event that is dead or was ignored,
    /// or that no live job carries, gets a job again: who sends it again may have changed the settings that were to blame.
    /// A duplicate of anything else, or of the other mode, changes nothing.
    pub async fn commit(&mut self, batch: &[Incoming], now: DateTime<Utc>) -> sqlx::Result<Vec<bool>> {
        let mut sorted: Vec<&Incoming> = batch.iter().collect();
        // One order of locks for all committers.
        sorted.sort_by(|a, b| a.envelope.id.cmp(&b.envelope.id));
        let new = match &self.db {
            Db::Postgres(pool) => {
                let lanes: Vec<i16> = sorted.iter().map(|incoming| lanes::of(&incoming.envelope, self.lanes)).collect();
                let jobs = (0..self.lanes).map(|_| billing::clock::new_id()).collect();
                let mut connection = usable(self.connection.take(), pool).await?;
                let new = insert_postgres(&mut connection, &sorted, lanes, jobs, now).await?;
                self.connection = Some((connection, Instant::now()));
                if let Some(teller) = self.teller.as_ref().filter(|_| !new.is_empty()) {
                    teller.tell();
                }
                new
            }
            Db::Sqlite(file) => insert_sqlite(&file.writer, &sorted, now).await?,
        };
        let mut new: HashSet<String> = new.into_iter().map(|(id,)| id).collect();
        // The first of a batch is the new one, should the batch itself hold an event twice.
        let duplicate: Vec<bool> = batch.iter().map(|incoming| !new.remove(&incoming.envelope.id)).collect();
        let again: Vec<String> = batch
            .iter()
            .zip(&duplicate)
            .filter(|(incoming, duplicate)| **duplicate && incoming.ignored.is_none())
            .map(|(incoming, _)| incoming.envelope.id.clone())
            .collect();
        if !again.is_empty() {
            rearm(&self.db, &again).await?;
        }
        Ok(duplicate)
    }
}

/// The connection of the last commit, if it still is one, or another.
async fn usable(
    kept: Option<(PoolConnection<Postgres>, Instant)>,
    pool: &PgPool,
) -> sqlx::Result<PoolConnection<Postgres>> {
    if let Some((mut connection, used)) = kept
        && (used.elapsed() < store::A_MOMENT || store::answers(&mut connection).await.is_ok())
    {
        return Ok(connection);
    }
    let mut connection = pool.acquire().await?;
    // It is let go of where nobody has answered in time, and would keep its place until somebody does.
    connection.close_on_drop();
    store::in_no_transaction(&mut connection).await?;
    Ok(connection)
}

/// `jobs` are the ids of the lanes' jobs, in their order.
async fn insert_postgres(
    connection: &mut PgConnection,
    batch: &[&Incoming],
    lanes: Vec<i16>,
    jobs: Vec<String>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(String,)>> {
    let texts = |of: fn(&Incoming) -> Option<&str>| batch.iter().map(|incoming| of(incoming)).collect::<Vec<_>>();
    // One statement is one transaction and one round trip. The bodies go as arrays: JSON would have to be parsed.
    sqlx::query_as(
        "with incoming as (
             select * from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::timestamptz[], $7::text[], $8::text[], $9::text[],
                                  $15::smallint[])
                 as t (id, type, api_version, livemode, account, created, object_id, payload, ignored, lane)
         ), inserted as (
             insert into stripe_events (id, type, api_version, livemode, account, created, object_id, payload, received_at,
                                        status, processed_at, last_error, lane, job_id)
             select id, type, api_version, livemode, account, created, object_id, payload, $10,
                    case when ignored is null then 'received' else 'ignored' end,
                    case when ignored is null then null else $10 end, ignored, lane, ($11::text[])[lane + 1]
             from incoming
             on conflict (id) do nothing
             returning id, status, lane, job_id
         ), jobs as (
             insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)
             select job_id, current_schema() || '.' || $12,
                    convert_to(json_build_object('job', $13::text, 'args', json_build_object('event_ids', json_agg(id), 'lane', lane))::text, 'UTF8'),
                    'Pending', 0, $14::bigint, now(), 0, hstore('told', '1')
             from inserted where status = 'received' group by job_id, lane
         )
         select id from inserted",
    )
    .bind(texts(|incoming| Some(&incoming.envelope.id)))
    .bind(texts(|incoming| Some(&incoming.envelope.kind)))
    .bind(texts(|incoming| incoming.envelope.api_version.as_deref()))
    .bind(batch.iter().map(|incoming| incoming.envelope.livemode).collect::<Vec<_>>())
    .bind(texts(|incoming| incoming.envelope.account.as_deref()))
    .bind(batch.iter().map(|incoming| incoming.envelope.created.unwrap_or(now)).collect::<Vec<_>>())
    .bind(texts(|incoming| incoming.envelope.object_id.as_deref()))
    .bind(texts(|incoming| Some(&incoming.body)))
    .bind(texts(|incoming| incoming.ignored.as_deref()))
    .bind(now)
    .bind(jobs)
    .bind(ProcessEvents::QUEUE.as_str())
    .bind(ProcessEvents::NAME)
    .bind(i64::from(ProcessEvents::POLICY.max_attempts))
    .bind(lanes)
    .fetch_all(connection)
    .await
}

async fn insert_sqlite(
    pool: &sqlx::SqlitePool,
    batch: &[&Incoming],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(String,)>> {
    let job_id = billing::clock::new_id();
    // Before the transaction begins, for nobody else writes while it lasts. Value by value: JSON would be made of each body
    // and parsed again, and its row made into text for each column.
    let mut insert = QueryBuilder::<Sqlite>::new(
        "insert into stripe_events (id, type, api_version, livemode, account, created, object_id, payload, received_at,
                                    status, processed_at, last_error, job_id) ",
    );
    insert.push_values(batch, |mut row, Incoming { envelope, body, ignored }| {
        row.push_bind(&envelope.id)
            .push_bind(&envelope.kind)
            .push_bind(&envelope.api_version)
            .push_bind(envelope.livemode)
            .push_bind(&envelope.account)
            .push_bind(envelope.created.unwrap_or(now))
            .push_bind(&envelope.object_id)
            .push_bind(body)
            .push_bind(now)
            .push_bind(if ignored.is_none() { "received" } else { "ignored" })
            .push_bind(ignored.is_some().then_some(now))
            .push_bind(ignored)
            .push_bind(&job_id);
    });
    insert.push(" on conflict (id) do nothing returning id, status");
    let mut tx = Tx::Sqlite(pool.begin_with("begin immediate").await?);
    let Tx::Sqlite(sqlite) = &mut tx else { return Ok(Vec::new()) };
    // Kept for each number of rows they would take megabytes; to prepare one costs a tenth of what it does.
    let inserted: Vec<(String, String)> = insert.build_query_as().persistent(false).fetch_all(&mut **sqlite).await?;
    let event_ids: Vec<String> =
        inserted.iter().filter(|(_, status)| status == "received").map(|(id, _)| id.clone()).collect();
    if !event_ids.is_empty() {
        crate::queue::enqueue_all(&mut tx, &[(&job_id, &ProcessEvents { event_ids, lane: 0 })]).await?;
    }
    tx.commit().await?;
    Ok(inserted.into_iter().map(|(id, _)| (id,)).collect())
}

/// Gives a job to those of the events that are dead or were ignored, or unfinished without a live job.
async fn rearm(db: &Db, event_ids: &[String]) -> sqlx::Result<()> {
    let ids = serde_json::to_string(event_ids).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let found: Vec<(String, Option<String>, String)> = match db {
        Db::Postgres(pool) => {
            sqlx::query_as(
                "select id, job_id, status from stripe_events
                 where id = any(array(select jsonb_array_elements_text($1::jsonb))) and status in ('received', 'dead', 'ignored')",
            )
            .bind(ids)
            .fetch_all(pool)
            .await?
        }
        Db::Sqlite(file) => {
            sqlx::query_as(
                "select id, job_id, status from stripe_events
                 where id in (select value from json_each($1)) and status in ('received', 'dead', 'ignored')",
            )
            .bind(ids)
            .fetch_all(&file.reader)
            .await?
        }
    };
    if found.is_empty() {
        return Ok(());
    }
    let carriers: Vec<&str> = found.iter().filter_map(|(_, job_id, _)| job_id.as_deref()).collect();
    let live = crate::manage::live_jobs(db, &carriers).await?;
    let idle: Vec<String> = found
        .iter()
        .filter(|(_, job_id, status)| status != "received" || job_id.as_ref().is_none_or(|id| !live.contains(id)))
        .map(|(id, ..)| id.clone())
        .collect();
    if idle.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    crate::process_events::give_job(&mut tx, &idle).await?;
    tx.commit().await
}
