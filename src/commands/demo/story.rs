//! The story that `demo` plays: what is sent on which day, and what the state must be afterwards.

use billing::rules::entitlement::Billing;
use serde_json::{Value, json};

use crate::maker::{Invoice, Maker, SESSION_AMOUNT, Subscription};

const DAY: i64 = 86_400;
/// The day on which the subscription is bought; its periods are thirty days.
const BOUGHT: i64 = 16;
const RENEWED: i64 = BOUGHT + 30;
const ENDED: i64 = RENEWED + 30;

/// One day of the story.
pub(crate) struct Step {
    pub(crate) day: i64,
    pub(crate) tells: &'static str,
    /// The events of that day, for a story that began at the given unix time.
    pub(crate) events: fn(&Maker, i64) -> Vec<Value>,
    pub(crate) then: Expected,
    /// The mails that this day sends.
    pub(crate) mails: &'static [&'static str],
}

/// The state that a step must give.
pub(crate) struct Expected {
    status: &'static str,
    /// The subscription's plan, where there is one.
    plan: Option<&'static str>,
    effective_plan: &'static str,
    credits: i64,
}

impl Expected {
    pub(crate) fn fits(&self, view: &Billing) -> bool {
        view.subscription_status == self.status
            && view.subscription_plan.as_deref() == self.plan
            && view.effective_plan == self.effective_plan
            && view.credits == self.credits
    }

    /// A state in the same words.
    pub(crate) fn state_of(view: &Billing) -> String {
        words(&view.subscription_status, view.subscription_plan.as_deref(), &view.effective_plan, view.credits)
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&words(self.status, self.plan, self.effective_plan, self.credits))
    }
}

fn words(status: &str, plan: Option<&str>, effective_plan: &str, credits: i64) -> String {
    format!("{status}, plan {}, may use {effective_plan}, {credits} credits", plan.unwrap_or("-"))
}

const fn then(
    status: &'static str,
    plan: Option<&'static str>,
    effective_plan: &'static str,
    credits: i64,
) -> Expected {
    Expected { status, plan, effective_plan, credits }
}

/// The story. Several events of one day come in an order that Stripe may well choose, and some come twice.
pub(crate) const STEPS: &[Step] = &[
    Step {
        day: 0,
        tells: "the workspace is made; its trial runs",
        events: |_, _| vec![],
        then: then("trialing", None, "pro", 0),
        mails: &[],
    },
    Step {
        day: 15,
        tells: "the trial is over, and the owner is told",
        events: |_, _| vec![],
        then: then("free", None, "free", 0),
        mails: &["trial_expired"],
    },
    Step {
        day: BOUGHT,
        tells: "checkout of hobby; the payment is told first",
        events: bought,
        then: then("active", Some("hobby"), "hobby", 0),
        mails: &["payment_succeeded"],
    },
    Step {
        day: RENEWED,
        tells: "the renewal fails, and the owner is told",
        events: failed,
        then: then("past_due", Some("hobby"), "hobby", 0),
        mails: &["payment_failed"],
    },
    Step {
        day: RENEWED + 3,
        tells: "the second attempt succeeds",
        events: recovered,
        then: then("active", Some("hobby"), "hobby", 0),
        mails: &["payment_succeeded"],
    },
    Step {
        day: RENEWED + 4,
        tells: "upgrade to pro",
        events: upgraded,
        then: then("active", Some("pro"), "pro", 0),
        mails: &[],
    },
    Step {
        day: RENEWED + 5,
        tells: "10 credits are bought; Stripe tells of it three times",
        events: credits,
        then: then("active", Some("pro"), "pro", 10),
        mails: &["credits_granted"],
    },
    Step {
        day: RENEWED + 6,
        tells: "half of them are refunded; the charge and the refund tell of it",
        events: refunded,
        then: then("active", Some("pro"), "pro", 5),
        mails: &[],
    },
    Step {
        day: RENEWED + 9,
        tells: "the customer cancels; the plan runs to the period's end",
        events: cancelled,
        then: then("cancel_at_period_end", Some("pro"), "pro", 5),
        mails: &["subscription_cancelled"],
    },
    Step {
        day: ENDED,
        tells: "the period ends, and so does the subscription",
        events: ended,
        then: then("deleted", Some("pro"), "free", 5),
        mails: &["subscription_ended"],
    },
    Step {
        day: ENDED + 1,
        tells: "an old event arrives late and changes nothing",
        events: late,
        then: then("deleted", Some("pro"), "free", 5),
        mails: &[],
    },
];

fn subscription(maker: &Maker, start: i64, status: &str, price: &str, period: i64, canceled_at: Option<i64>) -> Value {
    maker.subscription(&Subscription {
        status,
        price,
        created: start + BOUGHT * DAY,
        period_start: start + period * DAY,
        period_end: start + (period + 30) * DAY,
        canceled_at,
        trial_end: None,
    })
}

