//! `invoice.*`: what was asked and paid, and what that says of the subscription behind it.

use serde_json::{Value, json};

use super::lines::{Price, highest};
use super::payment::{paid_for, payment_id};
use super::{Copy, Event, List};
use crate::plans::{Plan, PlanKind};
use crate::rules::effect::PERIOD;
use crate::rules::fact::{FAILING_FIELD, PAID_FIELD, WriteKey};
use crate::rules::{Kind, Note, Object, Reading};
use crate::stripe::Unreadable;
use crate::stripe::path::Place;

pub(super) fn read(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let object = &event.object;
    let id = object.at("id").required_id()?;
    let claim = claim(event)?;
    let owner = event.owner(claim)?;
    let (lines, partial) = match event.list("lines", || format!("/invoices/{id}/lines?limit=100"))? {
        List::Whole(lines) => (Lines::of(event, &lines)?, false),
        List::Partial(lines) => (Lines::of(event, &lines)?, true),
        List::Asks(question) => return Ok(Reading::Ask(question)),
    };
    let status = status(event)?;
    let mut invoice = copy(event, id, status, &lines)?;
    invoice.write("partial", json!(partial), &event.key(false, false));
    let facts = Facts {
        event,
        status,
        created: object.at("created").seconds()?.unwrap_or(event.created),
        total: first_amount(object, &["total", "amount_due", "amount_paid"])?.unwrap_or(0),
        reason: object.at("billing_reason").text()?,
        lines: &lines,
        invoice: &invoice,
    };

    let notes = facts.notes(owner.as_deref());
    let evidence = lines.subscription.and_then(|subscription| facts.evidence(subscription));
    let customer = owner.as_deref().map(|owner| {
        let mut customer = event.customer(owner, claim);
        if facts.is_paid() {
            let paid_at = facts.paid_at();
            customer.write("date_paid", json!(paid_at), &event.evidence_key(paid_at));
        }
        customer
    });
    let payments = payments(event, id)?;
    let objects = evidence.into_iter().chain([invoice.clone()]).collect();
    Ok(Event::facts(owner.as_deref(), customer.into_iter().chain(payments), objects, notes))
}

/// `invoice.upcoming`: a look ahead; its invoice has no id and is none yet.
pub(super) fn upcoming(event: &Event<'_>) -> Result<Reading, Unreadable> {
    let object = &event.object;
    let claim = claim(event)?;
    let owner = event.owner(claim)?;
    let lines = Lines::of(event, &object.at("lines").list()?)?;
    let due = object.at("next_payment_attempt").seconds()?.or(object.at("period_end").seconds()?);
    let mut notes = Vec::new();
    if let (Some(subscription), Some(due)) = (lines.subscription, due) {
        notes.push(Note::new(
            "renewal_upcoming",
            format!("{subscription}:{due}"),
            owner.as_deref(),
            json!({
                "subscription": subscription, "due": due, "amount": first_amount(object, &["amount_due", "total"])?,
                "currency": object.at("currency").text()?,
            }),
        ));
    }
    let customer = owner.as_deref().map(|owner| event.customer(owner, claim));
    Ok(Event::facts(owner.as_deref(), customer, Vec::new(), notes))
}

/// The payments that an invoice names: before basil its intent or charge, since then a list, where that was expanded.
fn payments(event: &Event<'_>, id: &str) -> Result<Vec<Object>, Unreadable> {
    let object = &event.object;
    let mut payments = Vec::new();
    payments.extend(payment_id(object)?.map(|payment| paid_for(event, payment, id)));
    for payment in object.at("payments").list()? {
        payments.extend(payment_id(&payment.at("payment"))?.map(|payment| paid_for(event, payment, id)));
    }
    Ok(payments)
}

/// `metadata.workspace_id` of the subscription as it was when the invoice was finalized, or of the invoice itself.
fn claim<'a>(event: &Event<'a>) -> Result<Option<&'a str>, Unreadable> {
    for path in ["parent.subscription_details.metadata", "subscription_details.metadata", "metadata"] {
        if let Some(claim) = event.claim_at(path)? {
            return Ok(Some(claim));
        }
    }
    Ok(None)
}

/// The event's type says it where it can; `paid` is a flag of the old shapes.
fn status<'a>(event: &Event<'a>) -> Result<Option<&'a str>, Unreadable> {
    Ok(match event.kind {
        "invoice.paid" | "invoice.payment_succeeded" => Some("paid"),
        "invoice.voided" => Some("void"),
        "invoice.marked_uncollectible" => Some("uncollectible"),
        _ => match event.object.at("status").text()? {
            None if event.object.at("paid").flag()? == Some(true) => Some("paid"),
            status => status,
        },
    })
}

