//! `customer.*`: the address book side of a customer, and the claim in its metadata.

use serde_json::json;

use super::{Copy, Event};
use crate::rules::{Kind, Object, Reading};
use crate::stripe::Unreadable;
use crate::stripe::path::Place;

pub(super) fn read(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let id = event.object.at("id").required_id()?;
    let gone = event.kind == "customer.deleted";
    let mut copy = Copy { event, terminal: gone, object: Object::new(Kind::Customer, id) };
    copy.text("email")?;
    copy.text("name")?;
    if gone {
        copy.write("deleted", json!(true), true);
    }
    let locales = event.object.at("preferred_locales").list()?;
    if let Some(locale) = locales.first().map(Place::text).transpose()?.flatten() {
        copy.write("locale", json!(locale), event.has_changed("preferred_locales"));
    }
    let mut customer = event.customer(id, event.claim_at("metadata")?);
    customer.merge(copy.object);
    Ok(Event::facts(None, Some(customer), Vec::new(), Vec::new()))
}

/// `entitlements.active_entitlement_summary.updated`: the features that Stripe says the customer may use.
pub(super) fn entitlements(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let id = event.object.at("customer").required_id()?;
    let mut features = Vec::new();
    for entitlement in event.object.at("entitlements").list()? {
        features.extend(match entitlement.at("lookup_key").text()? {
            Some(key) => Some(key),
            None => entitlement.at("feature").id()?,
        });
    }
    features.sort_unstable();
    let mut customer = event.customer(id, None);
    customer.write("entitlements", json!(features), &event.key(false, true));
    Ok(Event::facts(None, Some(customer), Vec::new(), Vec::new()))
}
