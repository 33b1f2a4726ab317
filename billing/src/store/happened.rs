//! Whether a thing has happened, by its cause.

use chrono::{DateTime, Utc};

use super::Tx;
use super::engine::fetch;
use crate::rules::link::bare;

/// Whether an event has told of this, whoever it belongs to.
pub async fn has_happened(tx: &mut Tx, kind: &str, cause: &str) -> sqlx::Result<bool> {
    let found: Option<(i64,)> =
        fetch!(optional, tx, "select cast(1 as bigint) from audit_events where kind = $1 and cause = $2", kind, cause)?;
    Ok(found.is_some())
}

/// Whether the inbox holds an event of this type about this object that was received since `since` and is not processed.
pub async fn awaits_event(tx: &mut Tx, kind: &str, object_id: &str, since: DateTime<Utc>) -> sqlx::Result<bool> {
    let found: Option<(i64,)> = fetch!(
        optional,
        tx,
        "select cast(1 as bigint) from stripe_events
         where status = 'received' and received_at >= $3 and type = $1 and object_id = $2 limit 1",
        kind,
        bare(object_id),
        since
    )?;
    Ok(found.is_some())
}
