//! From an event's body to what it says. By shape, never by the version label; absent is unknown, not empty.

mod answers;
mod catalogue;
mod customer;
mod invoice;
mod lines;
mod payment;
pub mod scope;
mod session;
mod subscription;
mod thin;

use std::sync::Arc;

use serde_json::{Value, json};

use super::Unreadable;
use super::json::Json;
use super::path::Place;
use crate::plans::Catalogue;
use crate::rules::fact::{EVIDENCE, OWN};
use crate::rules::link::{claim_field, guest_of};
use crate::rules::{Kind, Note, Object, Question, Reading, WriteKey};
pub use answers::{Answer, Answers};
pub use thin::{Fetched, REFRESH, created_of, question_about, read_fetched};

/// Reads one event.
///
/// # Errors
/// A part that is needed is not what Stripe says it is; the error names its path. Such a body stays unreadable.
pub fn read<'a>(
    body: impl Into<Json<'a>>,
    catalogue: &'a Catalogue,
    answers: &'a Answers,
) -> Result<Reading, Unreadable> {
    let body = body.into();
    let reading = if thin::is_thin(body) {
        thin::read(body, catalogue, answers)?
    } else {
        let root = Place::root(body, "event");
        let id = root.at("id").required_id()?;
        let kind = root.at("type").required_id()?;
        let Some(reader) = reader_of(kind) else {
            return Ok(Reading::Ignored("no reader for this type of event".to_owned()));
        };
        let created = root.at("created").required_seconds()?;
        reader(&Event {
            id: id.into(),
            kind,
            created,
            told_at: created,
            fetched: false,
            object: Place::at_root(body, "data.object"),
            previous: Place::at_root(body, "data.previous_attributes"),
            catalogue,
            answers,
        })?
    };
    Ok(scope::scoped(reading, body))
}

/// Whether events of this type say anything to us; the others are `ignored`.
pub fn has_reader(kind: &str) -> bool {
    reader_of(kind).is_some()
}

