//! Stories in which a subscription changes, pauses, never begins, or begins again.

use serde_json::json;

use super::{Expected, Story, Teller, keys, story};
use crate::support::bodies::{DAY, HOBBY, Invoice, MONTH, PRO, START, Session, Subscription};

impl Teller {
    fn on_pro(&self) -> (Vec<serde_json::Value>, Subscription) {
        let pro = Subscription { items: vec![(PRO, 1)], ..Subscription::default() };
        let events = vec![
            self.subscription("evt_sub", "created", START, &pro),
            self.session("evt_session", "completed", START + 4, &Session::default()),
        ];
        (events, pro)
    }

    fn running(plan: &'static str, audit: &[&'static str]) -> Expected {
        Expected {
            status: "active",
            plan: Some(plan),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            audit: audit.to_vec(),
            ..Expected::default()
        }
    }

    /// The next invoice is paid by what the old plan left over, without a charge.
    pub(super) fn downgrade_paid_by_balance(&self) -> Story {
        let (at, renewal) = (START + 10 * DAY, START + MONTH);
        let (mut events, pro) = self.on_pro();
        let hobby = Subscription { items: vec![(HOBBY, 1)], ..pro.clone() };
        let renewed = Subscription { period_end: renewal + MONTH, ..hobby.clone() };
        let invoice = Invoice {
            id: "in_2",
            reason: "subscription_cycle",
            created: renewal,
            paid_at: Some(renewal + 3600),
            lines: vec![
                (PRO, -1900, renewal, true),
                (HOBBY, 600, renewal, true),
                (HOBBY, 1900, renewal + MONTH, false),
            ],
            ..Invoice::default()
        };
        events.extend([
            self.updated("evt_down", at, &pro, &hobby),
            self.updated("evt_renewed", renewal, &hobby, &renewed),
            self.invoice("evt_paid", "paid", renewal + 3600, &invoice),
        ]);
        let expected = Expected {
            period_end: Some(renewal + MONTH),
            date_paid: Some(renewal + 3600),
            emails: keys(&["payment_succeeded:in_2"]),
            ..Self::running(
                "hobby",
                &["payment_succeeded", "subscription_created", "subscription_updated", "subscription_updated"],
            )
        };
        story("downgrade, paid by the balance", events, expected)
    }

    /// Seats and an add-on: several items, of which the highest plan counts.
    pub(super) fn seats_and_items(&self) -> Story {
        let (mut events, pro) = self.on_pro();
        let seats = Subscription { items: vec![(HOBBY, 1), (PRO, 5)], ..pro.clone() };
        let more = Subscription { items: vec![(HOBBY, 1), (PRO, 7)], ..pro.clone() };
        events.extend([
            self.updated("evt_five", START + DAY, &pro, &seats),
            self.updated("evt_seven", START + 2 * DAY, &seats, &more),
        ]);
        let audit = ["subscription_created", "subscription_updated", "subscription_updated"];
        story("seats and items", events, Self::running("pro", &audit))
    }

    pub(super) fn paused_and_resumed(&self) -> Story {
        let (at, back) = (START + 14 * DAY, START + 20 * DAY);
        let trial = Subscription {
            status: "trialing",
            items: vec![(PRO, 1)],
            period_end: at,
            trial_end: Some(at),
            ..Subscription::default()
        };
        let paused = Subscription { status: "paused", ..trial.clone() };
        let resumed = Subscription { status: "active", period_end: back + MONTH, ..trial.clone() };
        let events = vec![
            self.subscription("evt_1", "created", START, &trial),
            self.session("evt_2", "completed", START, &Session::default()),
            self.subscription("evt_3", "trial_will_end", at - 3 * DAY, &trial),
            self.updated("evt_4", at, &trial, &paused),
            self.subscription("evt_5", "paused", at, &paused),
            self.updated("evt_6", back, &paused, &resumed),
            self.subscription("evt_7", "resumed", back, &resumed),
        ];
        let audit = ["subscription_created", "subscription_updated", "subscription_updated", "trial_will_end"];
        let expected = Expected {
            period_end: Some(back + MONTH),
            emails: keys(&[&format!("trial_ending:sub_1:{at}")]),
            ..Self::running("pro", &audit)
        };
        story("a trial without a card is paused and resumed", events, expected)
    }

    /// The trial ends without a payment method, and the subscription with it.
    pub(super) fn trial_without_card(&self) -> Story {
        let at = START + 14 * DAY;
        let trial = Subscription {
            status: "trialing",
            items: vec![(PRO, 1)],
            period_end: at,
            trial_end: Some(at),
            ..Subscription::default()
        };
        let ended = Subscription { status: "canceled", canceled_at: Some(at), ended_at: Some(at), ..trial.clone() };
        let events = vec![
            self.subscription("evt_1", "created", START, &trial),
            self.session("evt_2", "completed", START, &Session::default()),
            self.subscription("evt_3", "trial_will_end", at - 3 * DAY, &trial),
            self.subscription("evt_4", "deleted", at, &ended),
        ];
        let expected = Expected {
            status: "deleted",
            period_end: Some(at),
            emails: keys(&["subscription_ended:sub_1", &format!("trial_ending:sub_1:{at}")]),
            ..Self::running("pro", &["subscription_created", "subscription_deleted", "trial_will_end"])
        };
        story("a trial without a card ends", events, expected)
    }

    pub(super) fn incomplete_expires(&self) -> Story {
        let at = START + 23 * 3600;
        let first = Subscription { status: "incomplete", ..Subscription::default() };
        let expired = Subscription { status: "incomplete_expired", ended_at: Some(at), ..first.clone() };
        let open = Invoice { status: "open", paid_at: None, ..Invoice::default() };
        let mut events = vec![
            self.subscription("evt_1", "created", START, &first),
            self.invoice("evt_2", "payment_failed", START + 5, &open),
            self.updated("evt_3", at, &first, &expired),
            self.invoice("evt_4", "voided", at, &Invoice { status: "void", ..open }),
        ];
        events.push(self.customer("evt_5", "created", START, Some("ws_1")));
        let expected = Expected {
            status: "deleted",
            emails: keys(&["payment_failed:in_1:1", "subscription_ended:sub_1"]),
            ..Self::running("hobby", &["payment_failed", "subscription_created", "subscription_deleted"])
        };
        story("the first payment never comes", events, expected)
    }

    pub(super) fn subscribed_again(&self) -> Story {
        let (ended, again) = (START + MONTH, START + 2 * MONTH);
        let over = Subscription {
            status: "canceled",
            canceled_at: Some(ended),
            ended_at: Some(ended),
            ..Subscription::default()
        };
        let anew = Subscription {
            id: "sub_2",
            created: again,
            period_end: again + MONTH,
            items: vec![(PRO, 1)],
            ..Subscription::default()
        };
        let mut events = self.subscribed();
        events.extend([
            self.subscription("evt_over", "deleted", ended, &over),
            self.subscription("evt_again", "created", again, &anew),
        ]);
        let expected = Expected {
            subscription: Some("sub_2"),
            period_end: Some(again + MONTH),
            emails: keys(&["subscription_ended:sub_1"]),
            ..Self::running("pro", &["subscription_created", "subscription_created", "subscription_deleted"])
        };
        story("subscribed again", events, expected)
    }

    /// Stripe ends what a deleted customer had; the event about the subscription may not be enabled.
    pub(super) fn customer_deleted(&self) -> Story {
        let mut events = self.subscribed();
        let mut gone = self.customer("evt_gone", "deleted", START + 9 * DAY, None);
        gone["data"]["object"]["deleted"] = json!(true);
        events.push(gone);
        let expected = Expected { status: "deleted", ..Self::running("hobby", &["subscription_created"]) };
        story("the customer is deleted", events, expected)
    }
}
