//! One sample of each type of event that has a reader, and of a few that have none.

use serde_json::{Value, json};

use super::{Invoice, Maker, Subscription, random_id};

const DAY: i64 = 86_400;

/// The types there are samples of, with what they mean.
pub(crate) const TYPES: &[(&str, &str)] = &[
    ("checkout.session.completed", "a purchase of 10 credits is paid"),
    ("checkout.session.async_payment_succeeded", "a purchase that was waiting for its payment is paid"),
    ("checkout.session.async_payment_failed", "a purchase that was waiting for its payment has failed"),
    ("customer.created", "a customer that names its workspace"),
    ("customer.updated", "a customer whose address changed"),
    ("customer.deleted", "a customer that is gone"),
    ("customer.subscription.created", "a new subscription to pro, active"),
    ("customer.subscription.updated", "the subscription will end with its period"),
    ("customer.subscription.deleted", "the subscription has ended"),
    ("customer.subscription.paused", "the subscription is paused"),
    ("customer.subscription.resumed", "the subscription runs again"),
    ("customer.subscription.trial_will_end", "Stripe's own trial ends in three days (no effect yet)"),
    ("invoice.created", "a draft of the next period's invoice"),
    ("invoice.finalized", "that invoice, open"),
    ("invoice.paid", "a paid period"),
    ("invoice.payment_succeeded", "the same payment, told by its other name"),
    ("invoice.payment_failed", "the first attempt has failed; the next is in three days"),
    ("invoice.payment_action_required", "the bank wants the customer to confirm"),
    ("invoice.upcoming", "an invoice to come (no effect)"),
    ("invoice.voided", "an invoice that nobody has to pay"),
];

/// A sample of `kind` at `created`; `None` where there is none.
pub(crate) fn sample_of(maker: &Maker, kind: &str, created: i64) -> Option<Value> {
    if !TYPES.iter().any(|(known, _)| *known == kind) {
        return None;
    }
    let subscription = |status: &'static str, canceled_at: Option<i64>| {
        maker.subscription(&Subscription {
            status,
            price: &maker.prices.pro,
            created: created - DAY,
            period_start: created - DAY,
            period_end: created + 29 * DAY,
            canceled_at,
            trial_end: None,
        })
    };
    let invoice = |status: &'static str, attempt: i64, next_attempt: Option<i64>| {
        let (id, price) = (random_id("in"), &maker.prices.pro);
        maker.invoice(&Invoice {
            id: &id,
            status,
            reason: "subscription_cycle",
            price,
            amount: 4900,
            attempt,
            next_attempt,
            created,
        })
    };
    let session = |payment_status: &str| maker.session(&random_id("cs_test"), "payment", payment_status, created);
    let mut previous = None;
    let object = match kind {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => session("paid"),
        "checkout.session.async_payment_failed" => session("unpaid"),
        "customer.created" | "customer.deleted" => maker.customer("customer@example.com", created),
        "customer.updated" => {
            previous = Some(json!({"email": "old@example.com"}));
            maker.customer("customer@example.com", created - DAY)
        }
        "customer.subscription.updated" => {
            previous = Some(json!({"cancel_at_period_end": false, "cancel_at": null, "canceled_at": null}));
            subscription("active", Some(created))
        }
        "customer.subscription.deleted" => subscription("canceled", Some(created)),
        "customer.subscription.paused" => subscription("paused", None),
        "customer.subscription.trial_will_end" => subscription("trialing", None),
        kind if kind.starts_with("customer.subscription.") => subscription("active", None),
        "invoice.created" => invoice("draft", 0, Some(created + 3600)),
        "invoice.finalized" => invoice("open", 0, Some(created + 3600)),
        "invoice.payment_failed" => invoice("open", 1, Some(created + 3 * DAY)),
        "invoice.payment_action_required" => invoice("open", 1, None),
        "invoice.voided" => invoice("void", 1, None),
        "invoice.upcoming" => {
            let mut upcoming = invoice("draft", 0, Some(created + 3 * DAY));
            upcoming.as_object_mut()?.remove("id");
            upcoming
        }
        _ => invoice("paid", 1, None),
    };
    Some(maker.event(kind, created, object, previous))
}
