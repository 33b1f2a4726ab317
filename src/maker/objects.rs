//! Stripe's objects, old and new shape.

use serde_json::{Value, json};

use super::Maker;

const DAY: i64 = 86_400;

/// What a subscription is to look like.
#[derive(Clone, Debug)]
pub(crate) struct Subscription<'a> {
    pub(crate) status: &'a str,
    pub(crate) price: &'a str,
    pub(crate) created: i64,
    pub(crate) period_start: i64,
    pub(crate) period_end: i64,
    /// When the customer asked for the end; `None` while it goes on.
    pub(crate) canceled_at: Option<i64>,
    pub(crate) trial_end: Option<i64>,
}

/// What an invoice is to look like.
#[derive(Clone, Debug)]
pub(crate) struct Invoice<'a> {
    pub(crate) id: &'a str,
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) price: &'a str,
    /// In cents.
    pub(crate) amount: i64,
    pub(crate) attempt: i64,
    pub(crate) next_attempt: Option<i64>,
    pub(crate) created: i64,
}

impl Maker {
    pub(crate) fn customer(&self, email: &str, created: i64) -> Value {
        json!({
            "id": self.customer_id, "object": "customer", "created": created, "currency": "usd", "delinquent": false,
            "email": email, "invoice_prefix": "ACME", "livemode": self.livemode,
            "metadata": {"workspace_id": self.workspace_id}, "name": "Sample customer", "preferred_locales": ["en"],
        })
    }

    pub(crate) fn subscription(&self, of: &Subscription<'_>) -> Value {
        let ended = matches!(of.status, "canceled" | "incomplete_expired");
        let ending = of.canceled_at.is_some() && !ended;
        let mut item = json!({
            "id": format!("si_{}", &self.subscription_id[4..]), "object": "subscription_item", "created": of.created,
            "metadata": {}, "quantity": 1, "subscription": self.subscription_id,
            "price": {
                "id": of.price, "object": "price", "active": true, "billing_scheme": "per_unit", "currency": "usd",
                "lookup_key": null, "product": "prod_sample", "recurring": {"interval": "month", "interval_count": 1},
                "type": "recurring", "unit_amount": 4900,
            },
        });
        let mut subscription = json!({
            "id": self.subscription_id, "object": "subscription", "billing_cycle_anchor": of.period_start,
            "cancel_at": if ending { json!(of.period_end) } else { Value::Null },
            "cancel_at_period_end": ending, "canceled_at": of.canceled_at,
            "collection_method": "charge_automatically", "created": of.created, "currency": "usd",
            "customer": self.customer_id, "ended_at": if ended { of.canceled_at.map_or(Value::Null, Value::from) } else { Value::Null },
            "latest_invoice": null, "livemode": self.livemode, "metadata": {"workspace_id": self.workspace_id},
            "pause_collection": null, "start_date": of.created, "status": of.status,
            "trial_end": of.trial_end, "trial_start": of.trial_end.map(|_| of.created),
        });
        let period = if self.is_old() { &mut subscription } else { &mut item };
        period["current_period_start"] = json!(of.period_start);
        period["current_period_end"] = json!(of.period_end);
        subscription["items"] = json!({"object": "list", "data": [item], "has_more": false, "total_count": 1});
        subscription
    }

    pub(crate) fn invoice(&self, of: &Invoice<'_>) -> Value {
        let paid = of.status == "paid";
        let mut line = json!({
            "id": format!("il_{}", of.id), "object": "line_item", "amount": of.amount, "currency": "usd",
            "description": "1 × sample plan", "invoice": of.id, "livemode": self.livemode, "metadata": {},
            "period": {"start": of.created, "end": of.created + 30 * DAY}, "quantity": 1,
        });
        let mut invoice = json!({
            "id": of.id, "object": "invoice", "amount_due": of.amount, "amount_paid": if paid { of.amount } else { 0 },
            "amount_remaining": if paid { 0 } else { of.amount }, "attempt_count": of.attempt, "attempted": of.attempt > 0,
            "auto_advance": !paid, "billing_reason": of.reason, "collection_method": "charge_automatically",
            "created": of.created, "currency": "usd", "customer": self.customer_id,
            "hosted_invoice_url": format!("https://invoice.stripe.com/i/{}", of.id), "livemode": self.livemode,
            "metadata": {}, "next_payment_attempt": of.next_attempt, "number": format!("SAMPLE-{}", &of.id[of.id.len() - 4..]),
            "period_end": of.created, "period_start": of.created - 30 * DAY, "status": of.status,
            "status_transitions": {
                "finalized_at": of.created, "marked_uncollectible_at": null,
                "paid_at": if paid { json!(of.created) } else { Value::Null }, "voided_at": null,
            },
            "subtotal": of.amount, "total": of.amount,
        });
        let metadata = json!({"workspace_id": self.workspace_id});
        if self.is_old() {
            line["type"] = json!("subscription");
            line["subscription"] = json!(self.subscription_id);
            line["proration"] = json!(false);
            line["price"] = json!({"id": of.price, "object": "price", "product": "prod_sample"});
            invoice["subscription"] = json!(self.subscription_id);
            invoice["subscription_details"] = json!({"metadata": metadata});
            invoice["paid"] = json!(paid);
        } else {
            line["parent"] = json!({
                "type": "subscription_item_details", "invoice_item_details": null,
                "subscription_item_details": {"proration": false, "subscription": self.subscription_id},
            });
            line["pricing"] =
                json!({"type": "price_details", "price_details": {"price": of.price, "product": "prod_sample"}});
            invoice["parent"] = json!({
                "type": "subscription_details", "quote_details": null,
                "subscription_details": {"metadata": metadata, "subscription": self.subscription_id},
            });
        }
        invoice["lines"] = json!({"object": "list", "data": [line], "has_more": false, "total_count": 1});
        invoice
    }

