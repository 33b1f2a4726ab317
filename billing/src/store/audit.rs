//! What happened, once per cause; and what waits for its customer's link.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

use super::engine::{execute, fetch, rows};
use super::rows::{as_json, time};
use super::{Db, Tx};
use crate::rules::Note;

/// A note with where it came from and, once known, the workspace it is about.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    pub note: Note,
    pub workspace_id: Option<String>,
    pub stripe_event_id: Option<String>,
    pub occurred_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: String,
    workspace_id: Option<&'a str>,
    kind: &'a str,
    cause: &'a str,
    owner: Option<&'a str>,
    stripe_event_id: Option<&'a str>,
    #[serde(serialize_with = "time")]
    occurred_at: DateTime<Utc>,
    data: &'a Value,
    #[serde(serialize_with = "time")]
    created_at: DateTime<Utc>,
}

/// Records entries once per `(kind, cause)`. Where two events tell of one cause the earlier one is named, whichever
/// came first, so that the rows do not depend on the order of arrival. `entries` must not repeat a cause.
pub async fn record_audit(tx: &mut Tx, entries: &[AuditEntry], now: DateTime<Utc>) -> sqlx::Result<u64> {
    if entries.is_empty() {
        return Ok(0);
    }
    let entries: Vec<Row<'_>> = entries
        .iter()
        .map(|entry| Row {
            id: crate::clock::new_id(),
            workspace_id: entry.workspace_id.as_deref(),
            kind: &entry.note.kind,
            cause: &entry.note.cause,
            owner: entry.note.owner.as_deref(),
            stripe_event_id: entry.stripe_event_id.as_deref(),
            occurred_at: entry.occurred_at,
            data: &entry.note.data,
            created_at: now,
        })
        .collect();
    execute!(
        tx,
        rows rows!(
            "insert into audit_events (id, workspace_id, kind, cause, owner, stripe_event_id, occurred_at, data, created_at)
             select r.id, r.workspace_id, r.kind, r.cause, r.owner, r.stripe_event_id, r.occurred_at, r.data, r.created_at from ",
            [id text, workspace_id text, kind text, cause text, owner text, stripe_event_id text, occurred_at timestamptz,
             data jsonb, created_at timestamptz],
            " as r where true
             on conflict (kind, cause) do update set
                 workspace_id = coalesce(audit_events.workspace_id, excluded.workspace_id),
                 stripe_event_id = excluded.stripe_event_id, occurred_at = excluded.occurred_at, data = excluded.data
             where (excluded.occurred_at, excluded.stripe_event_id) < (audit_events.occurred_at, audit_events.stripe_event_id)
                or (audit_events.workspace_id is null and excluded.workspace_id is not null)"
        ),
        as_json(&entries)?
    )
}

#[derive(Serialize)]
struct Linked<'a> {
    owner: &'a str,
    workspace_id: &'a str,
}

/// Gives what waited for these owners to their workspaces, and gives it back so that its effects can be made.
pub async fn release_audit(tx: &mut Tx, links: &[(&str, &str)]) -> sqlx::Result<Vec<(String, Note)>> {
    #[derive(FromRow)]
    struct Released {
        workspace_id: String,
        kind: String,
        cause: String,
        owner: Option<String>,
        data: Json<Value>,
    }
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let links: Vec<Linked<'_>> = links.iter().map(|(owner, workspace_id)| Linked { owner, workspace_id }).collect();
    let released: Vec<Released> = fetch!(
        all,
        tx,
        rows rows!(
            "update audit_events set workspace_id = r.workspace_id from ",
            [owner text, workspace_id text],
            " as r where audit_events.owner = r.owner and audit_events.workspace_id is null
             returning audit_events.workspace_id, audit_events.kind, audit_events.cause, audit_events.owner, audit_events.data"
        ),
        as_json(&links)?
    )?;
    Ok(released
        .into_iter()
        .map(|row| (row.workspace_id, Note { kind: row.kind, cause: row.cause, owner: row.owner, data: row.data.0 }))
        .collect())
}

/// An entry as people read it.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct AuditRow {
    pub kind: String,
    pub cause: String,
    pub stripe_event_id: Option<String>,
    pub occurred_at: DateTime<Utc>,
    pub data: Json<Value>,
    pub created_at: DateTime<Utc>,
}

/// The newest entries of a workspace, in the order in which they happened.
pub async fn history(db: &Db, workspace_id: &str, limit: i64) -> sqlx::Result<Vec<AuditRow>> {
    let mut rows: Vec<AuditRow> = fetch!(
        all,
        db,
        "select kind, cause, stripe_event_id, occurred_at, data, created_at from audit_events
         where workspace_id = $1 order by created_at desc, id desc limit $2",
        workspace_id,
        limit
    )?;
    rows.sort_by(|a, b| (a.occurred_at, a.created_at).cmp(&(b.occurred_at, b.created_at)));
    Ok(rows)
}