fn first_amount(object: &Place<'_>, fields: &[&'static str]) -> Result<Option<i64>, Unreadable> {
    for field in fields {
        if let Some(amount) = object.at(field).amount()? {
            return Ok(Some(amount));
        }
    }
    Ok(None)
}

fn copy(event: &Event<'_>, id: &str, status: Option<&str>, lines: &Lines<'_, '_>) -> Result<Object, Unreadable> {
    let terminal = matches!(status, Some("paid" | "void"));
    let mut copy = Copy { event, terminal, object: Object::new(Kind::Invoice, id) };
    if let Some(status) = status {
        // Not a failed attempt: the invoice stays what it was, and in the same second may be given up.
        let said_by_type = matches!(
            event.kind,
            "invoice.finalized"
                | "invoice.paid"
                | "invoice.payment_succeeded"
                | "invoice.voided"
                | "invoice.marked_uncollectible"
        );
        copy.write("status", json!(status), said_by_type || event.has_changed("status"));
    }
    for field in ["billing_reason", "currency", "number", "hosted_invoice_url"] {
        copy.text(field)?;
    }
    for field in ["total", "amount_due", "amount_paid"] {
        copy.amount(field)?;
    }
    copy.field("attempt_count", Place::int)?;
    copy.time("next_payment_attempt")?;
    copy.time("created")?;
    if let Some(paid_at) = event.object.at("status_transitions.paid_at").seconds()? {
        copy.write("paid_at", json!(paid_at), event.has_changed("status_transitions"));
    }
    if let Some(subscription) = lines.subscription {
        copy.write("subscription", json!(subscription), false);
    }
    Ok(copy.object)
}

/// What the lines say of the subscription: its regular ones, without prorations and one-off items.
struct Lines<'a, 'c> {
    subscription: Option<&'a str>,
    plan: Option<&'c Plan>,
    period_end: Option<i64>,
    /// What the regular lines ask for; `None` when none says so.
    regular_amount: Option<i64>,
}

impl<'a, 'c> Lines<'a, 'c> {
    fn of(event: &Event<'a>, lines: &[Place<'a>]) -> Result<Lines<'a, 'c>, Unreadable>
    where
        'a: 'c,
    {
        let object = &event.object;
        let mut subscription =
            object.at("parent.subscription_details.subscription").id()?.or(object.at("subscription").id()?);
        let (mut prices, mut period_end, mut regular_amount) = (Vec::new(), None, None);
        for line in lines {
            let details = line.at("parent.subscription_item_details");
            let of_subscription = details.exists() || line.at("type").text()? == Some("subscription");
            let proration = details.at("proration").flag()?.or(line.at("proration").flag()?) == Some(true);
            if !of_subscription || proration {
                continue;
            }
            subscription = subscription.or(details.at("subscription").id()?).or(line.at("subscription").id()?);
            prices.extend(Price::of(line)?);
            period_end = period_end.max(line.at("period.end").seconds()?);
            if let Some(amount) = line.at("amount").amount()? {
                regular_amount = Some(regular_amount.unwrap_or(0_i64).saturating_add(amount));
            }
        }
        let (plan, _) = highest(prices, event.catalogue);
        Ok(Lines { subscription, plan, period_end, regular_amount })
    }
}

struct Facts<'e, 'a, 'c> {
    event: &'e Event<'a>,
    status: Option<&'a str>,
    /// When the invoice was made: the later invoice is the one that speaks for the subscription.
    created: i64,
    total: i64,
    reason: Option<&'a str>,
    lines: &'e Lines<'a, 'c>,
    invoice: &'e Object,
}

