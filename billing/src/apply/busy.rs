//! Events of workspaces that somebody else has locked: the product itself, perhaps, in a transaction that takes its time.

use std::collections::BTreeSet;

use super::Told;
use crate::rules::Kind;
use crate::rules::link::claims;
use crate::store::{self, Tx};

/// The ids of those events whose workspace another transaction has locked at this moment, as far as what they say tells;
/// the workspaces of the others are locked. Nobody is waited for.
pub async fn busy(tx: &mut Tx, told: &[Told]) -> sqlx::Result<BTreeSet<String>> {
    let all: BTreeSet<&str> = told.iter().flat_map(owners).collect();
    let asked_for: BTreeSet<&str> = told.iter().flat_map(claimed).collect();
    let busy = store::busy(tx, &Vec::from_iter(all), &Vec::from_iter(asked_for)).await?;
    let is_busy = |event: &&Told| {
        owners(event).any(|owner| busy.iter().any(|(of, _)| of.as_deref() == Some(owner)))
            || claimed(event).any(|workspace_id| busy.iter().any(|(_, id)| id == workspace_id))
    };
    Ok(told.iter().filter(is_busy).map(|event| event.event_id.clone()).collect())
}

fn owners(event: &Told) -> impl Iterator<Item = &str> {
    let customers = event.objects.iter().filter(|object| object.kind == Kind::Customer).map(|object| &*object.id);
    let objects = event.objects.iter().filter_map(|object| object.owner.as_deref());
    customers.chain(objects).chain(event.notes.iter().filter_map(|note| note.owner.as_deref()))
}

fn claimed(event: &Told) -> impl Iterator<Item = &str> {
    let customers = event.objects.iter().filter(|object| object.kind == Kind::Customer);
    customers.flat_map(claims).map(|(workspace_id, _)| workspace_id)
}
