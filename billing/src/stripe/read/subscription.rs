//! `customer.subscription.*`: the subscription itself, the authority on its own state.

use serde_json::{Value, json};

use super::lines::{Price, highest};
use super::{Copy, Event, List};
use crate::rules::{Kind, Note, Object, Reading};
use crate::stripe::Unreadable;
use crate::stripe::path::Place;

/// The statuses there are; another one gives no access, and the audit log says so.
const STATUSES: [&str; 8] =
    ["incomplete", "incomplete_expired", "trialing", "active", "past_due", "canceled", "unpaid", "paused"];

pub(super) fn read(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let object = &event.object;
    let id = object.at("id").required_id()?;
    let claim = event.claim_at("metadata")?;
    let owner = event.owner(claim)?;
    // The event's type says it, whatever the snapshot inside does.
    let status =
        if event.kind == "customer.subscription.deleted" { Some("canceled") } else { object.at("status").word()? };
    let terminal = matches!(status, Some("canceled" | "incomplete_expired"));

    let mut copy = Copy { event, terminal, object: Object::new(Kind::Subscription, id) };
    if let Some(status) = status {
        let said_by_type = matches!(
            event.kind,
            "customer.subscription.deleted" | "customer.subscription.paused" | "customer.subscription.resumed"
        );
        let changed = said_by_type || event.has_changed("status");
        copy.write("status", json!(status), changed);
        if changed {
            // What is told later only carries the status on, and so does not say since when it is so.
            copy.write("status_since", json!({"status": status, "at": event.told_at}), true);
        }
    }
    for field in ["created", "cancel_at", "canceled_at", "ended_at", "trial_end"] {
        copy.time(field)?;
    }
    copy.flag("cancel_at_period_end")?;
    copy.id("latest_invoice")?;
    let (items, partial) = match event.list("items", || format!("/subscription_items?subscription={id}&limit=100"))? {
        List::Whole(items) => (items, false),
        List::Partial(items) => (items, true),
        List::Asks(question) => return Ok(Reading::Ask(question)),
    };
    copy.write("partial", json!(partial), false);
    let unknown = write_items(&mut copy, &items)?;
    if let Some(end) = period_end(object, &items)? {
        copy.write(
            "current_period_end",
            json!(end),
            event.has_changed("current_period_end") || event.has_changed("items"),
        );
    }

    let subscription = copy.object;
    let notes = notes(event, &subscription, owner.as_deref(), terminal, &unknown);
    let customer = owner.as_deref().map(|owner| event.customer(owner, claim));
    Ok(Event::facts(owner.as_deref(), customer, vec![subscription], notes))
}

/// Writes what is subscribed to; gives the prices that mean no plan, where none of them means one.
fn write_items<'a>(copy: &mut Copy<'_, 'a>, items: &[Place<'a>]) -> Result<Vec<&'a str>, Unreadable> {
    let event = copy.event;
    // Before there were items, the plan stood on the subscription itself.
    let top = [event.object.clone()];
    let lines = if items.is_empty() { &top[..] } else { items };
    let mut shown = Vec::new();
    let mut prices = Vec::new();
    for line in lines {
        if let Some(price) = Price::of(line)? {
            shown.push(json!({"price": price.id, "quantity": line.at("quantity").int()?}));
            prices.push(price);
        }
    }
    if prices.is_empty() {
        return Ok(Vec::new());
    }
    let changed = ["items", "plan", "quantity"].iter().any(|field| event.has_changed(field));
    copy.write("items", Value::Array(shown), changed);
    let (plan, unknown) = highest(prices, event.catalogue);
    match plan {
        Some(plan) => {
            copy.write("plan", json!(plan.id), changed);
            Ok(Vec::new())
        }
        None => Ok(unknown),
    }
}

/// The latest end among the items; before basil it stood on the subscription.
fn period_end(object: &Place<'_>, items: &[Place<'_>]) -> Result<Option<i64>, Unreadable> {
    let mut latest = None;
    for item in items {
        latest = latest.max(item.at("current_period_end").seconds()?);
    }
    Ok(latest.or(object.at("current_period_end").seconds()?))
}

fn notes(event: &Event<'_>, subscription: &Object, owner: Option<&str>, terminal: bool, unknown: &[&str]) -> Vec<Note> {
    let id = &subscription.id;
    let plan = subscription.text("plan");
    let mut notes: Vec<Note> = unknown
        .iter()
        .map(|price| {
            Note::new("unknown_price", format!("{id}:{price}"), owner, json!({"subscription": id, "price": price}))
        })
        .collect();
    if terminal {
        notes.push(Note::new("subscription_deleted", id.as_str(), owner, json!({"subscription": id, "plan": plan})));
        return notes;
    }
    let state = json!({
        "subscription": id,
        "status": subscription.text("status"),
        "plan": plan,
        "items": subscription.register("items").map(|items| &items.value),
        "cancel_at_period_end": subscription.flag("cancel_at_period_end"),
        "cancel_at": subscription.int("cancel_at"),
        "current_period_end": subscription.int("current_period_end"),
    });
    if let Some(status) = subscription.text("status")
        && !STATUSES.contains(&status)
    {
        notes.push(Note::new(
            "unknown_status",
            format!("{id}:{status}"),
            owner,
            json!({"subscription": id, "status": status}),
        ));
    }
    match event.kind {
        "customer.subscription.trial_will_end" => {
            let trial_end = subscription.int("trial_end").unwrap_or_default();
            notes.push(Note::new(
                "trial_will_end",
                format!("{id}:{trial_end}"),
                owner,
                json!({"subscription": id, "plan": plan, "trial_end": trial_end}),
            ));
        }
        "customer.subscription.created" => {
            notes.push(Note::new(
                "subscription_created",
                id.as_str(),
                owner,
                json!({"subscription": id, "plan": plan}),
            ));
        }
        "customer.subscription.updated" => {
            // By content: Stripe may send two event objects for one change.
            let content = Note::word_for(&state);
            notes.push(Note::new("subscription_updated", format!("{id}:{}:{content}", event.created), owner, state));
        }
        _ => {}
    }
    let ends_at = subscription.int("cancel_at").or_else(|| {
        subscription.int("current_period_end").filter(|_| subscription.flag("cancel_at_period_end") == Some(true))
    });
    let will_end = subscription.flag("cancel_at_period_end") == Some(true) || subscription.int("cancel_at").is_some();
    if will_end {
        // The time of the request tells one cancellation from the next; without it, the end it leads to.
        let request = subscription.int("canceled_at").or(ends_at).unwrap_or_default();
        notes.push(Note::new(
            "subscription_cancelled",
            format!("{id}:{request}"),
            owner,
            json!({"subscription": id, "plan": plan, "ends_at": ends_at, "canceled_at": request}),
        ));
    }
    notes
}