type Reader = fn(&Event<'_>) -> Result<Reading, Unreadable>;

fn reader_of(kind: &str) -> Option<Reader> {
    Some(match kind {
        "checkout.session.completed"
        | "checkout.session.async_payment_succeeded"
        | "checkout.session.async_payment_failed"
        | "checkout.session.expired" => session::read,
        "invoice.created"
        | "invoice.finalized"
        | "invoice.updated"
        | "invoice.paid"
        | "invoice.payment_succeeded"
        | "invoice.payment_failed"
        | "invoice.payment_action_required"
        | "invoice.voided"
        | "invoice.marked_uncollectible"
        | "invoice.overdue" => invoice::read,
        "invoice.upcoming" => invoice::upcoming,
        "invoice_payment.paid" => payment::of_invoice,
        "customer.subscription.created"
        | "customer.subscription.updated"
        | "customer.subscription.deleted"
        | "customer.subscription.paused"
        | "customer.subscription.resumed"
        | "customer.subscription.trial_will_end"
        | "customer.subscription.pending_update_applied"
        | "customer.subscription.pending_update_expired" => subscription::read,
        "customer.created" | "customer.updated" | "customer.deleted" => customer::read,
        "entitlements.active_entitlement_summary.updated" => customer::entitlements,
        "charge.refunded" => payment::charge,
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => payment::refund,
        "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated"
        | "charge.dispute.closed" => payment::dispute,
        "plan.created"
        | "plan.updated"
        | "plan.deleted"
        | "price.created"
        | "price.updated"
        | "price.deleted"
        | "product.created"
        | "product.updated"
        | "product.deleted"
        | "coupon.created"
        | "coupon.updated"
        | "coupon.deleted"
        | "promotion_code.created"
        | "promotion_code.updated" => catalogue::read,
        _ => return None,
    })
}

/// Whether an id may stand in a URL.
fn valid(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// An event whose object is about to be read.
struct Event<'a> {
    id: Arc<str>,
    kind: &'a str,
    /// When it happened, seconds since the epoch.
    created: i64,
    /// When the object was as it stands here: `created`, or the start of the GET that fetched it.
    told_at: i64,
    /// The object was fetched, because the event does not carry it.
    fetched: bool,
    object: Place<'a>,
    /// What an `updated` event says the changed fields were before.
    previous: Place<'a>,
    catalogue: &'a Catalogue,
    answers: &'a Answers,
}

/// A list as far as it is known.
enum List<'a> {
    Whole(Vec<Place<'a>>),
    /// Its first page, and nobody to ask for the rest.
    Partial(Vec<Place<'a>>),
    /// The rest has to be asked for.
    Asks(Question),
}

impl<'a> Event<'a> {
    fn key(&self, terminal: bool, changed: bool) -> WriteKey {
        WriteKey { terminal, at: self.told_at, rank: OWN, changed, event: Arc::clone(&self.id) }
    }

    fn evidence_key(&self, at: i64) -> WriteKey {
        WriteKey { terminal: false, at, rank: EVIDENCE, changed: false, event: Arc::clone(&self.id) }
    }

    /// A paged list of the object's: where the event carries only its first page the rest is asked for at `path`.
    fn list(&self, field: &'static str, path: impl FnOnce() -> String) -> Result<List<'a>, Unreadable> {
        let list = self.object.at(field);
        if list.at("has_more").flag()? != Some(true) {
            return Ok(List::Whole(list.list()?));
        }
        let question = Question::new(path());
        match self.answers.to(&question) {
            // The object is gone: what the event carries is all there will ever be.
            Some(answer) if answer.value.is_null() => Ok(List::Partial(list.list()?)),
            Some(answer) => Ok(List::Whole(Place::root(&answer.value, field).list()?)),
            None if self.answers.can_ask && self.object.at("id").id()?.is_some_and(valid) => Ok(List::Asks(question)),
            None => Ok(List::Partial(list.list()?)),
        }
    }

    fn has_changed(&self, field: &str) -> bool {
        self.previous.has_key(field)
    }

    /// Whose the event's object is: the customer it names, else the guest of the workspace it claims.
    fn owner(&self, claim: Option<&str>) -> Result<Option<String>, Unreadable> {
        let customer = self.object.at("customer").id()?;
        Ok(customer.map(ToOwned::to_owned).or_else(|| claim.map(guest_of)))
    }

    /// What every event of a customer says of the customer: that it was heard of, and who claims it.
    fn customer(&self, id: &str, claim: Option<&str>) -> Object {
        let mut customer = Object::new(Kind::Customer, id);
        customer.owner = Some(id.to_owned());
        customer.write("seen", json!(self.created), &self.evidence_key(self.created));
        if let Some(workspace_id) = claim {
            // The negative time makes the earliest claim the greatest, so that merging keeps the first.
            customer.write(claim_field(workspace_id), json!(self.created), &self.evidence_key(-self.created));
        }
        customer
    }

    /// Facts of the owner's, and of others who know themselves whose they are.
    fn facts(
        owner: Option<&str>,
        others: impl IntoIterator<Item = Object>,
        mut objects: Vec<Object>,
        notes: Vec<Note>,
    ) -> Reading {
        for object in &mut objects {
            object.owner = owner.map(ToOwned::to_owned);
        }
        objects.extend(others);
        Reading::Facts { objects, notes }
    }

    /// A workspace id in `metadata` at `path`.
    fn claim_at(&self, path: &'static str) -> Result<Option<&'a str>, Unreadable> {
        self.object.at(path).at("workspace_id").id()
    }
}

/// Copies the fields of a body that are there into registers of an object.
struct Copy<'e, 'a> {
    event: &'e Event<'a>,
    terminal: bool,
    object: Object,
}

impl<'a> Copy<'_, 'a> {
    fn write(&mut self, field: &str, value: Value, changed: bool) {
        self.object.write(field, value, &self.event.key(self.terminal, changed));
    }

    /// Writes `read(place)` of a field; a null is a value, an absent field is not.
    fn field<T: Into<Value>>(
        &mut self,
        field: &'static str,
        read: impl Fn(&Place<'a>) -> Result<Option<T>, Unreadable>,
    ) -> Result<(), Unreadable> {
        if self.event.object.has_key(field) {
            let value = read(&self.event.object.at(field))?.map_or(Value::Null, Into::into);
            self.write(field, value, self.event.has_changed(field));
        }
        Ok(())
    }

    fn text(&mut self, field: &'static str) -> Result<(), Unreadable> {
        self.field(field, |place| Ok(place.text()?.map(ToOwned::to_owned)))
    }

    fn id(&mut self, field: &'static str) -> Result<(), Unreadable> {
        self.field(field, |place| Ok(place.id()?.map(ToOwned::to_owned)))
    }

    fn time(&mut self, field: &'static str) -> Result<(), Unreadable> {
        self.field(field, Place::seconds)
    }

    fn amount(&mut self, field: &'static str) -> Result<(), Unreadable> {
        self.field(field, Place::amount)
    }

    fn flag(&mut self, field: &'static str) -> Result<(), Unreadable> {
        self.field(field, Place::flag)
    }
}

#[cfg(test)]
mod tests;
