//! Credits that refunds and disputes take back, in the transaction in which they, or the sale, become known.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::world::World;
use crate::rules::SpentRefund;
use crate::rules::settle::{Change, DISPUTE, REFUND, Sale, changes, reversals};
use crate::store::{self, SettledEntry, Settlement, Tx};

/// Settles the sales of this batch: those whose payments were told of, and those that were `granted` their credits just
/// now, since the refund may have come first. Gives the workspaces that this counts for, with the time it was told.
pub(super) async fn settle(
    tx: &mut Tx,
    world: &mut World,
    granted: impl Iterator<Item = String>,
    balances: &mut BTreeMap<String, i64>,
    spent: SpentRefund,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(String, DateTime<Utc>)>> {
    let mut sales: BTreeSet<String> = granted.collect();
    sales.extend(world.sales_told());
    world.load_sales(tx, &sales).await?;
    sales.retain(|sale| !world.reversed_payments(sale).is_empty());
    if sales.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = sales.iter().map(String::as_str).collect();
    let settled = store::sales_of(tx, &ids).await?;
    world.lock_sellers(tx, &settled, balances).await?;

    let (mut entries, mut audit, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    for (sale_id, sale) in &settled {
        let Some(total) = world.total_of(sale_id) else {
            tracing::error!(sale = sale_id, "a sale that granted credits is not known any more; nothing is taken back");
            continue;
        };
        let of_sale = Sale { credits: sale.credits, total };
        let wanted = reversals(&of_sale, &world.reversed_payments(sale_id));
        let balance = balances.entry(sale.workspace_id.clone()).or_default();
        let changes = changes(&wanted, &sale.entered, *balance, spent);
        for change in &changes {
            let before = change.entered.map_or(0, |entered| entered.delta);
            *balance = balance.saturating_add(change.delta.saturating_sub(before));
            entries.push(Settlement {
                id: change.entered.map_or_else(crate::clock::new_id, |entered| entered.id.clone()),
                is_new: change.entered.is_none(),
                workspace_id: sale.workspace_id.clone(),
                sale: sale_id.clone(),
                delta: change.delta,
                balance_after: *balance,
                reason: change.reversal.reason,
                source_id: change.reversal.source_id.clone(),
                created_at: now,
            });
        }
        for reversal in &wanted {
            let change = changes.iter().find(|change| change.reversal == reversal);
            let known =
                |entry: &&store::Entered| entry.reason == reversal.reason && entry.source_id == reversal.source_id;
            let delta = match (change, sale.entered.iter().find(known)) {
                (Some(change), _) => change.delta,
                (None, Some(entry)) => entry.delta,
                (None, None) => reversal.delta,
            };
            let kind =
                if [REFUND, DISPUTE].contains(&reversal.reason) { "credits_revoked" } else { "credits_restored" };
            let cause = |source: &str| format!("{}:{source}", reversal.reason);
            let mut entry = SettledEntry::new(kind, cause(&reversal.source_id), &sale.workspace_id, now);
            entry.was = change.and_then(|change| renamed(change)).map(cause);
            entry.stripe_event_id.clone_from(&reversal.event_id);
            entry.occurred_at = reversal.at;
            entry.data = json!({
                "reason": reversal.reason, "source": reversal.source_id, "credits": delta.abs(),
                "amount": reversal.amount, "sale": sale_id,
            });
            audit.push(entry);
            counted.push((sale.workspace_id.clone(), reversal.told));
        }
        world.settled(sale_id, &sale.workspace_id);
    }
    store::settle(tx, &entries).await?;
    if !audit.is_empty() {
        store::settle_audit(tx, &audit).await?;
    }
    Ok(counted)
}

/// The name that the entry had before.
fn renamed<'a>(change: &Change<'a>) -> Option<&'a str> {
    change.entered.map(|entered| entered.source_id.as_str()).filter(|before| *before != change.reversal.source_id)
}
