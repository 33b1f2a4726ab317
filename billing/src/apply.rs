//! From what events say to what is stored, in the caller's transaction: merge the facts, link customers, enter the
//! effects, project the workspaces. Each table is read and written by one statement for the whole batch.
//!
//! Races: every owner (customer) of the batch is locked before its objects are read, then every workspace in the order
//! of its id, so two workers on one customer or one workspace take turns and never wait for each other in a circle. (Who has
//! waited in vain locks workspaces first, see `busy`; no wait is longer than half a second, so that circle breaks by itself.)

mod addressing;
mod busy;
mod by_hand;
mod settling;
mod trials;
mod world;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::plans::Catalogue;
use crate::rules::{Effect, Kind, Note, Object, Owner, Rules, SpentRefund, effects_of};
use crate::store::{self, AuditEntry, Grant, News, QueuedEmail, Tx};
use crate::stripe::scope::Accounts;
use addressing::Letter;
pub use busy::busy;
pub use by_hand::{LinkError, link_by_hand};
pub use trials::{Swept, trials_ending, trials_expired};
use world::World;

/// What one event says, ready to be applied.
#[derive(Clone, Debug)]
pub struct Told {
    pub event_id: String,
    pub created: DateTime<Utc>,
    pub livemode: bool,
    pub objects: Vec<Object>,
    pub notes: Vec<Note>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Applied {
    /// The mails that were queued; the caller enqueues their jobs in the same transaction.
    pub emails: Vec<QueuedEmail>,
    /// For each event that was told, in order: whose it is, and the workspace of that owner, as far as known.
    pub owners: Vec<(Option<String>, Option<String>)>,
    /// Audit entries of note to the metrics.
    pub unknown_prices: usize,
    /// Objects that Stripe should be asked about: two events of one second say different things of it, so that only
    /// Stripe knows which came last; or it is a payment that was refunded, and nobody has said what it was for.
    pub unclear: Vec<(Kind, String)>,
}

/// What the rules depend on beside the facts.
#[derive(Clone, Debug)]
pub struct Policy {
    pub catalogue: Catalogue,
    pub rules: Rules,
    pub spent_refund: SpentRefund,
    pub accounts: Accounts,
    /// The one mode whose events count; `None` where both do.
    pub livemode: Option<bool>,
}

/// Applies what the events say. `also` names customers to be looked at without an event, because a workspace
/// they wait for has come.
pub async fn apply(
    tx: &mut Tx,
    mut told: Vec<Told>,
    also: &[String],
    spent: SpentRefund,
    now: DateTime<Utc>,
) -> sqlx::Result<Applied> {
    let mut world = World::load(tx, &told, also).await?;
    world.merge(&mut told);
    world.link(tx).await?;

    let entries = audit_entries(&mut told, &world);
    let mut news = store::release_audit(tx, &world.to_release()).await?;
    news.extend(store::record_audit(tx, &entries, now).await?);

    crate::chaos::point("apply.audit");

    let mut grants = Vec::new();
    // By dedupe key: what waited may be told anew, by an earlier event, at the moment it is released.
    let mut emails: BTreeMap<String, Letter> = BTreeMap::new();
    for News { workspace_id, note, .. } in &news {
        for effect in effects_of(note) {
            match effect {
                Effect::Credits { delta, reason, source_id } => {
                    grants.push(Grant { workspace_id: workspace_id.clone(), delta, reason, source_id });
                }
                Effect::Mail { template, dedupe_key, data } => {
                    let (workspace_id, key) = (workspace_id.clone(), dedupe_key.clone());
                    emails.insert(key, Letter { workspace_id, template, dedupe_key, data });
                }
            }
        }
    }
    let letters: Vec<Letter> = emails.into_values().collect();
    let mut balances = world.balances();
    store::record_grants(tx, &grants, &mut balances, now).await?;
    crate::chaos::point("apply.credits");
    let emails = addressing::queue(tx, &letters, now).await?;
    crate::chaos::point("apply.emails");
    settling::settle(tx, &mut world, &grants, &mut balances, spent, now).await?;
    world.save(tx, &balances, now).await?;
    crate::chaos::point("apply.saved");

    Ok(Applied {
        emails,
        owners: told.iter().map(|told| world.whose(told)).collect(),
        unclear: world.unclear(),
        unknown_prices: entries.iter().filter(|entry| entry.note.kind == "unknown_price").count(),
    })
}

/// Takes the batch's notes, once per cause, each with the earliest event that tells of it.
fn audit_entries(told: &mut [Told], world: &World) -> Vec<AuditEntry> {
    let mut entries: BTreeMap<(String, String), AuditEntry> = BTreeMap::new();
    let mut add = |mut entry: AuditEntry| {
        let cause = (entry.note.kind.clone(), entry.note.cause.clone());
        if let Some(known) = entries.remove(&cause) {
            // The earlier one is named, and whose it is may be told by the other alone.
            let (mut earlier, later) =
                if (known.occurred_at, &known.stripe_event_id) <= (entry.occurred_at, &entry.stripe_event_id) {
                    (known, entry)
                } else {
                    (entry, known)
                };
            earlier.workspace_id = earlier.workspace_id.or(later.workspace_id);
            let owners = [earlier.note.owner.take(), later.note.owner];
            earlier.note.owner = owners.into_iter().flatten().max_by(|a, b| Owner::rank(a).cmp(&Owner::rank(b)));
            entry = earlier;
        }
        entries.insert(cause, entry);
    };
    for event in told {
        for mut note in std::mem::take(&mut event.notes) {
            let customer = |owner: &String| matches!(Owner::parse(owner), Owner::Customer(_));
            note.owner = note.owner.or_else(|| world.owner_known(event).filter(customer));
            add(AuditEntry {
                workspace_id: note.owner.as_deref().and_then(|owner| world.workspace_of(owner)),
                note,
                stripe_event_id: Some(event.event_id.clone()),
                occurred_at: event.created,
            });
        }
    }
    for (customer, claimed, linked, claim) in world.refused_claims() {
        let data = json!({"customer": customer, "claimed_by": claimed, "linked_to": linked});
        add(AuditEntry {
            note: Note::new("link_refused", format!("{customer}:{claimed}"), Some(customer), data),
            workspace_id: Some(linked.to_owned()),
            stripe_event_id: Some(claim.key.event.to_string()),
            occurred_at: claim.value.as_i64().and_then(|at| DateTime::from_timestamp(at, 0)).unwrap_or_default(),
        });
    }
    entries.into_values().collect()
}
