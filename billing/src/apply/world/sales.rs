//! The sales of a batch: what was granted, paid, refunded and disputed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::World;
use crate::rules::link::sale_owner;
use crate::rules::settle::is_reversed;
use crate::rules::{Kind, Note, Object, Owner};
use crate::store::{self, SettledSale, Tx};

/// The sale that a grant of credits is for.
pub(super) fn sale_of_grant(note: &Note) -> Option<String> {
    (note.kind == "credits_granted").then(|| sale_owner(&note.cause))
}

/// The sale that a payment's owner names.
pub(super) fn sale_id(owner: &str) -> Option<&str> {
    match Owner::parse(owner) {
        Owner::Sale(id) => Some(id),
        Owner::Customer(_) => None,
    }
}

/// The session or invoice that a payment's owner names. Only the id finds the row.
pub(super) fn sale_named(owner: &str) -> Option<(Kind, &str)> {
    sale_id(owner).map(|id| (Kind::CheckoutSession, id))
}

impl World {
    /// Loads sales that were not foreseen when the locks were taken, with their payments: those released just now, and
    /// those that another transaction told the payment of while this one waited for it. Locked late and out of order;
    /// should two transactions ever wait for each other in a circle, the database ends one, and its events run again.
    pub(in crate::apply) async fn load_sales(&mut self, tx: &mut Tx, sales: &BTreeSet<String>) -> sqlx::Result<()> {
        let owners: Vec<String> =
            sales.iter().map(|sale| sale_owner(sale)).filter(|owner| !self.owners.contains(owner)).collect();
        if owners.is_empty() {
            return Ok(());
        }
        let owner_ids: Vec<&str> = owners.iter().map(String::as_str).collect();
        store::lock_owners(tx, &owner_ids).await?;
        let named: Vec<(Kind, &str)> = owners.iter().filter_map(|owner| sale_named(owner)).collect();
        for row in store::objects_of(tx, &named, &owner_ids).await? {
            self.objects.entry((row.object.kind, row.object.id.clone())).or_insert(row);
        }
        self.owners.extend(owners);
        Ok(())
    }

    fn payments(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.of_kind(Kind::Payment).filter_map(|row| Some((sale_id(row.object.owner.as_deref()?)?, &row.object)))
    }

    /// The sales whose payments this batch has said something new of, and those that it took a payment from.
    pub(in crate::apply) fn sales_told(&self) -> BTreeSet<String> {
        self.payments()
            .filter(|(_, payment)| self.dirty.contains(&(Kind::Payment, payment.id.clone())))
            .map(|(sale, _)| sale.to_owned())
            .chain(self.left.iter().cloned())
            .collect()
    }

    /// Whether the ledger may have to be changed for a sale.
    pub(in crate::apply) fn is_reversed(&self, sale: &str) -> bool {
        self.left.contains(sale) || !self.reversed_payments(sale).is_empty()
    }

    /// The payments of a sale of which something was refunded or disputed.
    pub(in crate::apply) fn reversed_payments(&self, sale: &str) -> Vec<&Object> {
        self.payments()
            .filter(|(of, payment)| *of == sale && is_reversed(payment))
            .map(|(_, payment)| payment)
            .collect()
    }

    /// When a sale's payments were last heard of.
    pub(in crate::apply) fn heard_of(&self, sale: &str) -> Option<DateTime<Utc>> {
        self.payments().filter(|(of, _)| *of == sale).filter_map(|(_, payment)| payment.time("seen")).max()
    }

    /// Payments of this batch that were refunded or disputed, and that nobody has said yet what they were for.
    pub(in crate::apply) fn payments_for_nothing(&self) -> impl Iterator<Item = &Object> {
        self.dirty
            .iter()
            .filter(|(kind, _)| *kind == Kind::Payment)
            .filter_map(|key| self.objects.get(key))
            .map(|row| &row.object)
            .filter(|payment| payment.owner.is_none() && is_reversed(payment))
    }

    /// What was paid for a sale; `None` while the sale is not known.
    pub(in crate::apply) fn total_of(&self, sale: &str) -> Option<i64> {
        let object = |kind| self.objects.get(&(kind, sale.to_owned())).map(|row| &row.object);
        let told = if let Some(session) = object(Kind::CheckoutSession) {
            session.int("amount_total")
        } else {
            let invoice = object(Kind::Invoice)?;
            invoice.int("amount_paid").filter(|paid| *paid > 0).or_else(|| invoice.int("total"))
        };
        let charged = || self.payments().filter(|(of, _)| *of == sale).filter_map(|(_, payment)| payment.int("amount"));
        Some(told.unwrap_or_else(|| charged().fold(0, i64::saturating_add)))
    }

    /// Locks the workspaces of the sales that are not locked yet.
    pub(in crate::apply) async fn lock_sellers(
        &mut self,
        tx: &mut Tx,
        sales: &BTreeMap<String, SettledSale>,
        balances: &mut BTreeMap<String, i64>,
    ) -> sqlx::Result<()> {
        let missing: BTreeSet<&str> = sales
            .values()
            .map(|sale| sale.workspace_id.as_str())
            .filter(|id| !self.workspaces.contains_key(*id))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<&str> = missing.into_iter().collect();
        for row in store::lock_workspaces(tx, &missing).await? {
            balances.insert(row.id.clone(), row.credits);
            self.workspaces.insert(row.id.clone(), row);
        }
        self.load_siblings(tx, &missing).await
    }

    pub(in crate::apply) fn settled(&mut self, sale: &str, workspace_id: &str) {
        self.sales.insert(sale.to_owned(), workspace_id.to_owned());
    }
}
