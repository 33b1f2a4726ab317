//! `checkout.session.*`: the sale that links a customer to a workspace, and the purchase of credits.

use serde_json::json;

use super::lines::Price;
use super::{Copy, Event, valid};
use crate::rules::effect::PURCHASE;
use crate::rules::{Kind, Note, Object, Question, Reading};
use crate::stripe::Unreadable;
use crate::stripe::path::Place;

pub(super) fn read(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let object = &event.object;
    let id = object.at("id").required_id()?;
    let claim = object.at("client_reference_id").id()?.or(event.claim_at("metadata")?);
    let owner = event.owner(claim)?;
    let status = match event.kind {
        "checkout.session.async_payment_succeeded" => Some("paid"),
        _ => object.at("payment_status").text()?,
    };
    let paid = matches!(status, Some("paid" | "no_payment_required"))
        && !matches!(event.kind, "checkout.session.async_payment_failed" | "checkout.session.expired");
    let mode = object.at("mode").text()?;

    let mut copy = Copy { event, terminal: paid, object: Object::new(Kind::CheckoutSession, id) };
    if let Some(status) = status {
        copy.write("payment_status", json!(status), true);
    }
    for field in ["mode", "status", "currency"] {
        copy.text(field)?;
    }
    for field in ["payment_intent", "subscription", "invoice", "client_reference_id"] {
        copy.id(field)?;
    }
    copy.amount("amount_total")?;

    let mut notes = Vec::new();
    if event.kind == "checkout.session.async_payment_failed" {
        notes.push(Note::new("checkout_failed", id, owner.as_deref(), json!({"session": id})));
    }
    if paid && mode == Some("payment") {
        match purchase(event, id)? {
            Purchase::Of { credits: 0, .. } => {}
            Purchase::Of { credits, plan } => notes.push(Note::new(
                "credits_granted",
                id,
                owner.as_deref(),
                json!({
                    "reason": PURCHASE, "credits": credits, "plan": plan, "session": id,
                }),
            )),
            Purchase::Unknown(question) => return Ok(Reading::Ask(question)),
        }
    }
    let customer = owner.as_deref().map(|owner| event.customer(owner, claim));
    let payment = object.at("payment_intent").id()?.filter(|_| mode == Some("payment"));
    let payment = payment.map(|payment| super::payment::paid_for(event, payment, id));
    let others = customer.into_iter().chain(payment);
    Ok(Event::facts(owner.as_deref(), others, vec![copy.object], notes))
}

enum Purchase {
    Of { credits: i64, plan: String },
    Unknown(Question),
}

/// What was bought: the plan in `metadata.plan`, else by the line items of the body, else by those Stripe tells. How many
/// of a named plan: `metadata.quantity`, else the line items with a price of its, else all line items, in the same order, else one.
fn purchase(event: &Event<'_>, id: &str) -> Result<Purchase, Unreadable> {
    let object = &event.object;
    let named = object.at("metadata.plan").id()?;
    let question = Question::new(format!("/checkout/sessions/{id}/line_items?limit=100"));
    let told = event.answers.to(&question);
    let items = match told {
        // Null: nobody tells, because the session is gone, or the key may not see it.
        Some(answer) if !answer.value.is_null() => Place::root(&answer.value, "line_items").list()?,
        _ => object.at("line_items").list()?,
    };
    let mut bought: Option<(i64, String)> = None;
    let mut prices = Vec::new();
    let (mut total_quantity, mut named_quantity) = (0, 0);
    for item in &items {
        let quantity = quantity(item)?;
        total_quantity += quantity;
        let Some(price) = Price::of(item)? else { continue };
        prices.push(price.id);
        if let Some(plan) = price.plan(event.catalogue) {
            if named == Some(plan.id.as_str()) {
                named_quantity += quantity;
            }
            let credits = plan.credits.saturating_mul(quantity);
            bought = Some(match bought {
                Some((sum, first)) => (sum.saturating_add(credits), first),
                None => (credits, plan.id.clone()),
            });
        }
    }
    if let Some(plan) = named.and_then(|named| event.catalogue.find(named)) {
        // Stripe leaves the line items out of the event; the product may say the quantity itself.
        let quantity = match object.at("metadata.quantity").text()?.and_then(|text| text.parse::<i64>().ok()) {
            Some(quantity) if (1..=MOST).contains(&quantity) => quantity,
            _ if items.is_empty() && told.is_none() && event.answers.can_ask && valid(id) => {
                return Ok(Purchase::Unknown(Question { can_do_without: true, ..question }));
            }
            _ if named_quantity > 0 => named_quantity,
            _ => total_quantity.max(1),
        };
        return Ok(Purchase::Of { credits: plan.credits.saturating_mul(quantity), plan: plan.id.clone() });
    }
    match (bought, told) {
        (Some((credits, plan)), _) => Ok(Purchase::Of { credits, plan }),
        (None, None) if event.answers.can_ask && valid(id) => Ok(Purchase::Unknown(question)),
        (None, None) => {
            Err(object.error(format!("{}, and there is no STRIPE_API_KEY to ask with", no_plan(named, &prices))))
        }
        (None, Some(_)) => Err(object.error(no_plan(named, &prices))),
    }
}

/// More of one thing than anybody buys; keeps the products of quantities in range.
const MOST: i64 = 1_000_000;

fn quantity(item: &Place<'_>) -> Result<i64, Unreadable> {
    match item.at("quantity").int()?.unwrap_or(1) {
        quantity if (0..=MOST).contains(&quantity) => Ok(quantity),
        _ => Err(item.at("quantity").error("is no possible quantity")),
    }
}

/// Why a purchase could not be told, and what to do about it.
fn no_plan(named: Option<&str>, prices: &[&str]) -> String {
    let named = named
        .map_or_else(|| "metadata.plan is absent".to_owned(), |named| format!("metadata.plan {named:?} is no plan"));
    let prices = if prices.is_empty() {
        "no line item is known".to_owned()
    } else {
        format!("no plan has a price of {prices:?}")
    };
    format!(
        "the plan of this one-time purchase is unknown: {named} and {prices}; add it to the plans and replay the event"
    )
}
