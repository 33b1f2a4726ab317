//! Whole customer stories: what Stripe tells, what the operator does, and the state that has to come of it.

mod cancelling;
mod changing;
mod linking;
mod paying;
mod refunding;

use serde_json::{Value, json};

use super::bodies::{DAY, Generation, HOBBY, Invoice, MONTH, PRO, START, Session, Subscription, changed, event};

pub(crate) const WORKSPACE: &str = "ws_1";

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Event(Value),
    /// `workspaces put ws_1`, with `--stripe-customer` where one is named.
    Put(Option<&'static str>),
}

/// What has to come of a story.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expected {
    pub status: &'static str,
    pub plan: Option<&'static str>,
    pub subscription: Option<&'static str>,
    pub customer: Option<&'static str>,
    pub credits: i64,
    pub cancel_at_period_end: bool,
    pub period_end: Option<i64>,
    pub past_due_since: Option<i64>,
    pub date_paid: Option<i64>,
    /// Kinds of the audit entries, sorted.
    pub audit: Vec<&'static str>,
    /// Dedupe keys, sorted.
    pub emails: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub name: &'static str,
    /// In the order in which they happened. Without a [`Step::Put`] among them the workspace is there beforehand.
    pub steps: Vec<Step>,
    pub expected: Expected,
}

/// All stories, told in one generation's shapes.
pub(crate) fn stories(generation: Generation) -> Vec<Story> {
    let teller = Teller(generation);
    vec![
        teller.first_purchase(),
        teller.renewal_recovers(),
        teller.renewal_fails_to_the_end(),
        teller.still_failing(),
        teller.upgrade(),
        teller.cancelled_at_period_end(),
        teller.cancelled_and_over(),
        teller.cancelled_undone_and_anew(),
        teller.cancelled_then_upgraded(),
        teller.cancelled_now(),
        teller.active_within_its_second(),
        teller.trial_converts(),
        teller.credits(),
        teller.credits_paid_later(),
        teller.credits_never_paid(),
        teller.two_subscriptions(),
        teller.unknown_price(),
        teller.only_invoices(),
        teller.only_invoices_unpaid_twice(),
        teller.only_invoices_recovered(),
        teller.twin_events(),
        teller.linked_by_a_late_event(),
        teller.linked_by_hand(),
        teller.workspace_comes_late(),
        teller.guest_pays_before_the_workspace_is_there(),
        teller.downgrade_paid_by_balance(),
        teller.seats_and_items(),
        teller.paused_and_resumed(),
        teller.trial_without_card(),
        teller.incomplete_expires(),
        teller.subscribed_again(),
        teller.customer_deleted(),
        teller.refunded_in_full(),
        teller.refunded_in_parts(),
        teller.refunded_by_charge_alone(),
        teller.refund_fails(),
        teller.dispute_lost(),
        teller.dispute_won(),
        teller.warning_closed(),
        teller.refunded_and_disputed(),
        teller.period_refunded(),
        teller.refunded_before_the_link(),
        teller.refunded_with_an_invoice(),
        teller.refunded_to_a_guest(),
        teller.refunded_twice_the_same(),
        teller.without_a_customer(),
    ]
}

struct Teller(Generation);

fn story(name: &'static str, events: Vec<Value>, expected: Expected) -> Story {
    Story { name, steps: events.into_iter().map(Step::Event).collect(), expected }
}

fn keys(keys: &[&str]) -> Vec<String> {
    let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    keys.sort();
    keys
}

impl Teller {
    fn subscription(&self, id: &str, what: &str, at: i64, now: &Subscription) -> Value {
        event(self.0, id, &format!("customer.subscription.{what}"), at, &now.body(self.0))
    }

