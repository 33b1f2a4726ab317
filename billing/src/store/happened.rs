//! Whether a thing has happened, by its cause.

use super::Tx;
use super::engine::fetch;

/// Whether an event has told of this, whoever it belongs to.
pub async fn has_happened(tx: &mut Tx, kind: &str, cause: &str) -> sqlx::Result<bool> {
    let found: Option<(i64,)> =
        fetch!(optional, tx, "select cast(1 as bigint) from audit_events where kind = $1 and cause = $2", kind, cause)?;
    Ok(found.is_some())
}
