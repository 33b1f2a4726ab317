//! Whether a thing has happened, by its cause.

use chrono::{DateTime, Utc};

use super::Tx;
use super::statement::fetch;
use crate::rules::link::bare;

/// Whether an event has told of this, whoever it belongs to.
pub async fn has_happened(tx: &mut Tx, kind: &str, cause: &str) -> sqlx::Result<bool> {
    let found: Option<(i64,)> =
        fetch!(optional, tx, "select cast(1 as bigint) from audit_events where kind = $1 and cause = $2", kind, cause)?;
    Ok(found.is_some())
}

/// Whether the inbox holds an `invoice.payment_action_required` of this invoice that was received since `since` and is not
/// processed. The type stands in the statement, so that its own small index serves it however long the backlog is.
pub async fn awaits_action(tx: &mut Tx, invoice: &str, since: DateTime<Utc>) -> sqlx::Result<bool> {
    let found: Option<(i64,)> = fetch!(
        optional,
        tx,
        "select cast(1 as bigint) from stripe_events
         where status = 'received' and type = 'invoice.payment_action_required' and object_id = $1 and received_at >= $2 limit 1",
        bare(invoice),
        since
    )?;
    Ok(found.is_some())
}
