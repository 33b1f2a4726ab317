//! The part of the world that a batch touches: its objects, its customers with their subscriptions, its workspaces.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::Told;
use crate::rules::link::claims;
use crate::rules::{Kind, Object, Owner, Register, WorkspaceState, project};
use crate::store::{self, ObjectRow, Tx, WorkspaceRow};
use hearing::Hearing;
use sales::{sale_id, sale_named, sale_of_grant};

mod hearing;
mod sales;

type Key = (Kind, String);

pub(super) struct World {
    objects: BTreeMap<Key, ObjectRow>,
    /// Objects that have to be written back.
    dirty: BTreeSet<Key>,
    /// Locked; those of the batch that exist.
    workspaces: BTreeMap<String, WorkspaceRow>,
    owners: BTreeSet<String>,
    /// Customers that got their link just now.
    linked: BTreeSet<String>,
    /// Objects of which only Stripe knows what came last.
    tied: BTreeSet<Key>,
    /// Sales that were settled, with the workspace they gave credits to.
    sales: BTreeMap<String, String>,
    /// Sales that a payment counted for, until one was named that it is better counted for.
    left: BTreeSet<String>,
    heard: Hearing,
}

impl World {
    /// Locks the owners of the batch and loads what is known of them.
    pub(super) async fn load(tx: &mut Tx, told: &[Told], also: &[String]) -> sqlx::Result<Self> {
        let objects = told.iter().flat_map(|told| &told.objects);
        let notes = told.iter().flat_map(|told| &told.notes);
        let owners: BTreeSet<String> = objects
            .clone()
            .filter_map(|object| object.owner.clone())
            .chain(notes.filter_map(|note| note.owner.clone()))
            .chain(also.iter().cloned())
            .collect();
        let mut owners = owners;
        owners.extend(told.iter().flat_map(|told| &told.notes).filter_map(sale_of_grant));
        // An object without an owner is its own; a payment is told of by those who know its sale and those who do not.
        let alone = objects.clone().filter(|object| object.owner.is_none() || object.kind == Kind::Payment);
        let mut locks: BTreeSet<String> = owners.iter().cloned().chain(alone.map(|object| object.id.clone())).collect();
        let told: BTreeSet<(Kind, String)> = objects.map(|object| (object.kind, object.id.clone())).collect();
        loop {
            store::lock_owners(tx, &locks.iter().map(String::as_str).collect::<Vec<_>>()).await?;
            let sales = owners.iter().filter_map(|owner| sale_named(owner));
            let named: BTreeSet<(Kind, &str)> =
                told.iter().map(|(kind, id)| (*kind, id.as_str())).chain(sales).collect();
            let named: Vec<(Kind, &str)> = named.into_iter().collect();
            let owner_ids: Vec<&str> = owners.iter().map(String::as_str).collect();
            let known = store::objects_of(tx, &named, &owner_ids).await?;
            // What is known of an object may name another owner than what is told of it, or any at all: then that one's
            // lock is needed, too, and what was read before it was taken may be old.
            locks = known
                .iter()
                .filter(|row| row.object.kind != Kind::Customer)
                .filter_map(|row| row.object.owner.as_ref())
                .filter(|owner| !owners.contains(*owner))
                .cloned()
                .collect();
            if locks.is_empty() {
                return Ok(Self {
                    objects: known.into_iter().map(|row| ((row.object.kind, row.object.id.clone()), row)).collect(),
                    dirty: BTreeSet::new(),
                    workspaces: BTreeMap::new(),
                    owners,
                    linked: BTreeSet::new(),
                    tied: BTreeSet::new(),
                    sales: BTreeMap::new(),
                    left: BTreeSet::new(),
                    heard: Hearing::default(),
                });
            }
            owners.extend(locks.iter().cloned());
        }
    }

