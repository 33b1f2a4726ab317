//! What is known of a Stripe object: a last-writer-wins register per field.
//!
//! Merging registers by the greater key is commutative, associative and idempotent, so any order and any repetition of
//! the same events ends in the same object. Nothing is ever applied "on top of" a state.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use litemap::Entry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

pub mod stored;

macro_rules! kinds {
    ($($variant:ident = $text:literal, $doc:literal;)+) => {
        /// Stripe's kinds of objects that are kept here; the text is Stripe's own `object`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $(#[doc = $doc] #[serde(rename = $text)] $variant,)+
        }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

kinds! {
    Customer = "customer", "Whom a workspace is linked to.";
    Subscription = "subscription", "What gives a plan.";
    Invoice = "invoice", "What was asked and paid for a subscription, or once.";
    CheckoutSession = "checkout.session", "A sale.";
    Payment = "payment_intent", "What was paid, and what of it was refunded or disputed; a charge from before there were payment intents, too.";
    Price = "price", "What something costs.";
    Plan = "plan", "A price of the time before prices.";
    Product = "product", "What is sold.";
    Coupon = "coupon", "What makes it cheaper.";
    PromotionCode = "promotion_code", "The word that a customer types for a coupon.";
}

impl Kind {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// Whether the merchant makes up the ids, so that they may be the same in live and in test mode.
    pub fn named_by_merchant(self) -> bool {
        matches!(self, Self::Price | Self::Plan | Self::Product | Self::Coupon)
    }
}

/// Decides between two writes of one field: the greater wins. The order of the fields is the order of comparison.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The event's id: only there to make the order total. Shared by all the fields that it wrote.
    pub event: Arc<str>,
}

/// Prefix of a subscription's fields that keep when an invoice of it failed first; what follows is the invoice's id.
pub(crate) const FAILING_FIELD: &str = "failing_since:";
/// The subscription's field that keeps the last invoice that was paid.
pub(crate) const PAID_FIELD: &str = "last_paid";

/// Rank of what another object's event tells.
pub const EVIDENCE: u8 = 1;
/// Rank of an object's own event.
pub const OWN: u8 = 2;

/// A value and the write it came with.
#[derive(Clone, Debug, PartialEq)]
pub struct Register {
    pub value: Value,
    pub key: WriteKey,
}

impl Register {
    /// Whether this write beats `other`. An equal key is the same event, read again: if it says something else now, the
    /// plans have changed, and the new reading stands.
    fn beats(&self, other: &Self) -> bool {
        self.key > other.key || (self.key == other.key && self.value != other.value)
    }

    /// Whether only the events' ids decide between this write and `other`, although both changed the field.
    fn ties(&self, other: &Self) -> bool {
        let of = |key: &WriteKey| (key.terminal, key.at, key.rank, key.changed);
        self.key.changed
            && of(&self.key) == of(&other.key)
            && self.key.event != other.key.event
            && self.value != other.value
    }
}

/// What merging came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Something was taken over.
    pub changed: bool,
    /// Two events of one second both changed a field, to different values: only Stripe knows which came last.
    pub tied: bool,
}

/// A Stripe object as far as it is known: fields that were never told are absent, which is not the same as empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub kind: Kind,
    pub id: String,
    /// Whose it is: see [`super::Owner`]. `None` while nothing told.
    pub owner: Option<String>,
    pub fields: stored::Fields,
}

impl Object {
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), owner: None, fields: stored::Fields::new() }
    }

    /// Records that `field` was `value` by the write `key`.
    pub fn write(&mut self, field: impl Into<SmolStr>, value: Value, key: &WriteKey) {
        self.take(field.into(), Register { value, key: key.clone() });
    }

    /// Takes over all that `other` knows better.
    pub fn merge(&mut self, other: Self) -> Merged {
        let mut merged = Merged::default();
        if let Some(owner) = other.owner {
            // An object belongs to one customer for life; a claim gives way to the customer, once Stripe names one.
            if self.owner.as_ref().is_none_or(|known| super::Owner::rank(&owner) > super::Owner::rank(known)) {
                self.owner = Some(owner);
                merged.changed = true;
            }
        }
        for (field, register) in other.fields {
            let taken = self.take(field, register);
            merged.changed |= taken.changed;
            merged.tied |= taken.tied;
        }
        merged
    }

    fn take(&mut self, field: SmolStr, new: Register) -> Merged {
        // The failure of an invoice that was paid, or of one before it, says nothing any more and is not kept, or a
        // subscription would grow with all that ever failed. The last payment only gets later: the same in any order.
        let made_good = |failed: &Register, paid: &Register| failed.key.at <= paid.key.at;
        if field.starts_with(FAILING_FIELD) && self.register(PAID_FIELD).is_some_and(|paid| made_good(&new, paid)) {
            return Merged::default();
        }
        let is_payment = field == PAID_FIELD;
        let merged = match self.fields.entry(field) {
            Entry::Vacant(entry) => {
                entry.insert(new);
                Merged { changed: true, tied: false }
            }
            Entry::Occupied(mut entry) => {
                let (changed, tied) = (new.beats(entry.get()), new.ties(entry.get()));
                if changed {
                    entry.insert(new);
                }
                Merged { changed, tied }
            }
        };
        if is_payment
            && merged.changed
            && let Some(paid) = self.register(PAID_FIELD).cloned()
        {
            self.fields.retain(|field, failed| !field.starts_with(FAILING_FIELD) || !made_good(failed, &paid));
        }
        merged
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
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn key(terminal: bool, at: i64, rank: u8, changed: bool, event: &str) -> WriteKey {
        WriteKey { terminal, at, rank, changed, event: event.into() }
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

    /// What an invoice that was made at `made` says of its subscription.
    fn invoice_told(made: i64, is_paid: bool) -> Object {
        let mut object = Object::new(Kind::Subscription, "sub_1");
        let field = if is_paid { PAID_FIELD.to_owned() } else { format!("{FAILING_FIELD}in_{made}") };
        object.write(field, json!({"invoice": made}), &key(false, made, EVIDENCE, is_paid, "evt"));
        object
    }

    proptest! {
        #[test]
        fn only_failures_after_the_last_payment_are_kept_in_any_order(
            order in Just((0..5).flat_map(|made| [(made, false), (made, made == 2)]).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let mut known = Object::new(Kind::Subscription, "sub_1");
            for (made, is_paid) in order {
                known.merge(invoice_told(made, is_paid));
            }
            let kept: Vec<&str> = known.fields.keys().map(SmolStr::as_str).collect();
            prop_assert_eq!(kept, ["failing_since:in_3", "failing_since:in_4", "last_paid"]);
        }
    }

    #[test]
    fn only_two_changes_of_one_second_tie() {
        let told = |at, changed, event: &str, status: &str| {
            let mut object = Object::new(Kind::Subscription, "sub_1");
            object.write("status", json!(status), &key(false, at, OWN, changed, event));
            object
        };
        let cases = [
            (told(10, true, "evt_2", "past_due"), true),
            (told(10, true, "evt_2", "active"), false),
            (told(10, false, "evt_2", "past_due"), false),
            (told(11, true, "evt_2", "past_due"), false),
            // A redelivery is no second event.
            (told(10, true, "evt_1", "past_due"), false),
        ];
        for (other, tied) in cases {
            assert_eq!(told(10, true, "evt_1", "active").merge(other.clone()).tied, tied, "{other:?}");
        }
    }
}
