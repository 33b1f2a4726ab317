//! Small event bodies for the stories: the fields that count, in the shape of the newest generation.

use serde_json::{Value, json};

/// Midnight thirty days ago plus `days`: recent enough that periods run, and the same all through a test.
pub(crate) fn day(days: i64) -> i64 {
    now() / 86_400 * 86_400 + 86_400 * (days - 30)
}

pub(crate) fn now() -> i64 {
    billing::Clock::system().now().timestamp()
}

#[expect(clippy::needless_pass_by_value, reason = "literals are written in place")]
pub(crate) fn event(id: &str, kind: &str, created: i64, object: Value) -> Value {
    json!({
        "id": format!("evt_{id}"), "object": "event", "api_version": "2026-09-30.endive", "created": created,
        "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null}, "type": kind,
    })
}

pub(crate) fn changed(mut event: Value, before: Value) -> Value {
    event["data"]["previous_attributes"] = before;
    event
}

pub(crate) fn subscription(customer: &str, status: &str, price: &str, period_end: i64) -> Value {
    json!({
        "id": format!("sub_{customer}"), "object": "subscription", "customer": customer, "status": status,
        "created": day(0), "cancel_at_period_end": false, "cancel_at": null, "canceled_at": null, "metadata": {},
        "items": {"object": "list", "data": [{
            "id": "si_1", "object": "subscription_item", "quantity": 1, "current_period_end": period_end,
            "price": {"id": price, "object": "price", "product": "prod_1", "lookup_key": null},
        }]},
    })
}

pub(crate) fn invoice(id: &str, customer: &str, status: &str, amount: i64, created: i64) -> Value {
    let paid = if status == "paid" { amount } else { 0 };
    json!({
        "id": format!("in_{id}"), "object": "invoice", "customer": customer, "status": status, "currency": "usd",
        "billing_reason": "subscription_cycle", "created": created, "number": format!("N-{id}"), "attempt_count": 1,
        "next_payment_attempt": null, "hosted_invoice_url": "https://invoice.stripe.com/i/test",
        "total": amount, "amount_due": amount, "amount_paid": paid,
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": format!("sub_{customer}"), "metadata": {}}},
        "lines": {"object": "list", "has_more": false, "data": [{
            "id": "il_1", "object": "line_item", "amount": amount, "quantity": 1,
            "period": {"start": created, "end": created + 86_400 * 30},
            "parent": {"type": "subscription_item_details", "subscription_item_details": {"subscription": format!("sub_{customer}"), "proration": false}},
            "pricing": {"type": "price_details", "price_details": {"price": "price_pro", "product": "prod_1"}},
        }]},
    })
}

pub(crate) fn session(id: &str, workspace: &str, customer: Option<&str>, mode: &str, payment_status: &str) -> Value {
    json!({
        "id": format!("cs_{id}"), "object": "checkout.session", "mode": mode, "payment_status": payment_status,
        "status": "complete", "client_reference_id": workspace, "customer": customer, "amount_total": 1000,
        "currency": "usd", "payment_intent": format!("pi_{id}"), "metadata": {"plan": "credits10"},
    })
}

/// The purchase of a subscription, in the order in which it happens.
pub(crate) fn purchase(workspace: &str, customer: &str) -> Vec<Value> {
    let at = day(0);
    let end = day(60);
    let mut checkout = session(customer, workspace, Some(customer), "subscription", "paid");
    checkout["subscription"] = json!(format!("sub_{customer}"));
    let mut first = invoice(&format!("{customer}_1"), customer, "paid", 4900, at);
    first["billing_reason"] = json!("subscription_create");
    vec![
        event(&format!("{customer}_checkout"), "checkout.session.completed", at, checkout),
        event(
            &format!("{customer}_created"),
            "customer.subscription.created",
            at,
            subscription(customer, "incomplete", "price_pro", end),
        ),
        changed(
            event(
                &format!("{customer}_active"),
                "customer.subscription.updated",
                at,
                subscription(customer, "active", "price_pro", end),
            ),
            json!({"status": "incomplete"}),
        ),
        event(&format!("{customer}_paid"), "invoice.paid", at, first),
    ]
}
