//! What is in the database before anything is measured: the directory of workspaces, and events that were processed long
//! ago. Made by the database itself, a bounded number of rows at a time, so that millions take minutes.

use billing::rules::fact::stored;
use billing::store::Tx;
use billing::stripe::{Answers, read};
use billing::{Catalogue, Clock, Engine};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Executor as _};

use super::load::{MIX, maker};
use super::scratch::Scratch;
use crate::maker::{id_time, sample_of};
use crate::progress::Progress;

/// Rows of a transaction. Each statement writes its rows in the order of their keys, so that it goes through an index once.
const CHUNK: u64 = 50_000;
/// Of the stored events at least one of so many is stored once the indexes are there.
const AFTER_INDEXES: u64 = 10;
/// Stored events of a workspace.
const EVENTS_EACH: u64 = 50;
/// In the templates, for what differs from row to row.
const EVENT: &str = "evt_template";
/// The cache of SQLite while it is filled, in KiB, and then again as the program has it.
const SEEDING_CACHE: &str = "pragma cache_size = -262144";
const USUAL_CACHE: &str = "pragma cache_size = -2048";

/// Of every so many workspaces one has a trial that is due, where the directory is alive.
pub(super) const ONE_DUE_OF: u64 = 20;

/// What the workspaces are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// All free and without a trial: what they become, they become by events.
    Blank,
    /// One of 20 has a trial whose time is up; of the others a third each is subscribed, on trial, and done with its trial.
    Alive,
}

/// How many workspaces there have to be for `stored` events.
pub(super) fn workspaces_for(stored: u64) -> u64 {
    stored / EVENTS_EACH
}

/// Runs a statement over the numbers of a chunk, as the table `s (n)`.
macro_rules! over {
    ($tx:expr, $first:expr, $last:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx {
            Tx::Postgres(tx) => {
                const SQL: &str = concat!("with s as (select n from generate_series($1::bigint, $2::bigint) as n) ", $sql);
                sqlx::query(SQL).bind($first as i64).bind($last as i64)$(.bind($bind))*.execute(&mut **tx).await.map(drop)
            }
            Tx::Sqlite(tx) => {
                const SQL: &str = concat!("with recursive s (n) as (select $1 union all select n + 1 from s where n < $2) ", $sql);
                sqlx::query(SQL).bind($first as i64).bind($last as i64)$(.bind($bind))*.execute(&mut **tx).await.map(drop)
            }
        }
    };
}

/// The indexes that stand aside while the database is filled, as SQL that makes them.
pub(super) struct Aside(Vec<String>);

impl Aside {
    async fn put_back(&mut self, scratch: &Scratch) -> sqlx::Result<()> {
        if let Engine::Sqlite(file) = &scratch.db {
            for sql in self.0.drain(..) {
                file.writer.execute(AssertSqlSafe(sql)).await?;
            }
        }
        Ok(())
    }
}

/// Begins the filling. On SQLite the indexes stand aside for most of it: to write pages all over a file of many gigabytes
/// for every chunk takes longer than to sort each index once. The pages of one that was sorted are full to the last byte, though,
/// and each would be split by the first row that is put into it; so some of the rows come after that.
pub(super) async fn begin(scratch: &Scratch) -> anyhow::Result<Aside> {
    jobs::migrate(&scratch.db, &scratch.settings.database_schema).await?;
    let mut aside = Vec::new();
    if let Engine::Sqlite(file) = &scratch.db {
        file.writer.execute(SEEDING_CACHE).await?;
        let indexes: Vec<(String, String)> =
            sqlx::query_as("select name, sql from sqlite_master where type = 'index' and sql is not null")
                .fetch_all(&file.writer)
                .await?;
        for (name, sql) in indexes {
            file.writer.execute(AssertSqlSafe(format!("drop index {name}"))).await?;
            aside.push(sql);
        }
    }
    Ok(Aside(aside))
}