fn invoice(maker: &Maker, id: &str, reason: &str, status: &str, attempt: i64, created: i64) -> Value {
    let next_attempt = (status == "open").then_some(created + 3 * DAY);
    let price = &maker.prices.hobby;
    maker.invoice(&Invoice { id, status, reason, price, amount: 1900, attempt, next_attempt, created })
}

fn bought(maker: &Maker, start: i64) -> Vec<Value> {
    let at = start + BOUGHT * DAY;
    let price = &maker.prices.hobby;
    let made = subscription(maker, start, "incomplete", price, BOUGHT, None);
    let active = subscription(maker, start, "active", price, BOUGHT, None);
    let paid = invoice(maker, "in_demo_0001", "subscription_create", "paid", 1, at);
    vec![
        maker.event("invoice.paid", at, paid.clone(), None),
        maker.event("invoice.payment_succeeded", at, paid, None),
        maker.event("customer.subscription.updated", at, active, Some(json!({"status": "incomplete"}))),
        maker.event("customer.subscription.created", at, made, None),
        maker.event("checkout.session.completed", at, maker.session("cs_demo_0001", "subscription", "paid", at), None),
    ]
}

fn failed(maker: &Maker, start: i64) -> Vec<Value> {
    let at = start + RENEWED * DAY;
    let past_due = subscription(maker, start, "past_due", &maker.prices.hobby, RENEWED, None);
    vec![
        maker.event("customer.subscription.updated", at, past_due, Some(json!({"status": "active"}))),
        maker.event(
            "invoice.payment_failed",
            at,
            invoice(maker, "in_demo_0002", "subscription_cycle", "open", 1, at),
            None,
        ),
    ]
}

fn recovered(maker: &Maker, start: i64) -> Vec<Value> {
    let (made, at) = (start + RENEWED * DAY, start + (RENEWED + 3) * DAY);
    let mut paid = invoice(maker, "in_demo_0002", "subscription_cycle", "paid", 2, made);
    paid["status_transitions"]["paid_at"] = json!(at);
    let active = subscription(maker, start, "active", &maker.prices.hobby, RENEWED, None);
    vec![
        maker.event("invoice.paid", at, paid, None),
        maker.event("customer.subscription.updated", at, active, Some(json!({"status": "past_due"}))),
    ]
}

fn upgraded(maker: &Maker, start: i64) -> Vec<Value> {
    let before = subscription(maker, start, "active", &maker.prices.hobby, RENEWED, None);
    let after = subscription(maker, start, "active", &maker.prices.pro, RENEWED, None);
    let previous = json!({"items": before["items"]});
    vec![maker.event("customer.subscription.updated", start + (RENEWED + 4) * DAY, after, Some(previous))]
}

fn credits(maker: &Maker, start: i64) -> Vec<Value> {
    let at = start + (RENEWED + 5) * DAY;
    let session = maker.session("cs_demo_0002", "payment", "paid", at);
    let first = maker.event("checkout.session.completed", at, session.clone(), None);
    // Once more by redelivery, and once more as an event of its own about the same session.
    vec![first.clone(), first, maker.event("checkout.session.completed", at, session, None)]
}

fn refunded(maker: &Maker, start: i64) -> Vec<Value> {
    let at = start + (RENEWED + 6) * DAY;
    let half = SESSION_AMOUNT / 2;
    let charge = maker.charge("cs_demo_0002", half, start + (RENEWED + 5) * DAY);
    let refund = maker.refund("re_demo_0001", "cs_demo_0002", half, "succeeded", at);
    vec![
        maker.event("charge.refunded", at, charge, Some(json!({"amount_refunded": 0}))),
        maker.event("refund.created", at, refund, None),
    ]
}

fn cancelled(maker: &Maker, start: i64) -> Vec<Value> {
    let at = start + (RENEWED + 9) * DAY;
    let ending = subscription(maker, start, "active", &maker.prices.pro, RENEWED, Some(at));
    let previous = json!({"cancel_at_period_end": false, "cancel_at": null, "canceled_at": null});
    vec![maker.event("customer.subscription.updated", at, ending, Some(previous))]
}

fn ended(maker: &Maker, start: i64) -> Vec<Value> {
    let at = start + ENDED * DAY;
    let over = subscription(maker, start, "canceled", &maker.prices.pro, RENEWED, Some(at));
    vec![maker.event("customer.subscription.deleted", at, over, None)]
}

fn late(maker: &Maker, start: i64) -> Vec<Value> {
    let active = subscription(maker, start, "active", &maker.prices.pro, RENEWED, None);
    vec![maker.event("customer.subscription.updated", start + (RENEWED + 8) * DAY, active, None)]
}
