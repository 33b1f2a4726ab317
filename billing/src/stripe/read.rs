//! From an event's body to what it says. By shape, never by the version label; absent is unknown, not empty.

mod customer;
mod invoice;
mod lines;
mod session;
mod subscription;

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Unreadable;
use super::path::Place;
use crate::plans::Catalogue;
use crate::rules::fact::{EVIDENCE, OWN};
use crate::rules::link::{claim_field, workspace_owner};
use crate::rules::{Kind, Note, Object, Question, Reading, WriteKey};

/// Stripe's answers to what earlier readings asked.
pub type Answers = HashMap<Question, Value>;

/// Reads one event.
///
/// # Errors
/// A part that is needed is not what Stripe says it is; the error names its path. Such a body stays unreadable.
pub fn read(body: &Value, catalogue: &Catalogue, answers: &Answers) -> Result<Reading, Unreadable> {
    let root = Place::root(body, "event");
    let id = root.at("id").required_id()?;
    let kind = root.at("type").required_id()?;
    if body["object"] == "v2.core.event" {
        return Ok(Reading::Ignored("a thin event carries no state; let the endpoint send snapshot events".to_owned()));
    }
    let reader: fn(&Event<'_>) -> Result<Reading, Unreadable> = match kind {
        "invoice.upcoming" => {
            return Ok(Reading::Ignored("an upcoming invoice has no id and no effect yet".to_owned()));
        }
        "checkout.session.completed"
        | "checkout.session.async_payment_succeeded"
        | "checkout.session.async_payment_failed" => session::read,
        "invoice.created"
        | "invoice.finalized"
        | "invoice.updated"
        | "invoice.paid"
        | "invoice.payment_succeeded"
        | "invoice.payment_failed"
        | "invoice.payment_action_required"
        | "invoice.voided"
        | "invoice.marked_uncollectible" => invoice::read,
        "customer.subscription.created"
        | "customer.subscription.updated"
        | "customer.subscription.deleted"
        | "customer.subscription.paused"
        | "customer.subscription.resumed" => subscription::read,
        "customer.created" | "customer.updated" | "customer.deleted" => customer::read,
        _ => return Ok(Reading::Ignored("no reader for this type of event".to_owned())),
    };
    let event = Event {
        id,
        kind,
        created: root.at("created").required_seconds()?,
        object: Place::root(&body["data"]["object"], "data.object"),
        previous: Place::root(&body["data"]["previous_attributes"], "data.previous_attributes"),
        catalogue,
        answers,
    };
    reader(&event)
}

/// Why an event that asks is dead where nobody can answer.
pub fn unanswerable(body: &Value) -> Unreadable {
    session::unanswerable(body)
}

/// An event whose object is about to be read.
struct Event<'a> {
    id: &'a str,
    kind: &'a str,
    /// Seconds since the epoch.
    created: i64,
    object: Place<'a>,
    /// What an `updated` event says the changed fields were before.
    previous: Place<'a>,
    catalogue: &'a Catalogue,
    answers: &'a Answers,
}

impl<'a> Event<'a> {
    fn key(&self, terminal: bool, changed: bool) -> WriteKey {
        WriteKey { terminal, at: self.created, rank: OWN, changed, event: self.id.to_owned() }
    }

    fn evidence_key(&self, at: i64) -> WriteKey {
        WriteKey { terminal: false, at, rank: EVIDENCE, changed: false, event: self.id.to_owned() }
    }

    fn has_changed(&self, field: &str) -> bool {
        self.previous.has_key(field)
    }

    /// Whose the event's object is, from the customer it names or the workspace it claims.
    fn owner(&self, claim: Option<&str>) -> Result<Option<String>, Unreadable> {
        let customer = self.object.at("customer").id()?;
        Ok(customer.map(ToOwned::to_owned).or_else(|| claim.map(workspace_owner)))
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

    fn facts(owner: Option<&str>, customer: Option<Object>, mut objects: Vec<Object>, notes: Vec<Note>) -> Reading {
        for object in &mut objects {
            object.owner = owner.map(ToOwned::to_owned);
        }
        objects.extend(customer);
        Reading::Facts { objects, notes }
    }

    /// A workspace id in `metadata` at `path`.
    fn claim_at(&self, path: &str) -> Result<Option<&'a str>, Unreadable> {
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
        field: &str,
        read: impl Fn(&Place<'a>) -> Result<Option<T>, Unreadable>,
    ) -> Result<(), Unreadable> {
        if self.event.object.has_key(field) {
            let value = read(&self.event.object.at(field))?.map_or(Value::Null, Into::into);
            self.write(field, value, self.event.has_changed(field));
        }
        Ok(())
    }

    fn text(&mut self, field: &str) -> Result<(), Unreadable> {
        self.field(field, |place| Ok(place.text()?.map(ToOwned::to_owned)))
    }

    fn id(&mut self, field: &str) -> Result<(), Unreadable> {
        self.field(field, |place| Ok(place.id()?.map(ToOwned::to_owned)))
    }

    fn time(&mut self, field: &str) -> Result<(), Unreadable> {
        self.field(field, Place::seconds)
    }

    fn amount(&mut self, field: &str) -> Result<(), Unreadable> {
        self.field(field, Place::amount)
    }

    fn flag(&mut self, field: &str) -> Result<(), Unreadable> {
        self.field(field, Place::flag)
    }
}

#[cfg(test)]
mod tests;
