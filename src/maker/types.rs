//! One sample of each type of event that has a reader, and of a few that have none.

use serde_json::{Value, json};

use super::{Invoice, Maker, SESSION_AMOUNT, Subscription, random_id, timed_id};

const DAY: i64 = 86_400;

/// The types there are samples of, with what they mean.
pub(crate) const TYPES: &[(&str, &str)] = &[
    ("checkout.session.completed", "a purchase of 10 credits is paid"),
    ("checkout.session.async_payment_succeeded", "a purchase that was waiting for its payment is paid"),
    ("checkout.session.async_payment_failed", "a purchase that was waiting for its payment has failed"),
    ("checkout.session.expired", "a checkout that nobody finished"),
    ("charge.refunded", "half of the purchase of 10 credits is refunded, as the charge tells it"),
    ("refund.created", "the same refund, told by itself"),
    ("refund.failed", "that refund has failed: the credits come back"),
    ("charge.dispute.created", "the bank takes the purchase back, and the credits go"),
    ("charge.dispute.closed", "the dispute is won: the credits come back"),
    ("customer.created", "a customer that names its workspace"),
    ("customer.updated", "a customer whose address changed"),
    ("customer.deleted", "a customer that is gone"),
    ("customer.subscription.created", "a new subscription to pro, active"),
    ("customer.subscription.updated", "the subscription will end with its period"),
    ("customer.subscription.deleted", "the subscription has ended"),
    ("customer.subscription.paused", "the subscription is paused"),
    ("customer.subscription.resumed", "the subscription runs again"),
    ("customer.subscription.trial_will_end", "Stripe's own trial ends in three days"),
    ("invoice.created", "a draft of the next period's invoice"),
    ("invoice.finalized", "that invoice, open"),
    ("invoice.paid", "a paid period"),
    ("invoice.payment_succeeded", "the same payment, told by its other name"),
    ("invoice.payment_failed", "the first attempt has failed; the next is in three days"),
    ("invoice.payment_action_required", "the bank wants the customer to confirm"),
    ("invoice.upcoming", "an invoice to come"),
    ("invoice.overdue", "an open invoice that is past its day"),
    ("invoice_payment.paid", "what paid an invoice"),
    ("invoice.voided", "an invoice that nobody has to pay"),
    ("product.created", "something to sell"),
    ("price.created", "what it costs"),
];

/// A sample of `kind` at `created`; `None` where there is none. Each paid session is another sale, and a refund or
/// dispute is of the last one.
pub(crate) fn sample_of(maker: &mut Maker, kind: &str, created: i64) -> Option<Value> {
    if !TYPES.iter().any(|(known, _)| *known == kind) {
        return None;
    }
    if let "checkout.session.completed" | "checkout.session.async_payment_succeeded" = kind {
        maker.sale = random_id("cs_test");
    }
    let maker = &*maker;
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
    let trialing = || {
        maker.subscription(&Subscription {
            status: "trialing",
            price: &maker.prices.pro,
            created: created - 4 * DAY,
            period_start: created - 4 * DAY,
            period_end: created + 3 * DAY,
            canceled_at: None,
            trial_end: Some(created + 3 * DAY),
        })
    };
    let invoice = |status: &'static str, attempt: i64, next_attempt: Option<i64>| {
        let (id, price) = (timed_id("in", created), &maker.prices.pro);
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
    let session = |id: &str, payment_status| maker.session(id, "payment", payment_status, created);
    let refund = |status: &str| {
        let name = maker.sale.trim_start_matches("cs_test_");
        maker.refund(&format!("re_{name}"), &maker.sale, SESSION_AMOUNT / 2, status, created - 60)
    };
    let mut previous = None;
    let object = match kind {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => session(&maker.sale, "paid"),
        "checkout.session.async_payment_failed" => session(&random_id("cs_test"), "unpaid"),
        "checkout.session.expired" => {
            let mut expired = session(&random_id("cs_test"), "unpaid");
            expired["status"] = json!("expired");
            expired
        }
        "charge.refunded" => {
            previous = Some(json!({"amount_refunded": 0}));
            maker.charge(&maker.sale, SESSION_AMOUNT / 2, created - DAY)
        }
        "refund.created" => refund("succeeded"),
        "refund.failed" => refund("failed"),
        "charge.dispute.created" => maker.dispute(&maker.sale, "needs_response", created),
        "charge.dispute.closed" => maker.dispute(&maker.sale, "won", created - DAY),
        "invoice_payment.paid" => maker.invoice_payment(&timed_id("in", created), 4900, created),
        "product.created" => json!({
            "id": "prod_sample", "object": "product", "name": "Sample", "active": true, "created": created,
            "default_price": null, "livemode": maker.livemode, "metadata": {},
        }),
        "price.created" => json!({
            "id": maker.prices.pro, "object": "price", "active": true, "created": created, "currency": "usd",
            "livemode": maker.livemode, "lookup_key": null, "metadata": {}, "nickname": "Pro", "product": "prod_sample",
            "recurring": {"interval": "month", "interval_count": 1}, "type": "recurring", "unit_amount": 4900,
        }),
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
        "customer.subscription.trial_will_end" => trialing(),
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
