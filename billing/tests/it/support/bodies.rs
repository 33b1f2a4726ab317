//! Event bodies as Stripe sends them, in the shapes of five generations, written from its public field tables.

use serde_json::{Map, Value, json};

/// 2026-01-01T00:00:00Z, where the stories begin.
pub(crate) const START: i64 = 1_767_225_600;
pub(crate) const DAY: i64 = 86_400;
/// A month's length in the stories.
pub(crate) const MONTH: i64 = 30 * DAY;
pub(crate) const HOBBY: &str = "price_hobby";
pub(crate) const PRO: &str = "price_pro";
pub(crate) const CREDITS: &str = "price_credits10";

/// Where Stripe puts the fields that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Generation {
    /// 2024-06-20 and before.
    A,
    /// 2025-03-31.basil.
    B,
    /// 2025-09-30.clover.
    C,
    /// 2026-03-25.dahlia.
    D,
    /// 2026-09-30.endive.
    E,
}

impl Generation {
    pub(crate) const ALL: [Self; 5] = [Self::A, Self::B, Self::C, Self::D, Self::E];

    fn version(self) -> &'static str {
        match self {
            Self::A => "2024-06-20",
            Self::B => "2025-03-31.basil",
            Self::C => "2025-09-30.clover",
            Self::D => "2026-03-25.dahlia",
            Self::E => "2026-09-30.endive",
        }
    }
}

/// An event around an object.
pub(crate) fn event(generation: Generation, id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": generation.version(), "created": created, "livemode": false,
        "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}, "type": kind,
        "data": {"object": object},
    })
}

/// The same with `data.previous_attributes`.
pub(crate) fn changed(mut event: Value, previous: Value) -> Value {
    event["data"]["previous_attributes"] = previous;
    event
}

/// A subscription at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub id: &'static str,
    pub customer: &'static str,
    pub status: &'static str,
    pub created: i64,
    /// Price and quantity.
    pub items: Vec<(&'static str, i64)>,
    pub period_end: i64,
    pub cancel_at_period_end: bool,
    pub cancel_at: Option<i64>,
    pub canceled_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub trial_end: Option<i64>,
    pub workspace: Option<&'static str>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            id: "sub_1",
            customer: "cus_1",
            status: "active",
            created: START,
            items: vec![(HOBBY, 1)],
            period_end: START + MONTH,
            cancel_at_period_end: false,
            cancel_at: None,
            canceled_at: None,
            ended_at: None,
            trial_end: None,
            workspace: None,
        }
    }
}

impl Subscription {
    pub(crate) fn body(&self, generation: Generation) -> Value {
        let mut body = json!({
            "id": self.id, "object": "subscription", "customer": self.customer, "status": self.status,
            "created": self.created, "start_date": self.created, "cancel_at_period_end": self.cancel_at_period_end,
            "cancel_at": self.cancel_at, "canceled_at": self.canceled_at, "ended_at": self.ended_at,
            "trial_end": self.trial_end, "latest_invoice": "in_latest", "currency": "eur",
            "collection_method": "charge_automatically", "livemode": false, "metadata": metadata(self.workspace),
        });
        let items: Vec<Value> =
            self.items.iter().map(|(price, quantity)| self.item(generation, price, *quantity)).collect();
        body["items"] = json!({
            "object": "list", "has_more": false, "total_count": items.len(), "data": items,
            "url": format!("/v1/subscription_items?subscription={}", self.id),
        });
        if generation == Generation::A {
            body["current_period_start"] = json!(self.period_end - MONTH);
            body["current_period_end"] = json!(self.period_end);
            body["plan"] = json!({"id": self.items[0].0, "object": "plan", "active": true});
            body["discount"] = Value::Null;
        } else {
            body["discounts"] = json!([]);
            body["customer_account"] = Value::Null;
            body["billing_mode"] = json!({"type": if generation == Generation::B { "classic" } else { "flexible" }});
        }
        if generation >= Generation::E {
            body["status_details"] = if self.status == "paused" {
                json!({"paused": {"subscription": {"type": "trial_end_without_payment_method"}}})
            } else {
                Value::Null
            };
        }
        body
    }

    fn item(&self, generation: Generation, price: &str, quantity: i64) -> Value {
        let mut item = json!({
            "id": format!("si_{price}"), "object": "subscription_item", "quantity": quantity, "subscription": self.id,
            "price": {"id": price, "object": "price", "lookup_key": null, "type": "recurring", "unit_amount": 900},
        });
        if generation == Generation::A {
            item["plan"] = json!({"id": price, "object": "plan"});
        } else {
            item["current_period_start"] = json!(self.period_end - MONTH);
            item["current_period_end"] = json!(self.period_end);
        }
        item
    }
}

/// An invoice at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Invoice {
    pub id: &'static str,
    pub customer: &'static str,
    pub subscription: Option<&'static str>,
    pub workspace: Option<&'static str>,
    pub status: &'static str,
    pub reason: &'static str,
    pub created: i64,
    pub paid_at: Option<i64>,
    pub attempt: i64,
    pub next_attempt: Option<i64>,
    /// Price, amount in cents, end of the line's period, and whether it is a proration.
    pub lines: Vec<(&'static str, i64, i64, bool)>,
}

impl Default for Invoice {
    fn default() -> Self {
        Self {
            id: "in_1",
            customer: "cus_1",
            subscription: Some("sub_1"),
            workspace: None,
            status: "paid",
            reason: "subscription_create",
            created: START,
            paid_at: Some(START + 2),
            attempt: 1,
            next_attempt: None,
            lines: vec![(HOBBY, 900, START + MONTH, false)],
        }
    }
}

