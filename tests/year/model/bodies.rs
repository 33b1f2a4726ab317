//! What Stripe sends, in the shapes of five generations of its API.

use serde_json::{Map, Value, json};

use super::account::{Account, Generation, price_of};
use super::things::{Dispute, Invoice, Refund, Sale, Session, Subscription};

fn metadata(workspace: Option<&str>) -> Value {
    workspace.map_or_else(|| json!({}), |workspace| json!({"workspace_id": workspace}))
}

pub(crate) fn event(account: &Account, id: &str, kind: &str, created: i64, object: &Value, previous: Value) -> String {
    let mut data = json!({"object": object});
    if !previous.is_null() {
        data["previous_attributes"] = previous;
    }
    json!({
        "id": id, "object": "event", "api_version": account.generation.version(), "created": created, "livemode": false,
        "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}, "type": kind, "data": data,
    })
    .to_string()
}

/// The members that differ, as they were before: what `previous_attributes` holds.
pub(crate) fn previous_of(before: &Value, now: &Value) -> Value {
    let mut previous = Map::new();
    if let (Some(before), Some(now)) = (before.as_object(), now.as_object()) {
        for (name, value) in now {
            let was = before.get(name).unwrap_or(&Value::Null);
            if was == value {
                continue;
            }
            let told = if value["object"] == "list" { json!({"data": was["data"]}) } else { was.clone() };
            previous.insert(name.clone(), told);
        }
    }
    Value::Object(previous)
}

pub(crate) fn customer(id: &str, workspace: Option<&str>, email: &str, deleted: bool) -> Value {
    if deleted {
        return json!({"id": id, "object": "customer", "email": email, "deleted": true, "livemode": false});
    }
    json!({
        "id": id, "object": "customer", "email": email, "name": "A Customer", "balance": 0, "livemode": false,
        "preferred_locales": ["en"], "metadata": metadata(workspace),
    })
}

pub(crate) fn subscription(account: &Account, workspace: &str, customer: &str, of: &Subscription) -> Value {
    let old = account.generation == Generation::A;
    let items: Vec<Value> = of
        .items
        .iter()
        .map(|(price, quantity)| {
            let mut item = json!({
                "id": format!("si_{}_{price}", of.id), "object": "subscription_item", "quantity": quantity,
                "subscription": of.id,
                "price": {"id": price, "object": "price", "lookup_key": null, "type": "recurring", "unit_amount": price_of(price)},
            });
            if old {
                item["plan"] = json!({"id": price, "object": "plan"});
            } else {
                item["current_period_start"] = json!(of.period_start);
                item["current_period_end"] = json!(of.period_end);
            }
            item
        })
        .collect();
    let mut body = json!({
        "id": of.id, "object": "subscription", "customer": customer, "status": of.status.as_str(), "created": of.created,
        "start_date": of.created, "billing_cycle_anchor": of.anchor, "cancel_at_period_end": of.flag,
        "cancel_at": of.cancel_at, "canceled_at": of.canceled_at, "ended_at": of.ended_at, "trial_end": of.trial_end,
        "latest_invoice": of.latest_invoice, "currency": "eur", "collection_method": "charge_automatically",
        "livemode": false, "metadata": metadata(of.names_workspace.then_some(workspace)),
        "pause_collection": if of.collection_paused { json!({"behavior": "void", "resumes_at": null}) } else { Value::Null },
        "items": {
            "object": "list", "has_more": false, "total_count": items.len(), "data": items,
            "url": format!("/v1/subscription_items?subscription={}", of.id),
        },
    });
    if old {
        body["current_period_start"] = json!(of.period_start);
        body["current_period_end"] = json!(of.period_end);
        body["plan"] = json!({"id": of.items[0].0, "object": "plan", "active": true});
        body["discount"] = Value::Null;
    } else {
        body["discounts"] = json!([]);
        body["billing_mode"] = json!({"type": if account.flexible { "flexible" } else { "classic" }});
    }
    if account.generation >= Generation::C {
        body["customer_account"] = Value::Null;
    }
    if account.generation >= Generation::E {
        body["status_details"] = Value::Null;
    }
    body
}

pub(crate) fn invoice(account: &Account, workspace: &str, customer: &str, of: &Invoice) -> Value {
    let total = of.total();
    let due = of.due();
    let mut body = json!({
        "id": of.id, "object": "invoice", "customer": customer, "status": of.status, "created": of.created,
        "billing_reason": of.reason, "attempt_count": of.attempts, "attempted": of.attempts > 0,
        "next_payment_attempt": of.next_attempt, "currency": "eur", "number": format!("N-{}", of.id),
        "hosted_invoice_url": format!("https://invoice.example/{}", of.id), "total": total, "subtotal": total,
        "amount_due": due, "amount_paid": if of.status == "paid" { due } else { 0 },
        "amount_remaining": if of.status == "paid" { 0 } else { due }, "starting_balance": -of.from_balance,
        // The window that the invoice looks back on, not the period that it pays for.
        "period_start": of.created - 1, "period_end": of.created,
        "status_transitions": {"finalized_at": of.finalized_at, "paid_at": of.paid_at, "voided_at": null},
        "metadata": {}, "livemode": false,
    });
    let lines: Vec<Value> = (0..of.lines.len()).map(|index| line(account, of, index)).collect();
    body["lines"] = json!({"object": "list", "has_more": false, "total_count": lines.len(), "data": lines});
    let claim = metadata(of.names_workspace.then_some(workspace));
    if account.generation == Generation::A {
        body["subscription"] = json!(of.subscription);
        body["subscription_details"] = json!({"metadata": claim});
        body["paid"] = json!(of.status == "paid");
        body["paid_out_of_band"] = json!(of.out_of_band);
        let charged = of.status != "draft" && due > 0 && !of.out_of_band;
        body["payment_intent"] = if charged { json!(of.payment()) } else { Value::Null };
        body["charge"] = if charged && of.status == "paid" { json!(of.charge()) } else { Value::Null };
    } else {
        body["parent"] = json!({
            "type": "subscription_details", "quote_details": null,
            "subscription_details": {"subscription": of.subscription, "metadata": claim},
        });
        body["amount_overpaid"] = json!(0);
    }
    if account.generation >= Generation::E {
        body["status_details"] = Value::Null;
        body["amount_paid_off_stripe"] = json!(if of.out_of_band { due } else { 0 });
    }
    body
}

