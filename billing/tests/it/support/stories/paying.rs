//! Stories of trials, credits and of more than one subscription.

use serde_json::Value;

use super::{Expected, Story, Teller, keys, story};
use crate::support::bodies::{DAY, HOBBY, Invoice, MONTH, PRO, START, Session, Subscription};

impl Teller {
    pub(super) fn trial_converts(&self) -> Story {
        let converted_at = START + 14 * DAY;
        let trial = Subscription {
            status: "trialing",
            items: vec![(PRO, 1)],
            period_end: converted_at,
            trial_end: Some(converted_at),
            ..Subscription::default()
        };
        let converted = Subscription { status: "active", period_end: converted_at + MONTH, ..trial.clone() };
        let nothing = Invoice { lines: vec![(PRO, 0, converted_at, false)], ..Invoice::default() };
        let paid = Invoice {
            id: "in_2",
            reason: "subscription_cycle",
            created: converted_at,
            paid_at: Some(converted_at + 2),
            lines: vec![(PRO, 2900, converted_at + MONTH, false)],
            ..Invoice::default()
        };
        let session = Session { payment_status: "no_payment_required", ..Session::default() };
        let events = vec![
            self.subscription("evt_1", "created", START, &trial),
            self.invoice("evt_2", "paid", START, &nothing),
            self.session("evt_3", "completed", START + 1, &session),
            self.updated("evt_4", converted_at, &trial, &converted),
            self.invoice("evt_5", "paid", converted_at + 2, &paid),
            self.invoice("evt_6", "payment_succeeded", converted_at + 2, &paid),
        ];
        let expected = Expected {
            status: "active",
            plan: Some("pro"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            credits: 100,
            period_end: Some(converted_at + MONTH),
            date_paid: Some(converted_at + 2),
            audit: vec!["credits_granted", "payment_succeeded", "subscription_created", "subscription_updated"],
            emails: keys(&["payment_succeeded:in_2"]),
            ..Expected::default()
        };
        story("a trial converts", events, expected)
    }

    /// The event that changed the status beats the one that only carries it, whatever their ids.
    pub(super) fn active_within_its_second(&self) -> Story {
        let incomplete = Subscription { status: "incomplete", ..Subscription::default() };
        let events = vec![
            self.subscription("evt_b", "created", START, &incomplete),
            self.updated("evt_a", START, &incomplete, &Subscription::default()),
            self.session("evt_c", "completed", START, &Session::default()),
        ];
        let expected = Expected {
            status: "active",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            audit: vec!["subscription_created", "subscription_updated"],
            ..Expected::default()
        };
        story("active within the second of its creation", events, expected)
    }

    pub(super) fn credits(&self) -> Story {
        let three = Session { id: "cs_2", quantity: Some("3"), ..Session::credits() };
        let events = vec![
            self.session("evt_1", "completed", START, &Session::credits()),
            self.session("evt_1_twin", "completed", START, &Session::credits()),
            self.session("evt_2", "completed", START + DAY, &three),
        ];
        let expected = Expected {
            status: "free",
            customer: Some("cus_1"),
            credits: 40,
            audit: vec!["credits_granted", "credits_granted"],
            emails: keys(&["credits_granted:cs_1", "credits_granted:cs_2"]),
            ..Expected::default()
        };
        story("credits", events, expected)
    }

    pub(super) fn credits_paid_later(&self) -> Story {
        let waiting = Session { payment_status: "unpaid", ..Session::credits() };
        let events = vec![
            self.session("evt_1", "completed", START, &waiting),
            self.session("evt_2", "async_payment_succeeded", START + 2 * DAY, &Session::credits()),
        ];
        let expected = Expected {
            status: "free",
            customer: Some("cus_1"),
            credits: 10,
            audit: vec!["credits_granted"],
            emails: keys(&["credits_granted:cs_1"]),
            ..Expected::default()
        };
        story("credits that are paid later", events, expected)
    }

    pub(super) fn credits_never_paid(&self) -> Story {
        let waiting = Session { payment_status: "unpaid", ..Session::credits() };
        let events = vec![
            self.session("evt_1", "completed", START, &waiting),
            self.session("evt_2", "async_payment_failed", START + 2 * DAY, &waiting),
        ];
        let expected =
            Expected { status: "free", customer: Some("cus_1"), audit: vec!["checkout_failed"], ..Expected::default() };
        story("credits that are never paid", events, expected)
    }

    /// The old one ends after the new one began.
    pub(super) fn two_subscriptions(&self) -> Story {
        let began = START + 19 * DAY;
        let second = Subscription {
            id: "sub_2",
            items: vec![(PRO, 1)],
            created: began,
            period_end: began + MONTH,
            ..Subscription::default()
        };
        let ended = Subscription { status: "canceled", ended_at: Some(began + DAY), ..Subscription::default() };
        let mut events = self.subscribed();
        events.extend([
            self.subscription("evt_second", "created", began, &second),
            self.subscription("evt_ended", "deleted", began + DAY, &ended),
        ]);
        let expected = Expected {
            status: "active",
            plan: Some("pro"),
            subscription: Some("sub_2"),
            customer: Some("cus_1"),
            period_end: Some(began + MONTH),
            audit: vec!["subscription_created", "subscription_created", "subscription_deleted"],
            emails: keys(&["subscription_ended:sub_1"]),
            ..Expected::default()
        };
        story("two subscriptions", events, expected)
    }

    pub(super) fn unknown_price(&self) -> Story {
        let odd =
            Subscription { items: vec![("price_nobody_knows", 1)], status: "past_due", ..Subscription::default() };
        let mut events = self.subscribed();
        events.push(self.updated("evt_odd", START + DAY, &Subscription::default(), &odd));
        let expected = Expected {
            status: "past_due",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            past_due_since: Some(START + DAY),
            audit: vec!["subscription_created", "subscription_updated", "unknown_price"],
            ..Expected::default()
        };
        story("a price that no plan has", events, expected)
    }

    /// An endpoint that is sent invoices and nothing else.
    pub(super) fn only_invoices(&self) -> Story {
        let renewal = START + MONTH;
        let first = Invoice { workspace: Some("ws_1"), ..Invoice::default() };
        let failed = Invoice {
            id: "in_2",
            status: "open",
            reason: "subscription_cycle",
            created: renewal,
            paid_at: None,
            lines: vec![(HOBBY, 900, renewal + MONTH, false)],
            ..first.clone()
        };
        let events = vec![
            self.invoice("evt_1", "paid", START + 2, &first),
            self.invoice("evt_2", "payment_failed", renewal + 3600, &failed),
        ];
        let expected = Expected {
            status: "past_due",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            past_due_since: Some(renewal + 3600),
            date_paid: Some(START + 2),
            audit: vec!["payment_failed", "payment_succeeded"],
            emails: keys(&["payment_failed:in_2:1", "payment_succeeded:in_1"]),
            ..Expected::default()
        };
        story("known from invoices alone", events, expected)
    }

    /// Nothing but invoices, the second of which is unpaid, and the third, and so on; `paid` of the second is told, too.
    fn invoices_unpaid(&self, paid: bool) -> Vec<Value> {
        let first = Invoice { workspace: Some("ws_1"), ..Invoice::default() };
        let month = |number: i64, id: &'static str| Invoice {
            id,
            status: "open",
            reason: "subscription_cycle",
            created: START + number * MONTH,
            paid_at: None,
            lines: vec![(HOBBY, 900, START + (number + 1) * MONTH, false)],
            ..first.clone()
        };
        let (second, third, fourth) = (month(1, "in_2"), month(2, "in_3"), month(3, "in_4"));
        let failed = |id: &str, invoice: &Invoice| self.invoice(id, "payment_failed", invoice.created + 3600, invoice);
        let again = Invoice { attempt: 2, ..second.clone() };
        let mut events = vec![
            self.invoice("evt_1", "paid", START + 2, &first),
            failed("evt_2", &second),
            self.invoice("evt_2_again", "payment_failed", second.created + 3 * DAY, &again),
            failed("evt_3", &third),
            failed("evt_4", &fourth),
        ];
        if paid {
            let paid_at = second.created + 4 * DAY;
            let paid = Invoice { status: "paid", attempt: 3, paid_at: Some(paid_at), ..second.clone() };
            events.push(self.invoice("evt_2_paid", "paid", paid_at, &paid));
        }
        events
    }

