//! When the inbox and the subscriptions were last compared with Stripe, and what was found.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

use super::Db;
use super::statement::{execute, fetch};

/// For how long they are kept.
const KEPT: TimeDelta = TimeDelta::days(90);

/// A comparison that has come to its end.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Reconciliation {
    pub id: String,
    /// It began where the one before it had ended, and left nothing out: the next begins where this one ended.
    pub complete: bool,
    /// Of the events: when those were made that were looked at.
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub events_listed: i64,
    pub events_missing: i64,
    pub subscriptions_listed: i64,
    pub subscriptions_differing: i64,
    /// The drift itself, the first hundred of each kind.
    pub found: Json<Value>,
}

/// Up to when everything was compared. What a clock that was ahead wrote down is no answer until `now` has come so far.
pub async fn reconciled_until(db: &Db, now: DateTime<Utc>) -> sqlx::Result<Option<DateTime<Utc>>> {
    let (until,): (Option<DateTime<Utc>>,) =
        fetch!(one, db, "select max(until) from reconciliations where complete and until <= $1", now)?;
    Ok(until)
}

/// Writes one down, and forgets those of long ago.
pub async fn record_reconciliation(db: &Db, done: &Reconciliation) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    execute!(
        tx,
        "insert into reconciliations (id, complete, since, until, started_at, finished_at, events_listed, events_missing,
                                      subscriptions_listed, subscriptions_differing, found)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &done.id,
        done.complete,
        done.since,
        done.until,
        done.started_at,
        done.finished_at,
        done.events_listed,
        done.events_missing,
        done.subscriptions_listed,
        done.subscriptions_differing,
        &done.found
    )?;
    execute!(tx, "delete from reconciliations where finished_at < $1", done.finished_at - KEPT)?;
    tx.commit().await
}

/// The newest first.
pub async fn list_reconciliations(db: &Db, limit: i64) -> sqlx::Result<Vec<Reconciliation>> {
    fetch!(
        all,
        db,
        "select id, complete, since, until, started_at, finished_at, events_listed, events_missing, subscriptions_listed,
                subscriptions_differing, found
         from reconciliations order by finished_at desc, id desc limit $1",
        limit
    )
}
