//! Credits: the ledger, once per `(reason, source)`, and never out of step with `workspaces.credits`.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::engine::{execute, fetch, rows};
use super::rows::{as_json, time};
use super::{Db, Tx};

/// Credits to be entered, once per `(reason, source_id)`; negative takes away.
#[derive(Clone, Debug)]
pub struct Grant {
    pub workspace_id: String,
    pub delta: i64,
    pub reason: &'static str,
    pub source_id: String,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: String,
    workspace_id: &'a str,
    delta: i64,
    balance_after: i64,
    reason: &'a str,
    source_id: &'a str,
    #[serde(serialize_with = "time")]
    created_at: DateTime<Utc>,
}

/// Enters the grants that are new into the ledgers of locked workspaces and moves `balances` along; the caller writes
/// them to `workspaces.credits` in the same transaction. Gives how many were new.
///
/// # Errors
/// Beside the database's: two transactions entered one source for different workspaces at once; running again is right.
pub async fn record_grants(
    tx: &mut Tx,
    grants: &[Grant],
    balances: &mut BTreeMap<String, i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<usize> {
    #[derive(Serialize)]
    struct Source<'a> {
        reason: &'a str,
        source_id: &'a str,
    }
    if grants.is_empty() {
        return Ok(0);
    }
    let sources: Vec<Source<'_>> =
        grants.iter().map(|grant| Source { reason: grant.reason, source_id: &grant.source_id }).collect();
    let known: Vec<(String, String)> = fetch!(
        all,
        tx,
        rows rows!(
            "select l.reason, l.source_id from ",
            [reason text, source_id text],
            " as r join credit_ledger l on l.reason = r.reason and l.source_id = r.source_id"
        ),
        as_json(&sources)?
    )?;
    let mut known: HashSet<(&str, &str)> =
        known.iter().map(|(reason, source)| (reason.as_str(), source.as_str())).collect();
    let mut entries = Vec::new();
    for grant in grants {
        if !known.insert((grant.reason, &grant.source_id)) {
            continue;
        }
        let balance = balances.entry(grant.workspace_id.clone()).or_default();
        *balance = balance.saturating_add(grant.delta);
        entries.push(Entry {
            id: crate::clock::new_id(),
            workspace_id: &grant.workspace_id,
            delta: grant.delta,
            balance_after: *balance,
            reason: grant.reason,
            source_id: &grant.source_id,
            created_at: now,
        });
    }
    if !entries.is_empty() {
        // No `on conflict`: a conflict here means that the balances above are wrong, so the transaction must not pass.
        execute!(
            tx,
            rows rows!(
                "insert into credit_ledger (id, workspace_id, delta, balance_after, reason, source_id, created_at)
                 select r.id, r.workspace_id, r.delta, r.balance_after, r.reason, r.source_id, r.created_at from ",
                [id text, workspace_id text, delta bigint, balance_after bigint, reason text, source_id text, created_at timestamptz],
                " as r"
            ),
            as_json(&entries)?
        )?;
    }
    Ok(entries.len())
}

/// An entry as people read it.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct LedgerRow {
    pub delta: i64,
    pub balance_after: i64,
    pub reason: String,
    pub source_id: String,
    pub created_at: DateTime<Utc>,
}

/// The newest entries of a workspace, oldest first.
pub async fn ledger_of(db: &Db, workspace_id: &str, limit: i64) -> sqlx::Result<Vec<LedgerRow>> {
    let mut rows: Vec<LedgerRow> = fetch!(
        all,
        db,
        "select delta, balance_after, reason, source_id, created_at from credit_ledger
         where workspace_id = $1 order by created_at desc, id desc limit $2",
        workspace_id,
        limit
    )?;
    rows.reverse();
    Ok(rows)
}
