//! `charge.refunded`, `refund.*`, `charge.dispute.*`, `invoice_payment.paid`: what became of the money after the sale.
//!
//! All of them are read into the payment they are about: the payment intent, or the charge where there is none. What
//! they take back of the credits that the sale granted is computed by [`crate::rules::settle`].

use serde_json::json;

use super::{Copy, Event};
use crate::rules::link::sale_owner;
use crate::rules::settle::{DISPUTE_FIELD, FIRST_FIELD, OVER_FIELD, REFUND_FIELD, REFUNDED_FIELD};
use crate::rules::{Kind, Note, Object, Reading};
use crate::stripe::Unreadable;
use crate::stripe::path::Place;

/// The payment that an object names: by its intent, else by its charge.
pub(super) fn payment_id<'a>(object: &Place<'a>) -> Result<Option<&'a str>, Unreadable> {
    for path in ["payment_intent", "charge.payment_intent", "charge"] {
        if let Some(id) = object.at(path).id()? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// What every event of a payment says of it: that it was heard of.
fn heard_of(event: &Event<'_>, payment: &str) -> Object {
    let mut object = Object::new(Kind::Payment, payment);
    object.write("seen", json!(event.created), &event.evidence_key(event.created));
    object
}

/// The payment of a sale: a checkout session or an invoice.
pub(super) fn paid_for(event: &Event<'_>, payment: &str, sale: &str) -> Object {
    let mut object = heard_of(event, payment);
    object.owner = Some(sale_owner(sale));
    object
}

pub(super) fn charge(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let object = &event.object;
    let id = object.at("id").required_id()?;
    let payment = object.at("payment_intent").id()?.unwrap_or(id);
    let mut copy = Copy { event, terminal: false, object: heard_of(event, payment) };
    copy.write("charge", json!(id), false);
    copy.text("currency")?;
    copy.amount("amount")?;
    let refunded = object.at("amount_refunded").natural()?.unwrap_or(0);
    if refunded > 0 {
        // As of when the charge was so, which for a fetched one is later than the event: it counts refunds until then.
        let level = json!({"amount": refunded, "at": event.told_at, "charge": id});
        copy.write(&format!("{REFUNDED_FIELD}{refunded}"), level, true);
    }
    let mut charge = copy.object;
    if let Some(invoice) = object.at("invoice").id()? {
        charge.merge(paid_for(event, payment, invoice));
    }
    let owner = event.owner(None)?;
    let mut notes = Vec::new();
    // Of a guest's charge nobody can tell whose history it belongs in; what it takes back stands in the ledger's.
    if let (1.., Some(owner)) = (refunded, owner.as_deref()) {
        let amount = object.at("amount").amount()?;
        notes.push(Note::new(
            "payment_refunded",
            format!("{id}:{refunded}"),
            Some(owner),
            json!({"charge": id, "amount_refunded": refunded, "amount": amount, "currency": charge.text("currency")}),
        ));
    }
    let customer = owner.as_deref().map(|owner| event.customer(owner, None));
    Ok(Reading::Facts { objects: customer.into_iter().chain([charge]).collect(), notes })
}

pub(super) fn refund(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let status = match event.kind {
        // The event's type says it, whatever the snapshot inside does.
        "refund.failed" => Some("failed"),
        _ => event.object.at("status").text()?,
    };
    let reversed = matches!(status, Some("failed" | "canceled"));
    taken_back(event, REFUND_FIELD, status, reversed, reversed)
}

pub(super) fn dispute(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let status = event.object.at("status").text()?;
    let over = matches!(status, Some("won" | "lost" | "warning_closed" | "prevented"));
    taken_back(event, DISPUTE_FIELD, status, over, matches!(status, Some("won" | "warning_closed")))
}

/// A refund or a dispute as one field of the payment; `reversed` says that it has given back what it took.
fn taken_back(
    event: &Event<'_>,
    prefix: &str,
    status: Option<&str>,
    terminal: bool,
    reversed: bool,
) -> Result<Reading, Unreadable> {
    let object = &event.object;
    let id = object.at("id").required_id()?;
    let payment = payment_id(object)?
        .ok_or_else(|| object.error("names neither a payment_intent nor a charge, so nobody can tell what it is of"))?;
    let amount = object.at("amount").natural()?.unwrap_or(0);
    let created = object.at("created").seconds()?.unwrap_or(event.created);
    let field = format!("{prefix}{id}");
    let mut copy = Copy { event, terminal, object: heard_of(event, payment) };
    if let Some(charge) = object.at("charge").id()? {
        copy.write("charge", json!(charge), false);
    }
    copy.write(&field, json!({"amount": amount, "created": created, "status": status, "reversed": reversed}), true);
    if reversed {
        copy.object.write(
            format!("{OVER_FIELD}{field}"),
            json!({"event": &*event.id, "at": event.told_at}),
            &event.evidence_key(-event.told_at),
        );
    }
    // The negative time makes the first telling the greatest.
    copy.object.write(
        format!("{FIRST_FIELD}{field}"),
        json!({"event": &*event.id, "at": event.created}),
        &event.evidence_key(-event.created),
    );
    Ok(Reading::Facts { objects: vec![copy.object], notes: Vec::new() })
}

/// Since basil the only event that says which invoice a payment was for.
pub(super) fn of_invoice(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let object = &event.object;
    let invoice = object.at("invoice").required_id()?;
    let Some(payment) = payment_id(&object.at("payment"))? else {
        return Ok(Reading::Ignored("paid by other means than a payment intent or a charge".to_owned()));
    };
    Ok(Reading::Facts { objects: vec![paid_for(event, payment, invoice)], notes: Vec::new() })
}
