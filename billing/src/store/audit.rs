//! What happened, once per cause; and what waits for its customer's link.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

use super::rows::time;
use super::statement::{execute, fetch, newest};
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
///
/// Gives those that are news to a workspace: told for the first time, or told anew by an earlier event.
pub async fn record_audit(tx: &mut Tx, entries: &[AuditEntry], now: DateTime<Utc>) -> sqlx::Result<Vec<News>> {
    // Bytes decide between two ids, as they do in Rust, whatever collation the database has.
    macro_rules! earlier {
        ($collate:literal) => {
            concat!(
                "(excluded.occurred_at, excluded.stripe_event_id ",
                $collate,
                ") < (audit_events.occurred_at, audit_events.stripe_event_id ",
                $collate,
                ")"
            )
        };
    }
    macro_rules! earliest {
        ($column:literal, $collate:literal) => {
            concat!(
                "case when ",
                earlier!($collate),
                " then excluded.",
                $column,
                " else audit_events.",
                $column,
                " end"
            )
        };
    }
    // As `Owner::rank`: a customer of Stripe's over a guest.
    macro_rules! better_owner {
        ($collate:literal) => {
            concat!(
                "(excluded.owner is not null and (audit_events.owner is null or
                  (excluded.owner not like '%workspace:%', excluded.owner ",
                $collate,
                ") > (audit_events.owner not like '%workspace:%', audit_events.owner ",
                $collate,
                ")))"
            )
        };
    }
    macro_rules! unless_known {
        ($collate:literal) => {
            concat!(
                " as r where true
                 on conflict (kind, cause) do update set
                     workspace_id = coalesce(audit_events.workspace_id, excluded.workspace_id),
                     owner = case when ",
                better_owner!($collate),
                " then excluded.owner else audit_events.owner end, stripe_event_id = ",
                earliest!("stripe_event_id", $collate),
                ",
                     occurred_at = ",
                earliest!("occurred_at", $collate),
                ", data = ",
                earliest!("data", $collate),
                "
                 where ",
                earlier!($collate),
                " or ",
                better_owner!($collate),
                " or (audit_events.workspace_id is null and excluded.workspace_id is not null)
                 returning workspace_id, kind, cause, owner, occurred_at, data"
            )
        };
    }
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let told: Vec<Told> = fetch!(
        all,
        tx,
        of &table(entries, now),
        "insert into audit_events (id, workspace_id, kind, cause, owner, stripe_event_id, occurred_at, data, created_at)
         select r.id, r.workspace_id, r.kind, r.cause, r.owner, r.stripe_event_id, r.occurred_at, r.data, r.created_at from ",
        [id text, workspace_id text, kind text, cause text, owner text, stripe_event_id text, occurred_at timestamptz,
         data jsonb, created_at timestamptz],
        { postgres: unless_known!("collate \"C\""), sqlite: unless_known!("collate binary") }
    )?;
    Ok(told.into_iter().filter_map(Told::read).collect())
}

fn table(entries: &[AuditEntry], now: DateTime<Utc>) -> Vec<Row<'_>> {
    entries
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
        .collect()
}

/// An entry of a workspace that is new to it, as it now stands. Its effects have to be made.
#[derive(Clone, Debug)]
pub struct News {
    pub workspace_id: String,
    pub note: Note,
    pub occurred_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Told {
    workspace_id: Option<String>,
    kind: String,
    cause: String,
    owner: Option<String>,
    occurred_at: DateTime<Utc>,
    data: Json<Value>,
}

impl Told {
    /// `None` while it waits for its workspace.
    fn read(self) -> Option<News> {
        let note = Note { kind: self.kind, cause: self.cause, owner: self.owner, data: self.data.0 };
        Some(News { workspace_id: self.workspace_id?, note, occurred_at: self.occurred_at })
    }
}

#[derive(Serialize)]
struct Linked<'a> {
    owner: &'a str,
    workspace_id: &'a str,
}

/// Gives what waited for these owners to their workspaces, and gives it back so that its effects can be made.
pub async fn release_audit(tx: &mut Tx, links: &[(&str, &str)]) -> sqlx::Result<Vec<News>> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let links: Vec<Linked<'_>> = links.iter().map(|(owner, workspace_id)| Linked { owner, workspace_id }).collect();
    let released: Vec<Told> = fetch!(
        all,
        tx,
        of &links,
        "update audit_events set workspace_id = r.workspace_id from ",
        [owner text, workspace_id text],
        " as r where audit_events.owner = r.owner and audit_events.workspace_id is null
         returning audit_events.workspace_id, audit_events.kind, audit_events.cause, audit_events.owner,
                   audit_events.occurred_at, audit_events.data"
    )?;
    Ok(released.into_iter().filter_map(Told::read).collect())
}

/// Enters what was taken and given back; an entry that is there already is made to fit, and those that are `gone`, by
/// kind and cause, are taken out.
pub async fn settle_audit(
    tx: &mut Tx,
    entries: &[AuditEntry],
    gone: &[(&'static str, String)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    #[derive(Serialize)]
    struct Gone<'a> {
        kind: &'a str,
        cause: &'a str,
    }
    if !gone.is_empty() {
        let gone: Vec<Gone<'_>> = gone.iter().map(|(kind, cause)| Gone { kind, cause }).collect();
        execute!(
            tx,
            of &gone,
            "delete from audit_events where (kind, cause) in (select r.kind, r.cause from ",
            [kind text, cause text],
            " as r)"
        )?;
    }
    if entries.is_empty() {
        return Ok(());
    }
    execute!(
        tx,
        of &table(entries, now),
        "insert into audit_events (id, workspace_id, kind, cause, stripe_event_id, occurred_at, data, created_at)
         select r.id, r.workspace_id, r.kind, r.cause, r.stripe_event_id, r.occurred_at, r.data, r.created_at from ",
        [id text, workspace_id text, kind text, cause text, stripe_event_id text, occurred_at timestamptz, data jsonb,
         created_at timestamptz],
        " as r where true
         on conflict (kind, cause) do update set workspace_id = excluded.workspace_id,
             stripe_event_id = excluded.stripe_event_id, occurred_at = excluded.occurred_at, data = excluded.data"
    )?;
    Ok(())
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
        newest!(
            db,
            "select kind, cause, stripe_event_id, occurred_at, data, created_at from audit_events where workspace_id = $1",
            "limit $2"
        ),
        workspace_id,
        limit
    )?;
    rows.sort_by_key(|row| (row.occurred_at, row.created_at));
    Ok(rows)
}
