//! Credits: the ledger, once per `(reason, source)`, and never out of step with `workspaces.credits`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::rows::{as_json, ids, time};
use super::statement::{execute, fetch};
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
        of &sources,
        "select l.reason, l.source_id from ",
        [reason text, source_id text],
        " as r join credit_ledger l on l.reason = r.reason and l.source_id = r.source_id"
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
            of &entries,
            "insert into credit_ledger (id, workspace_id, delta, balance_after, reason, source_id, created_at)
             select r.id, r.workspace_id, r.delta, r.balance_after, r.reason, r.source_id, r.created_at from ",
            [id text, workspace_id text, delta bigint, balance_after bigint, reason text, source_id text,
             created_at timestamptz],
            " as r"
        )?;
    }
    Ok(entries.len())
}

/// A sale that granted credits, and what was taken and given back of them.
#[derive(Clone, Debug)]
pub struct SettledSale {
    pub workspace_id: String,
    pub credits: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
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
    at: DateTime<Utc>,
}

/// What the ledger has of sales, by the source of their grant; a sale that granted nothing is left out.
pub async fn sales_of(tx: &mut Tx, sales: &[&str]) -> sqlx::Result<BTreeMap<String, SettledSale>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "select l.id, l.workspace_id, l.delta, l.reason, l.source_id, l.sale, coalesce(a.occurred_at, l.created_at) as at
             from credit_ledger l left join audit_events a on a.kind = 'credits_granted' and a.cause = l.source_id
             where l.reason in ('purchase', 'period') and l.source_id = any(array(select jsonb_array_elements_text($1::jsonb)))
             union all
             select id, workspace_id, delta, reason, source_id, sale, created_at from credit_ledger
             where sale is not null and sale = any(array(select jsonb_array_elements_text($1::jsonb)))"
        }
        Tx::Sqlite(_) => {
            "select l.id, l.workspace_id, l.delta, l.reason, l.source_id, l.sale, coalesce(a.occurred_at, l.created_at) as at
             from credit_ledger l left join audit_events a on a.kind = 'credits_granted' and a.cause = l.source_id
             where l.reason in ('purchase', 'period') and l.source_id in (select value from json_each($1))
             union all
             select id, workspace_id, delta, reason, source_id, sale, created_at from credit_ledger
             where sale is not null and sale in (select value from json_each($1))"
        }
    };
    let rows: Vec<OfSale> = fetch!(all, tx, sql, as_json(sales)?)?;
    let mut sales: BTreeMap<String, SettledSale> = BTreeMap::new();
    let (grants, reversals): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.sale.is_none());
    for row in grants {
        let sale = SettledSale { workspace_id: row.workspace_id, credits: row.delta, at: row.at, entered: Vec::new() };
        sales.insert(row.source_id, sale);
    }
    for row in reversals {
        let Some(sale) = row.sale else { continue };
        if let Some(of) = sales.get_mut(&sale) {
            let (reason, source_id) = (row.reason, row.source_id);
            of.entered.push(Entered { id: row.id, sale, reason, source_id, delta: row.delta });
        }
    }
    Ok(sales)
}

/// The sales of workspaces of which something was taken back.
pub async fn reversed_sales(tx: &mut Tx, workspace_ids: &[&str]) -> sqlx::Result<Vec<String>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "select distinct sale from credit_ledger
             where sale is not null and workspace_id = any(array(select jsonb_array_elements_text($1::jsonb)))"
        }
        Tx::Sqlite(_) => {
            "select distinct sale from credit_ledger
             where sale is not null and workspace_id in (select value from json_each($1))"
        }
    };
    let found: Vec<(String,)> = fetch!(all, tx, sql, as_json(workspace_ids)?)?;
    Ok(found.into_iter().map(|(sale,)| sale).collect())
}

