//! Credits that refunds and disputes take back, in the transaction in which they, or the sale, become known.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::world::World;
use crate::rules::settle::{Changes, DISPUTE, REFUND, Reversal, Sale, changes, only_what_is_left, reversals};
use crate::rules::{Note, SpentRefund};
use crate::store::{self, AuditEntry, Entered, Grant, SettledSale, Settlement, Settlements, Tx};

/// Settles the sales of this batch: those whose payments were told of, and those that were `granted` their credits just
/// now, since the refund may have come first.
pub(super) async fn settle(
    tx: &mut Tx,
    world: &mut World,
    granted: &[Grant],
    balances: &mut BTreeMap<String, i64>,
    spent: SpentRefund,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut told: BTreeSet<String> = granted.iter().map(|grant| grant.source_id.clone()).collect();
    told.extend(world.sales_told());
    let mut sales = reversed(tx, world, told).await?;
    // Before anything else of these workspaces is read.
    world.lock_sellers(tx, &sales, balances).await?;
    if spent == SpentRefund::Floor {
        // What is left for one sale depends on what was taken for the others, and on what was granted.
        let mut workspaces: BTreeSet<&str> = sales.values().map(|sale| sale.workspace_id.as_str()).collect();
        workspaces.extend(granted.iter().map(|grant| grant.workspace_id.as_str()));
        if !workspaces.is_empty() {
            let workspaces: Vec<&str> = workspaces.into_iter().collect();
            let others = store::reversed_sales(tx, &workspaces).await?;
            sales.extend(reversed(tx, world, others.into_iter().collect()).await?);
        }
    }
    if sales.is_empty() {
        return Ok(());
    }

    let mut by_workspace: BTreeMap<&str, BTreeMap<&str, &SettledSale>> = BTreeMap::new();
    for (id, sale) in &sales {
        by_workspace.entry(&sale.workspace_id).or_default().insert(id, sale);
    }
    let mut wanted = BTreeMap::new();
    for (workspace_id, sales) in &by_workspace {
        let mut reversed: Vec<Reversal> = Vec::new();
        for (id, sale) in sales {
            let Some(total) = world.total_of(id) else {
                tracing::error!(sale = id, "a sale that granted credits is not known any more; nothing is taken back");
                continue;
            };
            let of_sale = Sale { id: (*id).to_owned(), credits: sale.credits, total, at: sale.at };
            reversed.extend(reversals(&of_sale, &world.reversed_payments(id)));
            if let Some(at) = world.heard_of(id) {
                world.hear(workspace_id, at);
            }
            world.settled(id, workspace_id);
        }
        // Two sales of one payment would be an error of Stripe's; one cause is one entry all the same.
        let mut seen = BTreeSet::new();
        reversed.retain(|reversal| seen.insert((reversal.reason, reversal.source_id.clone())));
        wanted.insert(*workspace_id, reversed);
    }
    if spent == SpentRefund::Floor {
        cut(tx, &mut wanted).await?;
    }

    let (mut settlements, mut audit) = (Settlements::default(), Audit::default());
    for (workspace_id, sales) in by_workspace {
        let wanted = wanted.remove(workspace_id).unwrap_or_default();
        let entered: Vec<Entered> = sales.values().flat_map(|sale| sale.entered.iter().cloned()).collect();
        let changes = changes(&wanted, &entered);
        audit.of(workspace_id, &wanted, &changes.gone);
        let balance = balances.entry(workspace_id.to_owned()).or_default();
        enter(&mut settlements, workspace_id, changes, balance, now);
    }
    store::settle(tx, &settlements).await?;
    store::settle_audit(tx, &audit.entries, &audit.gone, now).await
}

/// Those of the sales that granted credits and have something to settle.
async fn reversed(
    tx: &mut Tx,
    world: &mut World,
    mut sales: BTreeSet<String>,
) -> sqlx::Result<BTreeMap<String, SettledSale>> {
    world.load_sales(tx, &sales).await?;
    sales.retain(|sale| world.is_reversed(sale));
    if sales.is_empty() {
        return Ok(BTreeMap::new());
    }
    store::sales_of(tx, &sales.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Cuts the reversals of each workspace down to what it had.
async fn cut(tx: &mut Tx, wanted: &mut BTreeMap<&str, Vec<Reversal>>) -> sqlx::Result<()> {
    let moments: BTreeSet<(&str, DateTime<Utc>)> = wanted
        .iter()
        .flat_map(|(workspace_id, reversals)| reversals.iter().map(|reversal| (*workspace_id, reversal.counts_from)))
        .collect();
    if moments.is_empty() {
        return Ok(());
    }
    let least = store::least_since(tx, &moments).await?;
    for (workspace_id, reversals) in wanted {
        only_what_is_left(reversals, |at| least.get(&((*workspace_id).to_owned(), at)).copied().unwrap_or(0));
    }
    Ok(())
}

/// Notes what has to be done to the ledger of one workspace, and moves its balance along.
fn enter(
    settlements: &mut Settlements,
    workspace_id: &str,
    changes: Changes<'_>,
    balance: &mut i64,
    now: DateTime<Utc>,
) {
    let mut settle = |id: String, before: i64, reversal: &Reversal| {
        *balance = balance.saturating_add(reversal.delta.saturating_sub(before));
        Settlement {
            id,
            workspace_id: workspace_id.to_owned(),
            sale: reversal.sale.clone(),
            delta: reversal.delta,
            balance_after: *balance,
            reason: reversal.reason,
            source_id: reversal.source_id.clone(),
            created_at: now,
        }
    };
    if !changes.corrected.is_empty() || !changes.gone.is_empty() {
        settlements.redone.insert(workspace_id.to_owned());
    }
    for (entry, reversal) in changes.corrected {
        settlements.corrected.push(settle(entry.id.clone(), entry.delta, reversal));
    }
    for reversal in changes.new {
        settlements.new.push(settle(crate::clock::new_id(), 0, reversal));
    }
    for entry in changes.gone {
        settlements.gone.push(entry.id.clone());
        *balance = balance.saturating_sub(entry.delta);
    }
}

/// The audit log's side of the ledger.
#[derive(Default)]
struct Audit {
    entries: Vec<AuditEntry>,
    /// Kind and cause of entries that nothing calls for any more.
    gone: Vec<(&'static str, String)>,
}

impl Audit {
    fn of(&mut self, workspace_id: &str, wanted: &[Reversal], gone: &[&Entered]) {
        self.gone.extend(gone.iter().map(|entry| (kind(&entry.reason), cause(&entry.reason, &entry.source_id))));
        self.entries.extend(wanted.iter().map(|reversal| {
            let data = json!({
                "reason": reversal.reason, "source": reversal.source_id, "credits": reversal.delta.abs(),
                "amount": reversal.amount, "sale": reversal.sale,
            });
            AuditEntry {
                note: Note::new(kind(reversal.reason), cause(reversal.reason, &reversal.source_id), None, data),
                workspace_id: Some(workspace_id.to_owned()),
                stripe_event_id: Some(reversal.event_id.clone()),
                occurred_at: reversal.at,
            }
        }));
    }
}

fn kind(reason: &str) -> &'static str {
    if [REFUND, DISPUTE].contains(&reason) { "credits_revoked" } else { "credits_restored" }
}

fn cause(reason: &str, source_id: &str) -> String {
    format!("{reason}:{source_id}")
}