/// Makes `count` workspaces `bench-0` and on, each with an owner `bench-user-0` and on.
pub(super) async fn workspaces(scratch: &Scratch, count: u64, directory: Directory) -> anyhow::Result<()> {
    let progress = Progress::counting("making workspaces", count);
    let now = Clock::system().now();
    for (first, last) in chunks(count) {
        let mut tx = scratch.db.begin().await?;
        over!(
            &mut tx,
            first,
            last,
            "insert into users (id, email, created_at, updated_at)
             select 'bench-user-' || n, 'bench-' || n || '@example.com', $3, $3 from s",
            now
        )?;
        // Each chunk has instants of its own, for trials do not all end at once.
        let apart = TimeDelta::seconds(i64::try_from(first / CHUNK)? + 1);
        over!(
            &mut tx,
            first,
            last,
            "insert into workspaces (id, name, slug, owner_id, subscription_id, subscription_status, subscription_plan,
                                     current_period_end, trial_ends_at, trial_expired_at, created_at, updated_at)
             select 'bench-' || n, 'Bench ' || n, 'bench-' || n, 'bench-user-' || n,
                    case kind when 'subscribed' then 'sub_bench_' || n end,
                    case kind when 'due' then 'trialing' when 'subscribed' then 'active' when 'trying' then 'trialing' else 'free' end,
                    case kind when 'subscribed' then 'pro' end,
                    case kind when 'subscribed' then $6 end,
                    case kind when 'due' then $5 when 'trying' then $6 when 'done' then $5 end,
                    case kind when 'done' then $5 end,
                    $4, $4
             from (select n, case when not $3 then 'blank' when n % 20 = 0 then 'due' when n % 3 = 0 then 'subscribed'
                                  when n % 3 = 1 then 'trying' else 'done' end as kind from s) as w",
            directory == Directory::Alive,
            now,
            now - apart,
            now + TimeDelta::days(10) + apart
        )?;
        over!(
            &mut tx,
            first,
            last,
            "insert into workspace_members (workspace_id, user_id, role) select 'bench-' || n, 'bench-user-' || n, 'owner' from s"
        )?;
        tx.commit().await?;
        progress.set(last + 1);
    }
    Ok(())
}

/// One type of event, as it is stored.
struct Template {
    kind: &'static str,
    payload: String,
    /// The merged facts of the object that it is about.
    facts: Value,
    writes: String,
}

fn templates() -> anyhow::Result<Vec<Template>> {
    let mut maker = maker("bench-stored");
    let catalogue = Catalogue::standard(None, Some(maker.prices.pro.clone()), Some("price_credits_10".to_owned()));
    let mut templates = Vec::new();
    for kind in MIX {
        let Some(mut event) = sample_of(&mut maker, kind, Clock::system().now().timestamp()) else { continue };
        event["id"] = EVENT.into();
        let facts = match read(&event, &catalogue, &Answers::default())? {
            billing::rules::Reading::Facts { objects, .. } => objects.into_iter().next().map(|object| object.fields),
            _ => None,
        };
        let facts = facts.unwrap_or_default();
        let (values, writes) = (serde_json::to_value(stored::Values(&facts))?, stored::writes(&facts)?);
        templates.push(Template { kind, payload: event.to_string(), facts: values, writes });
    }
    Ok(templates)
}

/// Makes `count` events that were processed within the last weeks, with what they left: for every event an audit entry,
/// for every other one an object and a mail that was sent, and for every twentieth a job that is done.
///
/// Ids are such as Stripe's: they begin with their time and end at random.
pub(super) async fn events(scratch: &Scratch, count: u64, aside: &mut Aside) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let progress = Progress::counting("making stored events", count);
    let templates = templates()?;
    let workspaces = i64::try_from(workspaces_for(count).max(1))?;
    let begin = Clock::system().now() - TimeDelta::days(30);
    for (first, last) in chunks(count) {
        let at = begin + TimeDelta::milliseconds(i64::try_from(first)? * 10);
        if last >= count - count / AFTER_INDEXES {
            aside.put_back(scratch).await?;
        }
        let mut tx = scratch.db.begin().await?;
        chunk(&mut tx, first, last, &templates, workspaces, at).await?;
        tx.commit().await?;
        progress.set(last + 1);
    }
    Ok(())
}

async fn chunk(
    tx: &mut Tx,
    first: u64,
    last: u64,
    templates: &[Template],
    workspaces: i64,
    at: DateTime<Utc>,
) -> anyhow::Result<()> {
    let time = id_time(at.timestamp());
    for (place, template) in (0_i64..).zip(templates) {
        over!(
            tx,
            first,
            last,
            "insert into stripe_events (id, type, livemode, created, object_id, payload, received_at, status, attempts,
                                        processed_at, workspace_id, owner, job_id)
             select id, $3, false, $4, 'in_' || id, replace($5, 'evt_template', id), $4, 'processed', 1, $4,
                    'bench-' || (n % $6), 'cus_stored_' || (n % $6), 'stored_' || (n / 20)
             from (select n, 'evt_' || $8 || h || 'stored' || n as id
                   from (select n, (n * 2654435761) % 4294967296 as h from s) as spread
                   where n % 5 = $7 order by 2) as e",
            template.kind,
            at,
            &template.payload,
            workspaces,
            place,
            &time
        )?;
        over!(
            tx,
            first,
            last,
            "insert into stripe_objects (kind, id, livemode, owner, facts, updated_at, writes)
             select case when $3 like 'customer.subscription%' then 'subscription' else 'invoice' end,
                    'in_' || $8 || ((n * 2654435761) % 4294967296) || 'stored' || n, false, 'cus_stored_' || n, $4, $5, $7
             from s where n % 5 = $6 and n % 2 = 0 order by 2",
            template.kind,
            Json(&template.facts),
            at,
            place,
            &template.writes,
            &time
        )?;
    }
    let data = Json(json!({"amount": 1900, "currency": "usd", "attempt": 1}));
    over!(
        tx,
        first,
        last,
        "insert into audit_events (id, workspace_id, kind, cause, owner, stripe_event_id, occurred_at, data, created_at)
         select 'stored_' || ((n * 2654435761) % 4294967296) || '_' || n, 'bench-' || (n % $3), 'invoice_paid', 'in_stored_' || n,
                'cus_stored_' || (n % $3), 'evt_stored_' || n, $4, $5, $4 from s order by 1",
        workspaces,
        at,
        &data
    )?;
    over!(
        tx,
        first,
        last,
        "insert into emails (id, workspace_id, template, recipient, locale, dedupe_key, data, status, attempts, created_at, sent_at, job_id)
         select 'stored_' || ((n * 2654435761) % 4294967296) || '_' || n, 'bench-' || (n % $3), 'payment_succeeded',
                'bench-' || (n % $3) || '@example.com', 'en', 'payment_succeeded:in_stored_' || n, $4, 'sent', 1, $5, $5, 'stored_' || n
         from s where n % 2 = 0 order by 1",
        workspaces,
        &data,
        at
    )?;
    done_jobs(tx, first, last).await?;
    Ok(())
}

