//! When the workspaces of a batch were heard of.
//!
//! A customer knows it while it waits for its workspace (`seen`), and from then on the workspace does: else every event would
//! write its customer for nothing but that.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::World;
use crate::rules::{Kind, Object};

/// The newest moment of each workspace that the batch tells of.
#[derive(Default)]
pub(super) struct Hearing(HashMap<String, DateTime<Utc>>);

impl Hearing {
    /// Takes out of a customer, as told or as known, when it was heard of. Gives whether there was anything.
    pub(super) fn take(&mut self, customer: &mut Object, workspace_id: &str) -> bool {
        let seen = customer.time("seen");
        if let Some(at) = seen {
            self.add(workspace_id, at);
        }
        customer.fields.remove("seen").is_some()
    }

    fn add(&mut self, workspace_id: &str, at: DateTime<Utc>) {
        let newest = self.0.entry(workspace_id.to_owned()).or_insert(at);
        *newest = at.max(*newest);
    }

    pub(super) fn of(&self, workspace_id: &str) -> Option<DateTime<Utc>> {
        self.0.get(workspace_id).copied()
    }
}

impl World {
    /// Hands what customers know over to the workspaces that they have just got.
    pub(super) fn hand_over_hearing(&mut self) {
        for (key, row) in self.objects.iter_mut().filter(|(key, _)| key.0 == Kind::Customer) {
            let linked = row.workspace_id.as_deref().filter(|id| self.workspaces.contains_key(*id));
            if linked.is_some_and(|workspace_id| self.heard.take(&mut row.object, workspace_id)) {
                self.dirty.insert(key.clone());
            }
        }
    }

    /// Notes that something else than a customer told of a workspace: a refund names none.
    pub(in crate::apply) fn hear(&mut self, workspace_id: &str, at: DateTime<Utc>) {
        self.heard.add(workspace_id, at);
    }
}