/// The least that a workspace had at any time from a moment on, not counting what was taken and given back; for each of
/// these workspaces and moments.
pub async fn least_since(
    tx: &mut Tx,
    moments: &BTreeSet<(&str, DateTime<Utc>)>,
) -> sqlx::Result<BTreeMap<(String, DateTime<Utc>), i64>> {
    #[derive(Serialize)]
    struct Moment<'a> {
        workspace_id: &'a str,
        #[serde(serialize_with = "time")]
        at: DateTime<Utc>,
    }
    let moments: Vec<Moment<'_>> = moments.iter().map(|(workspace_id, at)| Moment { workspace_id, at: *at }).collect();
    // A grant counts from when it happened, whenever it was told.
    let least: Vec<(String, DateTime<Utc>, i64)> = fetch!(
        all,
        tx,
        of &moments,
        "with r as (select * from ",
        [workspace_id text, at timestamptz],
        " as told), line as (
             select workspace_id, at,
                    cast(sum(sum(delta)) over (partition by workspace_id order by at) as bigint) as balance
             from (select l.workspace_id, coalesce(a.occurred_at, l.created_at) as at, l.delta
                   from credit_ledger l
                   left join audit_events a on a.kind = 'credits_granted' and a.cause = l.source_id
                                           and l.reason in ('purchase', 'period')
                   where l.workspace_id in (select workspace_id from r) and l.sale is null) as entries
             group by workspace_id, at
         )
         select r.workspace_id, r.at, (select min(balance) from (
             select balance from line where line.workspace_id = r.workspace_id and line.at > r.at
             union all
             select coalesce((select balance from line where line.workspace_id = r.workspace_id and line.at <= r.at
                              order by line.at desc limit 1), 0)
         ) as since) from r"
    )?;
    Ok(least.into_iter().map(|(workspace_id, at, least)| ((workspace_id, at), least)).collect())
}

/// One entry of what is taken or given back, as it has to stand.
#[derive(Clone, Debug, Serialize)]
pub struct Settlement {
    /// Of the entry that is corrected, or a new one.
    pub id: String,
    pub workspace_id: String,
    pub sale: String,
    pub delta: i64,
    pub balance_after: i64,
    pub reason: &'static str,
    pub source_id: String,
    #[serde(serialize_with = "time")]
    pub created_at: DateTime<Utc>,
}

/// What has to be done to the ledgers of locked workspaces.
#[derive(Debug, Default)]
pub struct Settlements {
    pub new: Vec<Settlement>,
    pub corrected: Vec<Settlement>,
    /// Ids of entries.
    pub gone: Vec<String>,
    /// The workspaces of what is corrected or gone, whose later balances do not fit any more.
    pub redone: BTreeSet<String>,
}

/// Enters what is taken and given back; the caller writes the workspaces' balances.
pub async fn settle(tx: &mut Tx, settlements: &Settlements) -> sqlx::Result<()> {
    let Settlements { new, corrected, gone, redone } = settlements;
    // First, for another entry may have the same cause.
    if !gone.is_empty() {
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        execute!(
            tx,
            of &ids(&gone),
            "delete from credit_ledger where id in (select r.id from ",
            [id text],
            " as r)"
        )?;
    }
    if !corrected.is_empty() {
        execute!(
            tx,
            of corrected,
            "update credit_ledger set delta = r.delta, sale = r.sale from ",
            [id text, delta bigint, sale text],
            " as r where credit_ledger.id = r.id"
        )?;
    }
    if !new.is_empty() {
        execute!(
            tx,
            of new,
            "insert into credit_ledger (id, workspace_id, sale, delta, balance_after, reason, source_id, created_at)
             select r.id, r.workspace_id, r.sale, r.delta, r.balance_after, r.reason, r.source_id, r.created_at from ",
            [id text, workspace_id text, sale text, delta bigint, balance_after bigint, reason text, source_id text,
             created_at timestamptz],
            " as r"
        )?;
    }
    if !redone.is_empty() {
        let workspaces: Vec<&str> = redone.iter().map(String::as_str).collect();
        execute!(
            tx,
            of &ids(&workspaces),
            "update credit_ledger set balance_after = chain.balance from
             (select l.id, sum(l.delta) over (partition by l.workspace_id order by l.created_at, l.id) as balance
              from credit_ledger l where l.workspace_id in (select r.id from ",
            [id text],
            " as r)) as chain where credit_ledger.id = chain.id and credit_ledger.balance_after <> chain.balance"
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
    /// The earliest event that tells of the cause.
    pub event_id: Option<String>,
}

/// The newest entries of a workspace, oldest first.
pub async fn ledger_of(db: &Db, workspace_id: &str, limit: i64) -> sqlx::Result<Vec<LedgerRow>> {
    let mut rows: Vec<LedgerRow> = fetch!(
        all,
        db,
        "select delta, balance_after, reason, source_id, sale, created_at, case
             when sale is null then
                 (select stripe_event_id from audit_events where kind = 'credits_granted' and cause = l.source_id)
             else
                 (select stripe_event_id from audit_events
                  where kind in ('credits_revoked', 'credits_restored') and cause = l.reason || ':' || l.source_id)
             end as event_id
         from credit_ledger l where workspace_id = $1 order by created_at desc, id desc limit $2",
        workspace_id,
        limit
    )?;
    rows.reverse();
    Ok(rows)
}