impl Invoice {
    pub(crate) fn body(&self, generation: Generation) -> Value {
        let total: i64 = self.lines.iter().map(|line| line.1).sum();
        let paid = self.status == "paid";
        let mut body = json!({
            "id": self.id, "object": "invoice", "customer": self.customer, "status": self.status, "created": self.created,
            "billing_reason": self.reason, "attempt_count": self.attempt, "attempted": true,
            "next_payment_attempt": self.next_attempt, "currency": "eur", "number": format!("N-{}", self.id),
            "hosted_invoice_url": format!("https://invoice.example/{}", self.id), "total": total, "amount_due": total,
            "amount_paid": if paid { total } else { 0 }, "amount_remaining": if paid { 0 } else { total },
            // The window that the invoice looks back on, not the period that it pays for.
            "period_start": self.created - MONTH, "period_end": self.created,
            "status_transitions": {"finalized_at": self.created, "paid_at": self.paid_at}, "metadata": {},
            "livemode": false,
        });
        let lines: Vec<Value> =
            self.lines.iter().enumerate().map(|(index, line)| self.line(generation, index, line)).collect();
        body["lines"] = json!({"object": "list", "has_more": false, "total_count": lines.len(), "data": lines});
        if generation == Generation::A {
            body["subscription"] = json!(self.subscription);
            body["subscription_details"] = json!({"metadata": metadata(self.workspace)});
            body["paid"] = json!(paid);
            body["paid_out_of_band"] = json!(false);
            body["payment_intent"] = json!(format!("pi_{}", self.id));
            body["charge"] = json!(format!("ch_{}", self.id));
        } else {
            body["parent"] = self.subscription.map_or(Value::Null, |subscription| {
                json!({
                    "type": "subscription_details", "quote_details": null,
                    "subscription_details": {"subscription": subscription, "metadata": metadata(self.workspace)},
                })
            });
            body["amount_overpaid"] = json!(0);
        }
        if generation >= Generation::C {
            body["customer_account"] = Value::Null;
        }
        if generation >= Generation::E {
            body["status_details"] = Value::Null;
            body["amount_paid_off_stripe"] = json!(0);
        }
        body
    }

    fn line(&self, generation: Generation, index: usize, line: &(&str, i64, i64, bool)) -> Value {
        let (price, amount, end, proration) = *line;
        let mut body = json!({
            "id": format!("il_{}_{index}", self.id), "object": "line_item", "amount": amount, "currency": "eur", "quantity": 1,
            "period": {"start": end - MONTH, "end": end}, "metadata": {},
        });
        let item = format!("si_{price}");
        if generation == Generation::A {
            body["type"] = json!(if self.subscription.is_some() { "subscription" } else { "invoiceitem" });
            body["subscription"] = json!(self.subscription);
            body["subscription_item"] = json!(item);
            body["proration"] = json!(proration);
            body["price"] = json!({"id": price, "object": "price", "lookup_key": null});
            body["plan"] = json!({"id": price, "object": "plan"});
        } else {
            if generation >= Generation::D {
                body["quantity_decimal"] = json!("1");
            }
            body["pricing"] = json!({
                "type": "price_details", "unit_amount_decimal": "900",
                "price_details": {"price": price, "product": "prod_1"},
            });
            body["parent"] = if self.subscription.is_some() {
                json!({
                    "type": "subscription_item_details", "invoice_item_details": null,
                    "subscription_item_details": {
                        "subscription": self.subscription, "subscription_item": item, "proration": proration,
                    },
                })
            } else {
                json!({
                    "type": "invoice_item_details", "subscription_item_details": null,
                    "invoice_item_details": {"invoice_item": "ii_1", "proration": false},
                })
            };
        }
        body
    }
}

/// A checkout session at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub id: &'static str,
    /// `None`: a guest paid, and Stripe made no customer.
    pub customer: Option<&'static str>,
    pub mode: &'static str,
    pub payment_status: &'static str,
    pub workspace: Option<&'static str>,
    pub subscription: Option<&'static str>,
    /// `metadata.plan` and `metadata.quantity`.
    pub plan: Option<&'static str>,
    pub quantity: Option<&'static str>,
    pub created: i64,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            id: "cs_1",
            customer: Some("cus_1"),
            mode: "subscription",
            payment_status: "paid",
            workspace: Some("ws_1"),
            subscription: Some("sub_1"),
            plan: None,
            quantity: None,
            created: START,
        }
    }
}

impl Session {
    /// One for credits.
    pub(crate) fn credits() -> Self {
        Self { mode: "payment", subscription: None, plan: Some("credits10"), ..Self::default() }
    }

    pub(crate) fn body(&self, generation: Generation) -> Value {
        let mut metadata = Map::new();
        for (name, value) in [("plan", self.plan), ("quantity", self.quantity)] {
            metadata.extend(value.map(|value| (name.to_owned(), json!(value))));
        }
        let mut body = json!({
            "id": self.id, "object": "checkout.session", "customer": self.customer, "mode": self.mode, "status": "complete",
            "payment_status": self.payment_status, "client_reference_id": self.workspace, "metadata": metadata,
            "subscription": self.subscription, "invoice": null, "currency": "eur", "amount_total": 900,
            "payment_intent": if self.mode == "payment" { json!(format!("pi_{}", self.id)) } else { Value::Null },
            "created": self.created, "livemode": false,
        });
        if generation == Generation::A {
            body["shipping_details"] = Value::Null;
        } else {
            body["collected_information"] = json!({"shipping_details": null});
        }
        body
    }
}

fn metadata(workspace: Option<&str>) -> Value {
    workspace.map_or_else(|| json!({}), |workspace| json!({"workspace_id": workspace}))
}
