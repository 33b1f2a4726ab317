//! `product.*`, `price.*`, `plan.*`, `coupon.*`, `promotion_code.*`: what is sold, as Stripe knows it. Nothing of it
//! decides what a workspace may do: which price means which plan is a setting.

use serde_json::{Value, json};

use super::{Copy, Event};
use crate::rules::{Kind, Object, Reading};
use crate::stripe::Unreadable;
use crate::stripe::path::Place;

pub(super) fn read(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let (family, what) = event.kind.split_once('.').unwrap_or((event.kind, ""));
    let kind = Kind::parse(family).ok_or_else(|| event.object.error("is nothing of the catalogue"))?;
    let id = event.object.at("id").required_id()?;
    let gone = what == "deleted";
    let mut copy = Copy { event, terminal: gone, object: Object::new(kind, id) };
    for field in ["nickname", "currency", "lookup_key", "type", "name", "duration", "code"] {
        copy.text(field)?;
    }
    copy.id("product")?;
    for field in ["active", "valid"] {
        copy.flag(field)?;
    }
    for field in ["unit_amount", "amount_off"] {
        copy.amount(field)?;
    }
    for field in ["expires_at", "redeem_by"] {
        copy.time(field)?;
    }
    copy.field("percent_off", Place::number)?;
    // A plan is a price of the time before there were prices.
    renamed(&mut copy, "amount", "unit_amount", |place| Ok(place.amount()?.map(Value::from)))?;
    for path in ["recurring.interval", "interval"] {
        renamed(&mut copy, path, "interval", |place| Ok(place.text()?.map(Value::from)))?;
    }
    for path in ["promotion.coupon", "coupon"] {
        renamed(&mut copy, path, "coupon", |place| Ok(place.id()?.map(Value::from)))?;
    }
    if gone {
        copy.write("active", json!(false), true);
        copy.write("deleted", json!(true), true);
    }
    Ok(Reading::Facts { objects: vec![copy.object], notes: Vec::new() })
}

/// Writes what stands at `path` as `field`, where it stands there.
fn renamed<'a>(
    copy: &mut Copy<'_, 'a>,
    path: &'static str,
    field: &str,
    read: impl Fn(&Place<'a>) -> Result<Option<Value>, Unreadable>,
) -> Result<(), Unreadable> {
    if let Some(value) = read(&copy.event.object.at(path))? {
        let root = path.split('.').next().unwrap_or(path);
        copy.write(field, value, copy.event.has_changed(root));
    }
    Ok(())
}
