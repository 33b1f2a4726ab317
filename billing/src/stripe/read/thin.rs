//! Thin events (`v2.core.event`): they say that something happened to an object, and not what. The object is fetched
//! and read as if the event had carried it, with the start of the GET as the time at which it was so.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::scope::in_scope;
use super::{Answer, Answers, Event, reader_of, valid};
use crate::plans::Catalogue;
use crate::rules::link::{account_of, sale_owner, split};
use crate::rules::{Kind, Object, Question, Reading};
use crate::stripe::Unreadable;
use crate::stripe::json::Json;
use crate::stripe::path::Place;

/// Stands for the event's id in the keys of what was fetched without one.
pub const REFRESH: &str = "refresh";

pub(super) fn is_thin(body: Json<'_>) -> bool {
    body.get("object").and_then(Json::as_str) == Some("v2.core.event")
}

/// When an event happened; a thin one says it in words.
pub fn created_of<'a>(body: impl Into<Json<'a>>) -> Option<DateTime<Utc>> {
    let body = body.into();
    let created = body.get("created")?;
    match created.as_str() {
        Some(text) if is_thin(body) => {
            DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc)).filter(|at| at.timestamp() >= 0)
        }
        _ => DateTime::from_timestamp(created.as_i64()?, 0),
    }
}

/// Where an object of Stripe's is to be had; `kind` is Stripe's own word for what it is.
fn path_of(kind: &str, id: &str) -> Option<String> {
    let family = match kind {
        "checkout.session" => "checkout/sessions",
        "customer" => "customers",
        "subscription" => "subscriptions",
        "invoice" => "invoices",
        "invoice_payment" => "invoice_payments",
        "charge" => "charges",
        "refund" => "refunds",
        "dispute" => "disputes",
        "payment_intent" => "payment_intents",
        "price" => "prices",
        "plan" => "plans",
        "product" => "products",
        "coupon" => "coupons",
        "promotion_code" => "promotion_codes",
        _ => return None,
    };
    valid(id).then(|| format!("/{family}/{id}"))
}

pub(super) fn read(body: Json<'_>, catalogue: &Catalogue, answers: &Answers) -> Result<Reading, Unreadable> {
    let root = Place::root(body, "event");
    let id = root.at("id").required_id()?;
    let named = root.at("type").required_id()?;
    let ignored = |reason: &str| Ok(Reading::Ignored(reason.to_owned()));
    let Some((kind, reader)) = named.strip_prefix("v1.").and_then(|kind| Some((kind, reader_of(kind)?))) else {
        return ignored("no reader for this type of thin event");
    };
    if !answers.can_ask {
        return ignored("a thin event carries no state, and there is no STRIPE_API_KEY to fetch it with");
    }
    let created = created_of(body).ok_or_else(|| root.at("created").error("is no time in RFC 3339"))?.timestamp();
    let related = root.at("related_object");
    let (of, object_id) = (related.at("type").required_id()?, related.at("id").required_id()?);
    let path = path_of(of, object_id)
        .ok_or_else(|| related.error(format!("is a {of} named {object_id}, and nobody knows where to fetch it")))?;
    let question = Question::new(path);
    let Some(answer) = answers.to(&question) else { return Ok(Reading::Ask(question)) };
    // What is deleted cannot be fetched; that it is gone is all there is to say.
    let gone = json!({"id": object_id, "object": of});
    let object = match &answer.value {
        Value::Null if kind.ends_with(".deleted") => &gone,
        Value::Null => return ignored("its object is gone"),
        object => object,
    };
    // It was asked for after it had happened, whatever the clocks say.
    reader(&event(id, kind, created, answer.asked_at.max(created), object, catalogue, answers))
}

/// What to ask of an object about which only Stripe knows more, by the id it has here; `None` where there is nothing to
/// ask. Of a payment that is what it was for.
pub fn question_about(kind: Kind, id: &str) -> Option<Question> {
    let (scope, id) = split(id);
    let path = match kind {
        Kind::Payment if valid(id) && id.starts_with("pi_") => {
            format!("/invoice_payments?payment%5Btype%5D=payment_intent&payment%5Bpayment_intent%5D={id}&limit=100")
        }
        Kind::Payment => return None,
        kind => path_of(kind.as_str(), id)?,
    };
    Some(Question { account: account_of(scope).map(ToOwned::to_owned), ..Question::new(path) })
}

/// What came of an answer to [`question_about`].
#[derive(Debug)]
pub enum Fetched {
    /// The object's facts alone.
    Objects(Vec<Object>),
    /// It holds only a part of what belongs to the object.
    Asks(Question),
}

/// Reads the answer to [`question_about`], with what was asked beside it so far.
///
/// # Errors
/// As for an event.
pub fn read_fetched(
    kind: Kind,
    id: &str,
    answer: &Answer,
    catalogue: &Catalogue,
    beside: &Answers,
) -> Result<Fetched, Unreadable> {
    let (scope, id) = split(id);
    let objects = if kind == Kind::Payment {
        sold(id, answer)?
    } else {
        match told_of(kind, answer, catalogue, beside)? {
            Fetched::Objects(objects) => objects,
            Fetched::Asks(question) => {
                let account = account_of(scope).map(ToOwned::to_owned);
                return Ok(Fetched::Asks(Question { account, ..question }));
            }
        }
    };
    Ok(Fetched::Objects(objects.into_iter().map(|object| in_scope(object, scope)).collect()))
}

/// The payment with the invoice it paid.
fn sold(id: &str, answer: &Answer) -> Result<Vec<Object>, Unreadable> {
    let mut payments = Vec::new();
    for payment in Place::root(&answer.value, "invoice_payments").list()? {
        if let Some(invoice) = payment.at("invoice").id()? {
            let mut object = Object::new(Kind::Payment, id);
            object.owner = Some(sale_owner(invoice));
            payments.push(object);
        }
    }
    Ok(payments)
}

fn told_of(kind: Kind, answer: &Answer, catalogue: &Catalogue, beside: &Answers) -> Result<Fetched, Unreadable> {
    let nothing = || Ok(Fetched::Objects(Vec::new()));
    let named = match kind {
        Kind::Customer => "customer.updated",
        Kind::Subscription => "customer.subscription.updated",
        Kind::Invoice => "invoice.updated",
        Kind::CheckoutSession => "checkout.session.completed",
        Kind::Price => "price.updated",
        Kind::Plan => "plan.updated",
        Kind::Product => "product.updated",
        Kind::Coupon => "coupon.updated",
        Kind::PromotionCode => "promotion_code.updated",
        Kind::Payment => return nothing(),
    };
    let Some(reader) = reader_of(named) else { return nothing() };
    let asked_at = answer.asked_at;
    match reader(&event(REFRESH, named, asked_at, asked_at, &answer.value, catalogue, beside))? {
        // What follows from it, such as a customer who was seen, was told by events.
        Reading::Facts { objects, .. } => {
            Ok(Fetched::Objects(objects.into_iter().filter(|object| object.kind == kind).collect()))
        }
        Reading::Ask(question) => Ok(Fetched::Asks(question)),
        Reading::Ignored(_) => nothing(),
    }
}

fn event<'a>(
    id: &'a str,
    kind: &'a str,
    created: i64,
    told_at: i64,
    object: &'a Value,
    catalogue: &'a Catalogue,
    answers: &'a Answers,
) -> Event<'a> {
    Event {
        id: id.into(),
        kind,
        created,
        told_at,
        fetched: true,
        object: Place::root(object, "object"),
        previous: Place::root(&Value::Null, "previous"),
        catalogue,
        answers,
    }
}
