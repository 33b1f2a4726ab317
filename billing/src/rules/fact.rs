//! What is known of a Stripe object: a last-writer-wins register per field.
//!
//! Merging registers by the greater key is commutative, associative and idempotent, so any order and any repetition of
//! the same events ends in the same object. Nothing is ever applied "on top of" a state.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Stripe's kinds of objects that carry state here; the text is Stripe's own `object`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "customer")]
    Customer,
    #[serde(rename = "subscription")]
    Subscription,
    #[serde(rename = "invoice")]
    Invoice,
    #[serde(rename = "checkout.session")]
    CheckoutSession,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Subscription => "subscription",
            Self::Invoice => "invoice",
            Self::CheckoutSession => "checkout.session",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Customer, Self::Subscription, Self::Invoice, Self::CheckoutSession]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Decides between two writes of one field: the greater wins. The order of the fields is the order of comparison.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(bool, i64, u8, bool, String)", into = "(bool, i64, u8, bool, String)")]
pub struct WriteKey {
    /// The object is in a state that has no way out (`canceled`, `incomplete_expired`, `paid`, `void`), so nothing
    /// that tells of an earlier state may win, however late it was created.
    pub terminal: bool,
    /// The event's `created`, whole seconds since the epoch.
    pub at: i64,
    /// Within one second the object's own event ([`OWN`]) beats what another object's event says of it ([`EVIDENCE`]).
    pub rank: u8,
    /// The event changed this field, rather than only carrying it.
    pub changed: bool,
    /// The event's id: only there to make the order total.
    pub event: String,
}

/// Rank of what another object's event tells.
pub const EVIDENCE: u8 = 1;
/// Rank of an object's own event.
pub const OWN: u8 = 2;

impl From<(bool, i64, u8, bool, String)> for WriteKey {
    fn from((terminal, at, rank, changed, event): (bool, i64, u8, bool, String)) -> Self {
        Self { terminal, at, rank, changed, event }
    }
}

impl From<WriteKey> for (bool, i64, u8, bool, String) {
    fn from(key: WriteKey) -> Self {
        (key.terminal, key.at, key.rank, key.changed, key.event)
    }
}

/// A value and the write it came with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    #[serde(rename = "v")]
    pub value: Value,
    #[serde(rename = "k")]
    pub key: WriteKey,
}

impl Register {
    /// Whether this write beats `other`. Equal keys fall back on the value, so that even a reader that says two things
    /// of one field in one event ends the same way in any order.
    fn beats(&self, other: &Self) -> bool {
        let text = Value::to_string;
        match self.key.cmp(&other.key) {
            std::cmp::Ordering::Equal => text(&self.value) > text(&other.value),
            order => order.is_gt(),
        }
    }
}

/// A Stripe object as far as it is known: fields that were never told are absent, which is not the same as empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub kind: Kind,
    pub id: String,
    /// Whose it is: see [`super::Owner`]. `None` while nothing told.
    pub owner: Option<String>,
    pub fields: BTreeMap<String, Register>,
}

impl Object {
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), owner: None, fields: BTreeMap::new() }
    }

    /// Records that `field` was `value` by the write `key`.
    pub fn write(&mut self, field: impl Into<String>, value: Value, key: &WriteKey) {
        self.take(field.into(), Register { value, key: key.clone() });
    }

    /// Takes over all that `other` knows better; tells whether that was anything.
    pub fn merge(&mut self, other: Self) -> bool {
        let mut changed = false;
        if let Some(owner) = other.owner {
            // An object belongs to one customer for life; a claim gives way to the customer, once Stripe names one.
            if self.owner.as_ref().is_none_or(|known| super::Owner::rank(&owner) > super::Owner::rank(known)) {
                self.owner = Some(owner);
                changed = true;
            }
        }
        for (field, register) in other.fields {
            changed |= self.take(field, register);
        }
        changed
    }

    fn take(&mut self, field: String, new: Register) -> bool {
        match self.fields.entry(field) {
            Entry::Vacant(entry) => {
                entry.insert(new);
                true
            }
            Entry::Occupied(mut entry) => {
                let better = new.beats(entry.get());
                if better {
                    entry.insert(new);
                }
                better
            }
        }
    }

    pub fn register(&self, field: &str) -> Option<&Register> {
        self.fields.get(field)
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.register(field)?.value.as_str()
    }

    pub fn int(&self, field: &str) -> Option<i64> {
        self.register(field)?.value.as_i64()
    }

    pub fn flag(&self, field: &str) -> Option<bool> {
        self.register(field)?.value.as_bool()
    }

    pub fn time(&self, field: &str) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.int(field)?, 0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(terminal: bool, at: i64, rank: u8, changed: bool, event: &str) -> WriteKey {
        (terminal, at, rank, changed, event.to_owned()).into()
    }

    #[test]
    fn the_greater_key_wins_by_its_fields_in_order() {
        let ascending = [
            key(false, 9, OWN, true, "evt_z"),
            key(false, 10, EVIDENCE, true, "evt_z"),
            key(false, 10, OWN, false, "evt_z"),
            key(false, 10, OWN, true, "evt_a"),
            key(false, 10, OWN, true, "evt_b"),
            key(true, 1, EVIDENCE, false, "evt_a"),
        ];
        assert!(ascending.is_sorted());
    }

    #[test]
    fn a_late_event_does_not_revive_a_cancelled_subscription() {
        let mut late = Object::new(Kind::Subscription, "sub_1");
        late.write("status", json!("active"), &key(false, 20, OWN, true, "evt_2"));
        let mut ended = Object::new(Kind::Subscription, "sub_1");
        ended.write("status", json!("canceled"), &key(true, 10, OWN, true, "evt_1"));
        let mut one_way = ended.clone();
        one_way.merge(late.clone());
        late.merge(ended);
        assert_eq!(one_way, late);
        assert_eq!(late.text("status"), Some("canceled"));
    }
}