/// Done within the last day, or else they would be pruned as soon as a worker starts.
async fn done_jobs(tx: &mut Tx, first: u64, last: u64) -> sqlx::Result<()> {
    let job = r#"{"job":"process-events","args":{"event_ids":["evt_stored"]}}"#;
    match tx {
        Tx::Postgres(tx) => {
            sqlx::query(
                "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, done_at, priority, metadata)
                 select 'stored_' || n, current_schema() || '.events', convert_to($3, 'UTF8'), 'Done', 1, 12,
                        now() - interval '1 hour', now() - interval '1 hour', 0, ''::hstore
                 from generate_series($1::bigint, $2::bigint) as n where n % 20 = 0",
            )
            .bind(first as i64)
            .bind(last as i64)
            .bind(job)
            .execute(&mut **tx)
            .await?;
        }
        Tx::Sqlite(tx) => {
            sqlx::query(
                "with recursive s (n) as (select $1 union all select n + 1 from s where n < $2)
                 insert into Jobs (id, job_type, job, status, attempts, max_attempts, run_at, done_at, priority, metadata)
                 select 'stored_' || n, 'events', cast($3 as blob), 'Done', 1, 12, cast(strftime('%s', 'now') as integer) - 3600,
                        cast(strftime('%s', 'now') as integer) - 3600, 0, '{}'
                 from s where n % 20 = 0",
            )
            .bind(first as i64)
            .bind(last as i64)
            .bind(job)
            .execute(&mut **tx)
            .await?;
        }
    }
    Ok(())
}

/// Ends the filling: puts the indexes back and brings the database to rest, for what it would do about so many new rows in
/// the background would be measured otherwise.
pub(super) async fn settle(scratch: &Scratch, mut aside: Aside) -> anyhow::Result<()> {
    let progress = Progress::of("letting the database come to rest");
    aside.put_back(scratch).await?;
    match &scratch.db {
        Engine::Postgres(pool) => {
            for table in [
                "users",
                "workspaces",
                "workspace_members",
                "stripe_events",
                "stripe_objects",
                "audit_events",
                "emails",
            ] {
                let sql = format!("vacuum (analyze) {}.{table}", scratch.settings.database_schema);
                pool.execute(AssertSqlSafe(sql)).await?;
            }
            pool.execute("vacuum (analyze) apalis.jobs").await?;
        }
        Engine::Sqlite(file) => {
            file.writer.execute(USUAL_CACHE).await?;
        }
    }
    scratch.write_out().await?;
    drop(progress);
    Ok(())
}

/// First and last of each chunk of `0..count`.
fn chunks(count: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..count).step_by(CHUNK as usize).map(move |first| (first, (first + CHUNK).min(count) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_leave_nothing_out_and_nothing_twice() {
        assert_eq!(chunks(0).count(), 0);
        assert_eq!(chunks(1).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(chunks(CHUNK).collect::<Vec<_>>(), [(0, CHUNK - 1)]);
        assert_eq!(chunks(CHUNK + 2).collect::<Vec<_>>(), [(0, CHUNK - 1), (CHUNK, CHUNK + 1)]);
    }

    #[test]
    fn every_type_of_the_load_has_a_template_with_facts() {
        let templates = templates().unwrap();
        assert_eq!(templates.iter().map(|template| template.kind).collect::<Vec<_>>(), MIX);
        for template in templates {
            assert!(template.payload.contains(EVENT), "{}", template.kind);
            assert!(template.facts.as_object().is_some_and(|facts| !facts.is_empty()), "{}", template.kind);
        }
    }
}