impl Facts<'_, '_, '_> {
    fn is_paid(&self) -> bool {
        self.status == Some("paid")
    }

    fn paid_at(&self) -> i64 {
        self.invoice.int("paid_at").unwrap_or(self.event.created)
    }

    fn notes(&self, owner: Option<&str>) -> Vec<Note> {
        let id = &self.invoice.id;
        let value = |field: &str| self.invoice.register(field).map_or(Value::Null, |register| register.value.clone());
        let attempt = self.invoice.int("attempt_count").unwrap_or(1);
        let mut notes = Vec::new();
        if self.event.kind == "invoice.overdue" {
            notes.push(Note::new(
                "invoice_overdue",
                id.as_str(),
                owner,
                json!({"invoice": id, "number": value("number"), "amount_due": value("amount_due"), "currency": value("currency")}),
            ));
        }
        // An invoice that was fetched for a thin event may have been paid meanwhile; then nobody knows of which attempt
        // the event told.
        let overtaken = self.event.fetched && self.is_paid();
        if let ("invoice.payment_failed" | "invoice.payment_action_required", false) = (self.event.kind, overtaken) {
            let kind = self.event.kind.trim_start_matches("invoice.");
            notes.push(Note::new(
                kind,
                format!("{id}:{attempt}"),
                owner,
                json!({
                    "invoice": id, "number": value("number"), "attempt": attempt, "amount_due": value("amount_due"),
                    "currency": value("currency"), "next_payment_attempt": value("next_payment_attempt"),
                    "hosted_invoice_url": value("hosted_invoice_url"),
                }),
            ));
        }
        if self.is_paid() && self.total > 0 {
            notes.push(Note::new(
                "payment_succeeded",
                id.as_str(),
                owner,
                json!({
                    "invoice": id, "number": value("number"), "amount": self.total, "currency": value("currency"),
                    "paid_at": self.paid_at(), "hosted_invoice_url": value("hosted_invoice_url"),
                }),
            ));
            let regular = matches!(self.reason, Some("subscription_create" | "subscription_cycle"));
            let plan = self.lines.plan.filter(|plan| plan.kind == PlanKind::Subscription && plan.credits > 0);
            if let (true, Some(plan)) = (regular, plan) {
                notes.push(Note::new(
                    "credits_granted",
                    id.as_str(),
                    owner,
                    json!({
                        "reason": PERIOD, "credits": plan.credits, "plan": plan.id, "invoice": id,
                    }),
                ));
            }
        }
        notes
    }

    /// A payment of the subscription's regular lines says `active`, a failure of anything but the first says
    /// `past_due`; a zero invoice says nothing. The later invoice wins, and of one invoice the payment.
    fn evidence(&self, subscription: &str) -> Option<Object> {
        let paid = self.is_paid() && self.lines.regular_amount.unwrap_or(self.total) > 0 && self.total > 0;
        let failed = self.event.kind == "invoice.payment_failed";
        let id = &self.invoice.id;
        let mut object = Object::new(Kind::Subscription, subscription);
        let plan = self.lines.plan.map(|plan| &plan.id);
        if paid {
            let (at, key) = (self.paid_at(), self.evidence_key(true, self.paid_at()));
            object.write("evidence", json!({"status": "active", "at": at, "invoice": id, "plan": plan}), &key);
            // Registers of their own, for a later failure takes nothing from what was paid.
            object.write(PAID_FIELD, json!({"invoice": id, "at": at}), &key);
            if let Some(end) = self.lines.period_end {
                object.write("paid_for", json!({"period_end": end, "plan": plan}), &key);
            }
        } else if failed {
            let status = if self.reason == Some("subscription_create") { "incomplete" } else { "past_due" };
            let at = self.event.created;
            let key = self.evidence_key(false, at);
            object.write("evidence", json!({"status": status, "at": at, "invoice": id, "plan": plan}), &key);
            // An incomplete subscription has no plan to keep for a while.
            if status == "past_due" {
                // The negative time makes the earliest failure of an invoice the greatest.
                let mut first = self.evidence_key(false, -at);
                first.event = format!("{:013}", i64::MAX / 1_000_000 - at).into();
                // One for each invoice: which of them counts depends on what is paid later.
                object.write(format!("{FAILING_FIELD}{id}"), json!({"invoice": id, "at": at}), &first);
            }
        } else {
            return None;
        }
        // The negative time makes the first invoice the greatest.
        object.write("billed_since", json!(self.created), &self.event.evidence_key(-self.created));
        if let (Some(plan), Some(key)) = (plan, object.register("evidence").map(|evidence| evidence.key.clone())) {
            object.write("billed_plan", json!(plan), &key);
        }
        Some(object)
    }

    /// Ordered by the invoice, then payment over failure, then time.
    fn evidence_key(&self, paid: bool, at: i64) -> WriteKey {
        WriteKey {
            at: self.created,
            changed: paid,
            event: format!("{at:013}:{}", self.event.id).into(),
            ..self.event.evidence_key(self.created)
        }
    }
}
