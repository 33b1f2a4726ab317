//! Credits: the ledger, once per `(reason, source)`, and never out of step with `workspaces.credits`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::engine::{execute, fetch, rows};
use super::rows::{as_json, time};
use super::{Db, Tx};
use crate::rules::settle::Entered;

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

/// A sale that granted credits, and what was taken and given back of them.
#[derive(Clone, Debug)]
pub struct SettledSale {
    pub workspace_id: String,
    pub credits: i64,
    pub entered: Vec<Entered>,
}

#[derive(FromRow)]
struct OfSale {
    id: String,
    workspace_id: String,
    delta: i64,
    reason: String,
    source_id: String,
    sale: Option<String>,
}

/// What the ledger has of sales, by the source of their grant; a sale that granted nothing is left out.
pub async fn sales_of(tx: &mut Tx, sales: &[&str]) -> sqlx::Result<BTreeMap<String, SettledSale>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "select id, workspace_id, delta, reason, source_id, sale from credit_ledger
             where reason in ('purchase', 'period') and source_id = any(array(select jsonb_array_elements_text($1::jsonb)))
             union all
             select id, workspace_id, delta, reason, source_id, sale from credit_ledger
             where sale is not null and sale = any(array(select jsonb_array_elements_text($1::jsonb)))"
        }
        Tx::Sqlite(_) => {
            "select id, workspace_id, delta, reason, source_id, sale from credit_ledger
             where reason in ('purchase', 'period') and source_id in (select value from json_each($1))
             union all
             select id, workspace_id, delta, reason, source_id, sale from credit_ledger
             where sale is not null and sale in (select value from json_each($1))"
        }
    };
    let rows: Vec<OfSale> = fetch!(all, tx, sql, as_json(sales)?)?;
    let mut sales: BTreeMap<String, SettledSale> = BTreeMap::new();
    let (grants, reversals): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.sale.is_none());
    for row in grants {
        let sale = SettledSale { workspace_id: row.workspace_id, credits: row.delta, entered: Vec::new() };
        sales.insert(row.source_id, sale);
    }
    for row in reversals {
        if let Some(sale) = row.sale.as_ref().and_then(|sale| sales.get_mut(sale)) {
            let entry = Entered { id: row.id, reason: row.reason, source_id: row.source_id, delta: row.delta };
            sale.entered.push(entry);
        }
    }
    Ok(sales)
}

/// One entry of what is taken or given back, as it has to stand.
#[derive(Clone, Debug, Serialize)]
pub struct Settlement {
    /// Of the entry that is corrected, or a new one.
    pub id: String,
    #[serde(skip)]
    pub is_new: bool,
    pub workspace_id: String,
    pub sale: String,
    pub delta: i64,
    pub balance_after: i64,
    pub reason: &'static str,
    pub source_id: String,
    #[serde(serialize_with = "time")]
    pub created_at: DateTime<Utc>,
}

/// Enters what is taken and given back; the workspaces are locked, and the caller writes their balances. Where an entry
/// is corrected, the balances after it are made to fit.
pub async fn settle(tx: &mut Tx, settlements: &[Settlement]) -> sqlx::Result<()> {
    let (new, corrected): (Vec<&Settlement>, Vec<&Settlement>) = settlements.iter().partition(|entry| entry.is_new);
    if !corrected.is_empty() {
        execute!(
            tx,
            rows rows!(
                "update credit_ledger set delta = r.delta, source_id = r.source_id from ",
                [id text, delta bigint, source_id text],
                " as r where credit_ledger.id = r.id"
            ),
            as_json(&corrected)?
        )?;
    }
    if !new.is_empty() {
        execute!(
            tx,
            rows rows!(
                "insert into credit_ledger (id, workspace_id, sale, delta, balance_after, reason, source_id, created_at)
                 select r.id, r.workspace_id, r.sale, r.delta, r.balance_after, r.reason, r.source_id, r.created_at from ",
                [id text, workspace_id text, sale text, delta bigint, balance_after bigint, reason text, source_id text,
                 created_at timestamptz],
                " as r"
            ),
            as_json(&new)?
        )?;
    }
    if !corrected.is_empty() {
        let workspaces: BTreeSet<&str> = corrected.iter().map(|entry| entry.workspace_id.as_str()).collect();
        let workspaces: Vec<&str> = workspaces.into_iter().collect();
        execute!(
            tx,
            rows rows!(
                "update credit_ledger set balance_after = chain.balance from
                     (select l.id, sum(l.delta) over (partition by l.workspace_id order by l.created_at, l.id) as balance
                      from credit_ledger l where l.workspace_id in (select r.id from ",
                [id text],
                " as r)) as chain where credit_ledger.id = chain.id and credit_ledger.balance_after <> chain.balance"
            ),
            super::rows::ids(&workspaces)?
        )?;
    }
    Ok(())
}

/// An entry as people read it.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct LedgerRow {
    pub delta: i64,
    pub balance_after: i64,
    pub reason: String,
    pub source_id: String,
    /// Of what is taken or given back: the source of the grant.
    pub sale: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The newest entries of a workspace, oldest first.
pub async fn ledger_of(db: &Db, workspace_id: &str, limit: i64) -> sqlx::Result<Vec<LedgerRow>> {
    let mut rows: Vec<LedgerRow> = fetch!(
        all,
        db,
        "select delta, balance_after, reason, source_id, sale, created_at from credit_ledger
         where workspace_id = $1 order by created_at desc, id desc limit $2",
        workspace_id,
        limit
    )?;
    rows.reverse();
    Ok(rows)
}
