//! Events as people look at them, and as `explain` hears them again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::Db;
use super::rows::as_json;
use super::statement::fetch;

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

/// The newest of the events that a condition is true of, `$also` among them.
macro_rules! list {
    ($with:expr, $also:literal) => {
        concat!(
            $with,
            "select id, type, api_version, livemode, account, created, object_id, received_at, status, attempts, processed_at,
                    last_error, workspace_id, job_id, cast(null as text) as payload
             from stripe_events
             where ($1 is null or status = $1) and ($2 is null or type = $2) and ($3 is null or workspace_id = $3)
               and received_at >= coalesce($4, received_at) and received_at < coalesce($5, '9999-12-31T00:00:00+00:00')",
            $also,
            " order by received_at desc nulls last, id desc limit $6"
        )
    };
}

/// On SQLite, the rowids of a workspace's events, as the table `places (place)`: it looks into each bucket there is.
macro_rules! places {
    ($workspace_id:literal) => {
        concat!(
            "with recursive buckets (bucket) as (
                 select max(bucket) from stripe_events where workspace_id is not null
                 union all
                 select bucket - 1 from buckets
                 where bucket > (select min(bucket) from stripe_events where workspace_id is not null)
             ), places (place) as (
                 select e.rowid from buckets as b cross join stripe_events as e
                 on e.bucket = b.bucket and e.workspace_id = ",
            $workspace_id,
            "    union all
                 select rowid from stripe_events where bucket is null and workspace_id = ",
            $workspace_id,
            ") "
        )
    };
}

/// Those of a workspace alone are looked up, and not all there are gone through for them.
const LIST_OF_SQLITE: &str = list!(places!("$3"), " and rowid in (select place from places)");

/// The newest events first.
pub async fn list_events(db: &Db, filter: &EventFilter) -> sqlx::Result<Vec<EventRow>> {
    let sql = match db {
        Db::Sqlite(_) if filter.workspace_id.is_some() => LIST_OF_SQLITE,
        Db::Postgres(_) | Db::Sqlite(_) => list!("", ""),
    };
    fetch!(
        all,
        db,
        sql,
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

/// An event with its body, to be read again.
#[derive(Clone, Debug, FromRow)]
pub struct HeardEvent {
    pub id: String,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub received_at: DateTime<Utc>,
    pub payload: String,
}

/// First only where they are: their bodies are read once it is known which are the newest.
const EVENTS_OF_SQLITE: &str = concat!(
    places!("$1"),
    "select id, type, received_at, payload from stripe_events
     where rowid in (
         select place from (
             select place from places
             union all
             select rowid from stripe_events
             where workspace_id is null and owner is not null and owner in (select value from json_each($2))
         ) order by place desc limit $3
     ) order by rowid desc"
);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn of_all_events_only_those_of_the_workspace_are_read() {
        testing::on_sqlite(|db: Db| async move {
            let Db::Sqlite(file) = &db else { unreachable!("it is a file") };
            for sql in [EVENTS_OF_SQLITE, LIST_OF_SQLITE] {
                let sql = sqlx::AssertSqlSafe(format!("explain query plan {sql}"));
                let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql).fetch_all(&file.reader).await.unwrap();
                let lines: Vec<&str> =
                    plan.iter().map(|line| line.3.as_str()).filter(|line| line.contains("events")).collect();
                let bodies = "SEARCH stripe_events USING INTEGER PRIMARY KEY (rowid=?)";
                let places = ["COVERING INDEX stripe_events_workspace", "INDEX stripe_events_unlinked (owner=?)"];
                let found = lines[1..].iter().all(|line| {
                    line.starts_with("SEARCH") && places.iter().any(|index| line.contains(&format!("USING {index}")))
                });
                assert!(lines[0] == bodies && found, "{lines:?}");
            }
        })
        .await;
    }
}