fn line(account: &Account, invoice: &Invoice, index: usize) -> Value {
    let of = &invoice.lines[index];
    let item = format!("si_{}_{}", invoice.subscription, of.price);
    let mut body = json!({
        "id": format!("il_{}_{index}", invoice.id), "object": "line_item", "amount": of.amount, "currency": "eur",
        "quantity": of.quantity, "period": {"start": of.start, "end": of.end}, "metadata": {},
    });
    if account.generation == Generation::A {
        body["type"] = json!(if of.proration { "invoiceitem" } else { "subscription" });
        body["subscription"] = json!(invoice.subscription);
        body["subscription_item"] = json!(item);
        body["proration"] = json!(of.proration);
        body["price"] = json!({"id": of.price, "object": "price", "lookup_key": null});
        body["plan"] = json!({"id": of.price, "object": "plan"});
        return body;
    }
    if account.generation >= Generation::D {
        body["quantity_decimal"] = json!(of.quantity.to_string());
    }
    body["pricing"] = json!({
        "type": "price_details", "unit_amount_decimal": price_of(of.price).to_string(),
        "price_details": {"price": of.price, "product": "prod_1"},
    });
    let details = json!({
        "subscription": invoice.subscription, "subscription_item": item, "proration": of.proration, "invoice_item": null,
    });
    // A proration is an invoice item in classic billing and a line of the subscription's in flexible billing.
    let of_item = of.proration && !account.flexible;
    body["parent"] = json!({
        "type": if of_item { "invoice_item_details" } else { "subscription_item_details" },
        "invoice_item_details": if of_item { details.clone() } else { Value::Null },
        "subscription_item_details": if of_item { Value::Null } else { details },
    });
    body
}

pub(crate) fn session(account: &Account, of: &Session) -> Value {
    let mut body = json!({
        "id": of.id, "object": "checkout.session", "customer": of.customer, "mode": of.mode, "status": of.status,
        "payment_status": of.payment_status, "client_reference_id": of.reference,
        "subscription": of.subscription, "invoice": null, "currency": "eur", "amount_total": of.amount,
        "payment_intent": of.payment, "created": of.created, "expires_at": of.created + 86_400, "livemode": false,
    });
    let mut said = Map::new();
    if let Some((plan, price, quantity)) = of.bought {
        if of.by_line_items {
            let item = json!({
                "id": format!("li_{}", of.id), "object": "item", "quantity": quantity, "amount_total": of.amount,
                "price": {"id": price, "object": "price", "lookup_key": null, "type": "one_time"},
            });
            body["line_items"] = json!({"object": "list", "has_more": false, "data": [item]});
        } else {
            said.insert("plan".to_owned(), json!(plan));
            said.insert("quantity".to_owned(), json!(quantity.to_string()));
        }
    }
    body["metadata"] = Value::Object(said);
    if account.generation == Generation::A {
        body["shipping_details"] = Value::Null;
    } else {
        body["collected_information"] = json!({"shipping_details": null});
    }
    body
}

/// `charge.refunded`.
pub(crate) fn charge(account: &Account, customer: Option<&str>, of: &Sale) -> Value {
    let refunded = of.refunded();
    let mut body = json!({
        "id": of.charge, "object": "charge", "customer": customer, "amount": of.total, "amount_refunded": refunded,
        "refunded": refunded == of.total, "payment_intent": of.payment, "currency": "eur", "status": "succeeded",
        "livemode": false,
    });
    if account.generation == Generation::A {
        body["invoice"] = json!(of.invoice);
    }
    body
}

pub(crate) fn refund(sale: &Sale, of: &Refund) -> Value {
    json!({
        "id": of.id, "object": "refund", "amount": of.amount, "charge": sale.charge, "payment_intent": sale.payment,
        "status": of.status, "created": of.created, "currency": "eur", "reason": "requested_by_customer",
    })
}

pub(crate) fn dispute(sale: &Sale, of: &Dispute) -> Value {
    json!({
        "id": of.id, "object": "dispute", "amount": of.amount, "charge": sale.charge, "payment_intent": sale.payment,
        "status": of.status, "created": of.created, "currency": "eur", "reason": "fraudulent", "livemode": false,
    })
}

/// `invoice_payment.paid`, since basil the only event that says which payment an invoice was paid with.
pub(crate) fn invoice_payment(of: &Invoice) -> Value {
    json!({
        "id": format!("inpay_{}", of.id), "object": "invoice_payment", "invoice": of.id, "status": "paid",
        "amount_paid": of.due(), "is_default": true, "livemode": false,
        "payment": {"type": "payment_intent", "payment_intent": of.payment()},
    })
}