    /// One grace, however many invoices stay unpaid.
    pub(super) fn only_invoices_unpaid_twice(&self) -> Story {
        let expected = Expected {
            status: "past_due",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            past_due_since: Some(START + MONTH + 3600),
            date_paid: Some(START + 2),
            audit: vec!["payment_failed", "payment_failed", "payment_failed", "payment_failed", "payment_succeeded"],
            emails: keys(&[
                "payment_failed:in_2:1",
                "payment_failed:in_2:2",
                "payment_failed:in_3:1",
                "payment_failed:in_4:1",
                "payment_succeeded:in_1",
            ]),
            ..Expected::default()
        };
        story("known from invoices alone, several of them unpaid", self.invoices_unpaid(false), expected)
    }

    /// Paid in between: a grace of its own for what failed after that.
    pub(super) fn only_invoices_recovered(&self) -> Story {
        let unpaid = self.only_invoices_unpaid_twice().expected;
        let mut expected = Expected {
            period_end: Some(START + 2 * MONTH),
            past_due_since: Some(START + 2 * MONTH + 3600),
            date_paid: Some(START + MONTH + 4 * DAY),
            ..unpaid
        };
        expected.audit.push("payment_succeeded");
        expected.emails.push("payment_succeeded:in_2".to_owned());
        story("known from invoices alone, unpaid again", self.invoices_unpaid(true), expected)
    }

    /// Stripe makes two events of one change now and then, and here they do not even agree.
    pub(super) fn twin_events(&self) -> Story {
        let paid = Invoice { paid_at: None, workspace: Some("ws_1"), ..Invoice::default() };
        let given_up =
            Subscription { cancel_at_period_end: true, canceled_at: Some(START + 9), ..Subscription::default() };
        let events = vec![
            self.invoice("evt_b", "paid", START + 3, &paid),
            self.invoice("evt_a", "payment_succeeded", START + 4, &paid),
            self.updated("evt_d", START + 9, &Subscription::default(), &given_up),
            self.updated("evt_c", START + 9, &Subscription::default(), &given_up),
        ];
        let expected = Expected {
            status: "cancel_at_period_end",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            cancel_at_period_end: true,
            period_end: Some(START + MONTH),
            date_paid: Some(START + 4),
            audit: vec!["payment_succeeded", "subscription_cancelled", "subscription_updated"],
            emails: keys(&["payment_succeeded:in_1", &format!("subscription_cancelled:sub_1:{}", START + 9)]),
            ..Expected::default()
        };
        story("twin events", events, expected)
    }
}