    /// An `updated` event, with the fields of `before` that differ.
    fn updated(&self, id: &str, at: i64, before: &Subscription, now: &Subscription) -> Value {
        let (old, new) = (before.body(self.0), &now.body(self.0));
        let previous = old
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(field, value)| new.get(field) != Some(value))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        changed(self.subscription(id, "updated", at, now), Value::Object(previous))
    }

    fn invoice(&self, id: &str, what: &str, at: i64, now: &Invoice) -> Value {
        event(self.0, id, &format!("invoice.{what}"), at, &now.body(self.0))
    }

    fn session(&self, id: &str, what: &str, at: i64, now: &Session) -> Value {
        event(self.0, id, &format!("checkout.session.{what}"), at, &now.body(self.0))
    }

    fn customer(&self, id: &str, what: &str, at: i64, workspace: Option<&str>) -> Value {
        let metadata = workspace.map_or_else(|| json!({}), |workspace| json!({"workspace_id": workspace}));
        let body = json!({
            "id": "cus_1", "object": "customer", "email": "ada@example.com", "name": "Ada", "metadata": metadata,
            "preferred_locales": ["pt-BR"], "created": START, "livemode": false,
        });
        event(self.0, id, &format!("customer.{what}"), at, &body)
    }

    /// A customer whose first month is paid, as far as two events tell.
    fn subscribed(&self) -> Vec<Value> {
        vec![
            self.subscription("evt_sub", "created", START, &Subscription::default()),
            self.session("evt_session", "completed", START + 4, &Session::default()),
        ]
    }

    fn first_purchase(&self) -> Story {
        let incomplete = Subscription { status: "incomplete", ..Subscription::default() };
        let events = vec![
            self.customer("evt_0", "created", START, None),
            self.subscription("evt_1", "created", START, &incomplete),
            // The second of the creation: what changed the status beats what only carries it.
            self.updated("evt_0a", START, &incomplete, &Subscription::default()),
            self.invoice("evt_3", "paid", START + 2, &Invoice::default()),
            self.invoice("evt_4", "payment_succeeded", START + 2, &Invoice::default()),
            self.session("evt_5", "completed", START + 4, &Session::default()),
        ];
        let expected = Expected {
            status: "active",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            date_paid: Some(START + 2),
            audit: vec!["payment_succeeded", "subscription_created", "subscription_updated"],
            emails: keys(&["payment_succeeded:in_1"]),
            ..Expected::default()
        };
        story("first purchase", events, expected)
    }

    /// The second month, up to the second failure.
    fn failing(&self) -> (Vec<Value>, Subscription, Invoice) {
        let renewal = START + MONTH;
        let first = Subscription::default();
        let renewed = Subscription { period_end: renewal + MONTH, ..first.clone() };
        let past_due = Subscription { status: "past_due", ..renewed.clone() };
        let invoice = Invoice {
            id: "in_2",
            status: "open",
            reason: "subscription_cycle",
            created: renewal,
            paid_at: None,
            next_attempt: Some(renewal + 3 * DAY),
            lines: vec![(HOBBY, 900, renewal + MONTH, false)],
            ..Invoice::default()
        };
        let again = Invoice { attempt: 2, next_attempt: None, ..invoice.clone() };
        let mut events = self.subscribed();
        events.extend([
            self.updated("evt_renewed", renewal, &first, &renewed),
            self.invoice("evt_failed_1", "payment_failed", renewal + 3600, &invoice),
            self.updated("evt_past_due", renewal + 3600, &renewed, &past_due),
            self.invoice("evt_failed_2", "payment_failed", renewal + 3 * DAY, &again),
        ]);
        (events, past_due, again)
    }

    fn still_failing(&self) -> Story {
        let (events, ..) = self.failing();
        let expected = Expected {
            status: "past_due",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + 2 * MONTH),
            past_due_since: Some(START + MONTH + 3600),
            audit: vec![
                "payment_failed",
                "payment_failed",
                "subscription_created",
                "subscription_updated",
                "subscription_updated",
            ],
            emails: keys(&["payment_failed:in_2:1", "payment_failed:in_2:2"]),
            ..Expected::default()
        };
        story("the renewal is still failing", events, expected)
    }

    fn renewal_recovers(&self) -> Story {
        let (mut events, past_due, invoice) = self.failing();
        let at = START + MONTH + 5 * DAY;
        let active = Subscription { status: "active", ..past_due.clone() };
        let paid = Invoice { status: "paid", paid_at: Some(at), attempt: 3, ..invoice };
        events.extend([
            self.invoice("evt_paid", "paid", at, &paid),
            self.invoice("evt_succeeded", "payment_succeeded", at, &paid),
            self.updated("evt_active", at, &past_due, &active),
        ]);
        let expected = Expected {
            status: "active",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + 2 * MONTH),
            date_paid: Some(at),
            audit: vec![
                "payment_failed",
                "payment_failed",
                "payment_succeeded",
                "subscription_created",
                "subscription_updated",
                "subscription_updated",
                "subscription_updated",
            ],
            emails: keys(&["payment_failed:in_2:1", "payment_failed:in_2:2", "payment_succeeded:in_2"]),
            ..Expected::default()
        };
        story("the renewal fails and recovers", events, expected)
    }

    fn renewal_fails_to_the_end(&self) -> Story {
        let (mut events, past_due, invoice) = self.failing();
        let at = START + MONTH + 14 * DAY;
        let ended = Subscription { status: "canceled", canceled_at: Some(at), ended_at: Some(at), ..past_due.clone() };
        let late = Subscription { items: vec![(HOBBY, 2)], ..past_due.clone() };
        events.extend([
            self.subscription("evt_ended", "deleted", at, &ended),
            self.invoice("evt_gone", "marked_uncollectible", at, &Invoice { status: "uncollectible", ..invoice }),
            // Told of the state before the end, though made after it.
            self.updated("evt_late", at + 5, &past_due, &late),
        ]);
        let expected = Expected {
            status: "deleted",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + 2 * MONTH),
            audit: vec![
                "payment_failed",
                "payment_failed",
                "subscription_created",
                "subscription_deleted",
                "subscription_updated",
                "subscription_updated",
                "subscription_updated",
            ],
            emails: keys(&["payment_failed:in_2:1", "payment_failed:in_2:2", "subscription_ended:sub_1"]),
            ..Expected::default()
        };
        story("the renewal fails to the end", events, expected)
    }

    fn upgrade(&self) -> Story {
        let at = START + 10 * DAY;
        let upgraded = Subscription { items: vec![(PRO, 1)], ..Subscription::default() };
        let invoice = Invoice {
            id: "in_2",
            reason: "subscription_update",
            created: at,
            paid_at: Some(at + 2),
            lines: vec![(HOBBY, -600, START + MONTH, true), (PRO, 1900, START + MONTH, true)],
            ..Invoice::default()
        };
        let mut events = self.subscribed();
        events.extend([
            self.invoice("evt_first", "paid", START + 2, &Invoice::default()),
            self.updated("evt_upgraded", at, &Subscription::default(), &upgraded),
            self.invoice("evt_paid", "paid", at + 2, &invoice),
        ]);
        let expected = Expected {
            status: "active",
            plan: Some("pro"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            date_paid: Some(at + 2),
            // `pro` gives credits per period, and a proration is none.
            credits: 0,
            audit: vec!["payment_succeeded", "payment_succeeded", "subscription_created", "subscription_updated"],
            emails: keys(&["payment_succeeded:in_1", "payment_succeeded:in_2"]),
            ..Expected::default()
        };
        story("upgrade", events, expected)
    }
}