    /// Merges what is told into what is known: the objects that were told of are left without their fields.
    pub(super) fn merge(&mut self, told: &mut [Told]) {
        for event in told {
            for object in &mut event.objects {
                let key = (object.kind, object.id.clone());
                let new = || ObjectRow::new(Object::new(object.kind, object.id.clone()));
                let row = self.objects.entry(key.clone()).or_insert_with(new);
                row.livemode = Some(event.livemode);
                let fields = std::mem::take(&mut object.fields);
                let mut object = Object { fields, ..object.clone() };
                if let Some(workspace_id) = &row.workspace_id {
                    self.heard.take(&mut object, workspace_id);
                }
                let sale = row.object.owner.as_deref().and_then(sale_id).map(ToOwned::to_owned);
                let merged = row.object.merge(object);
                if sale.as_deref() != row.object.owner.as_deref().and_then(sale_id) {
                    self.left.extend(sale);
                }
                if merged.tied {
                    self.tied.insert(key.clone());
                }
                if merged.changed {
                    self.dirty.insert(key);
                }
            }
        }
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &ObjectRow> {
        self.objects.range((kind, String::new())..).take_while(move |(key, _)| key.0 == kind).map(|(_, row)| row)
    }

    fn customers(&self) -> impl Iterator<Item = &ObjectRow> {
        self.of_kind(Kind::Customer)
    }

    /// Locks the workspaces that are linked or asked for, and makes the links that can be made.
    pub(super) async fn link(&mut self, tx: &mut Tx) -> sqlx::Result<()> {
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for row in self.customers() {
            match &row.workspace_id {
                Some(workspace_id) => {
                    wanted.insert(workspace_id.clone());
                }
                None => wanted.extend(claims(&row.object).into_iter().map(|(workspace_id, _)| workspace_id.to_owned())),
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        for row in store::lock_workspaces(tx, &wanted).await? {
            self.workspaces.insert(row.id.clone(), row);
        }
        self.make_links();
        self.hand_over_hearing();
        let existing: Vec<String> = self.workspaces.keys().cloned().collect();
        self.load_siblings(tx, &existing.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Loads the other customers of workspaces, since a workspace is projected from all of them.
    async fn load_siblings(&mut self, tx: &mut Tx, workspace_ids: &[&str]) -> sqlx::Result<()> {
        let siblings = store::customers_of(tx, workspace_ids).await?;
        let missing: Vec<&str> = siblings
            .iter()
            .map(String::as_str)
            .filter(|id| !self.objects.contains_key(&(Kind::Customer, (*id).to_owned())))
            .collect();
        if !missing.is_empty() {
            for row in store::objects_of(tx, &[], &missing).await? {
                self.objects.entry((row.object.kind, row.object.id.clone())).or_insert(row);
            }
        }
        Ok(())
    }

    /// The first claim of a workspace that exists makes the link.
    fn make_links(&mut self) {
        for (key, row) in
            self.objects.iter_mut().filter(|(key, row)| key.0 == Kind::Customer && row.workspace_id.is_none())
        {
            let claims = claims(&row.object);
            let granted = claims.iter().map(|(id, _)| *id).find(|id| self.workspaces.contains_key(*id));
            if let Some(granted) = granted {
                row.workspace_id = Some(granted.to_owned());
                self.linked.insert(key.1.clone());
                self.dirty.insert(key.clone());
            }
        }
    }

    /// The workspace behind an owner, where there is one.
    pub(super) fn workspace_of(&self, owner: &str) -> Option<String> {
        match Owner::parse(owner) {
            Owner::Customer(id) => self.objects.get(&(Kind::Customer, id.to_owned()))?.workspace_id.clone(),
            Owner::Sale(id) => self.sales.get(id).cloned().or_else(|| {
                let sale = [Kind::CheckoutSession, Kind::Invoice].map(|kind| self.objects.get(&(kind, id.to_owned())));
                let buyer = sale.into_iter().flatten().find_map(|row| row.object.owner.as_deref())?;
                sale_id(buyer).is_none().then(|| self.workspace_of(buyer)).flatten()
            }),
        }
    }

    /// Customers for whom something may have waited, with their workspaces.
    pub(super) fn to_release(&self) -> Vec<(&str, &str)> {
        let linked = self.customers().filter_map(|row| {
            let new = self.linked.contains(&row.object.id) || row.object.register("linked_by_hand").is_some();
            row.workspace_id.as_deref().filter(|_| new).map(|workspace_id| (row.object.id.as_str(), workspace_id))
        });
        linked.collect()
    }

    /// Claims of customers that are linked elsewhere: customer, who claims, who has it, and the claim.
    pub(super) fn refused_claims(&self) -> Vec<(&str, &str, &str, &Register)> {
        self.customers()
            // An operator's link refuses what waited, too.
            .filter(|row| {
                row.object.register("linked_by_hand").is_some()
                    || self.dirty.contains(&(Kind::Customer, row.object.id.clone()))
            })
            .filter_map(|row| Some((row, row.workspace_id.as_deref()?)))
            .flat_map(|(row, linked)| {
                claims(&row.object)
                    .into_iter()
                    .filter(move |(claimed, _)| *claimed != linked)
                    .map(move |(claimed, claim)| (row.object.id.as_str(), claimed, linked, claim))
            })
            .collect()
    }

    /// Whose an event is that does not say it itself.
    pub(super) fn owner_known(&self, told: &Told) -> Option<String> {
        let known = |object: &Object| self.objects.get(&(object.kind, object.id.clone()))?.object.owner.clone();
        told.objects.iter().find_map(known)
    }

    pub(super) fn balances(&self) -> BTreeMap<String, i64> {
        self.workspaces.iter().map(|(id, row)| (id.clone(), row.credits)).collect()
    }

    /// Whose an event is: its owner and that owner's workspace.
    pub(super) fn whose(&self, told: &Told) -> (Option<String>, Option<String>) {
        let owner = told.objects.iter().find_map(|object| object.owner.clone()).or_else(|| self.owner_known(told));
        let workspace = owner.as_deref().and_then(|owner| self.workspace_of(owner));
        (owner, workspace)
    }

    /// Projects the workspaces and writes what has changed.
    pub(super) async fn save(
        &self,
        tx: &mut Tx,
        balances: &BTreeMap<String, i64>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        let mut customers: HashMap<&str, Vec<&Object>> = HashMap::new();
        for row in self.customers() {
            if let Some(workspace_id) = &row.workspace_id {
                customers.entry(workspace_id).or_default().push(&row.object);
            }
        }
        let mut subscriptions: HashMap<&str, Vec<&Object>> = HashMap::new();
        for row in self.of_kind(Kind::Subscription) {
            if let Some(Owner::Customer(owner)) = row.object.owner.as_deref().map(Owner::parse) {
                subscriptions.entry(owner).or_default().push(&row.object);
            }
        }
        let mut states: Vec<(&str, WorkspaceState, i64)> = Vec::new();
        for (id, row) in &self.workspaces {
            let mine = customers.remove(id.as_str()).unwrap_or_default();
            let subscriptions: Vec<&Object> =
                mine.iter().filter_map(|customer| subscriptions.get(customer.id.as_str())).flatten().copied().collect();
            let fresh_as_of = row.fresh_as_of.max(self.heard.of(id));
            let state = project(&mine, &subscriptions, row.trial_ends_at, fresh_as_of, now);
            let credits = balances.get(id).copied().unwrap_or(row.credits);
            if state != row.state() || credits != row.credits {
                states.push((id, state, credits));
            }
        }
        if !states.is_empty() {
            let states: Vec<_> = states.iter().map(|(id, state, credits)| (*id, state, *credits)).collect();
            store::save_states(tx, &states, now).await?;
        }
        if !self.dirty.is_empty() {
            let dirty = || self.dirty.iter().filter_map(|key| self.objects.get(key));
            store::save_objects(tx, dirty(), now).await?;
            let waiting = dirty().filter(|row| row.object.kind == Kind::Customer && row.workspace_id.is_none());
            let waiting: Vec<(&str, &str)> = waiting
                .flat_map(|row| claims(&row.object).into_iter().map(|(claimed, _)| (row.object.id.as_str(), claimed)))
                .collect();
            if !waiting.is_empty() {
                store::keep_claims(tx, &waiting).await?;
            }
        }
        if !self.linked.is_empty() {
            store::drop_claims(tx, &self.linked.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// What Stripe should be asked about.
    pub(super) fn unclear(&self) -> Vec<Key> {
        // A payment's own fields are each told by one object of Stripe's, whose states follow one another.
        let tied = self.tied.iter().filter(|(kind, _)| *kind != Kind::Payment).cloned();
        tied.chain(self.payments_for_nothing().map(|payment| (Kind::Payment, payment.id.clone()))).collect()
    }
}