    /// A finished checkout. `mode` is `payment` (the 10 credits) or `subscription`.
    pub(crate) fn session(&self, id: &str, mode: &str, payment_status: &str, created: i64) -> Value {
        let subscription = mode == "subscription";
        let mut metadata = json!({"workspace_id": self.workspace_id});
        if !subscription {
            metadata["plan"] = json!("credits10");
        }
        json!({
            "id": id, "object": "checkout.session", "amount_subtotal": SESSION_AMOUNT, "amount_total": SESSION_AMOUNT,
            "client_reference_id": self.workspace_id, "created": created, "currency": "usd", "customer": self.customer_id,
            "expires_at": created + DAY, "livemode": self.livemode, "metadata": metadata, "mode": mode,
            "payment_intent": if subscription { Value::Null } else { json!(format!("pi_{}", name_of(id))) },
            "payment_status": payment_status, "status": "complete",
            "subscription": if subscription { json!(self.subscription_id) } else { Value::Null }, "url": null,
        })
    }

    /// The charge behind a checkout session, of which so much has been refunded.
    pub(crate) fn charge(&self, session_id: &str, amount_refunded: i64, created: i64) -> Value {
        let name = name_of(session_id);
        json!({
            "id": format!("ch_{name}"), "object": "charge", "amount": SESSION_AMOUNT, "amount_captured": SESSION_AMOUNT,
            "amount_refunded": amount_refunded, "captured": true, "created": created, "currency": "usd",
            "customer": self.customer_id, "disputed": false, "livemode": self.livemode, "metadata": {}, "paid": true,
            "payment_intent": format!("pi_{name}"), "refunded": amount_refunded >= SESSION_AMOUNT, "status": "succeeded",
        })
    }

    /// A refund of a checkout session's payment.
    #[expect(clippy::unused_self, reason = "one of a family; a refund names no customer")]
    pub(crate) fn refund(&self, id: &str, session_id: &str, amount: i64, status: &str, created: i64) -> Value {
        let name = name_of(session_id);
        json!({
            "id": id, "object": "refund", "amount": amount, "balance_transaction": null, "charge": format!("ch_{name}"),
            "created": created, "currency": "usd", "metadata": {}, "payment_intent": format!("pi_{name}"),
            "reason": "requested_by_customer", "receipt_number": null, "status": status,
        })
    }

    /// A dispute about a checkout session's payment.
    pub(crate) fn dispute(&self, session_id: &str, status: &str, created: i64) -> Value {
        let name = name_of(session_id);
        json!({
            "id": format!("dp_{name}"), "object": "dispute", "amount": SESSION_AMOUNT, "balance_transactions": [],
            "charge": format!("ch_{name}"), "created": created, "currency": "usd", "evidence_details": {"submission_count": 0},
            "is_charge_refundable": false, "livemode": self.livemode, "metadata": {}, "payment_intent": format!("pi_{name}"),
            "reason": "fraudulent", "status": status,
        })
    }

    /// The link between an invoice and what paid it, which since basil only an event of its own tells.
    pub(crate) fn invoice_payment(&self, invoice_id: &str, amount: i64, created: i64) -> Value {
        let name = name_of(invoice_id);
        json!({
            "id": format!("inpay_{name}"), "object": "invoice_payment", "amount_paid": amount, "amount_requested": amount,
            "created": created, "currency": "usd", "invoice": invoice_id, "is_default": true, "livemode": self.livemode,
            "payment": {"type": "payment_intent", "payment_intent": format!("pi_{name}")}, "status": "paid",
            "status_transitions": {"canceled_at": null, "paid_at": created},
        })
    }
}

/// What a sample session costs, in cents.
pub(crate) const SESSION_AMOUNT: i64 = 1000;

/// What comes after the prefix.
fn name_of(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, name)| name)
}
