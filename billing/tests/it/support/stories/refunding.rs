//! Stories in which money goes back, by the merchant's will or by the bank's.

use serde_json::{Value, json};

use super::{Expected, Story, Teller, keys, story};
use crate::support::bodies::{DAY, Generation, Invoice, MONTH, PRO, START, Session, Subscription, event};

impl Teller {
    /// A charge of 900 of which so much has been refunded.
    fn refunded(&self, id: &str, at: i64, amount_refunded: i64) -> Value {
        let mut charge = json!({
            "id": "ch_1", "object": "charge", "amount": 900, "amount_refunded": amount_refunded, "currency": "eur",
            "customer": "cus_1", "payment_intent": "pi_cs_1", "refunded": amount_refunded == 900, "created": START,
        });
        if self.0 == Generation::A {
            charge["invoice"] = Value::Null;
        }
        event(self.0, id, "charge.refunded", at, &charge)
    }

    fn refund(&self, id: &str, what: &str, at: i64, refund: &str, amount: i64, created: i64) -> Value {
        self.refund_of("pi_cs_1", id, what, at, refund, amount, created)
    }

    #[expect(clippy::too_many_arguments, reason = "a refund has so many parts")]
    fn refund_of(
        &self,
        payment: &str,
        id: &str,
        what: &str,
        at: i64,
        refund: &str,
        amount: i64,
        created: i64,
    ) -> Value {
        let status = if what == "failed" { "failed" } else { "succeeded" };
        let body = json!({
            "id": refund, "object": "refund", "amount": amount, "charge": "ch_1", "payment_intent": payment,
            "currency": "eur", "status": status, "created": created,
        });
        event(self.0, id, &format!("refund.{what}"), at, &body)
    }

    fn dispute(&self, id: &str, what: &str, at: i64, status: &str) -> Value {
        let body = json!({
            "id": "dp_1", "object": "dispute", "amount": 900, "charge": "ch_1", "payment_intent": "pi_cs_1",
            "currency": "eur", "status": status, "reason": "fraudulent", "created": START + 40 * DAY,
        });
        event(self.0, id, &format!("charge.dispute.{what}"), at, &body)
    }

    fn bought(&self) -> Value {
        self.session("evt_bought", "completed", START, &Session::credits())
    }

    fn after(credits: i64, audit: &[&'static str]) -> Expected {
        let mut audit = audit.to_vec();
        audit.push("credits_granted");
        audit.sort_unstable();
        Expected {
            status: "free",
            customer: Some("cus_1"),
            credits,
            audit,
            emails: keys(&["credits_granted:cs_1"]),
            ..Expected::default()
        }
    }

    pub(super) fn refunded_in_full(&self) -> Story {
        let events = vec![
            self.bought(),
            self.refund("evt_1", "created", START + DAY, "re_1", 900, START + DAY),
            self.refunded("evt_2", START + DAY, 900),
            self.refund("evt_3", "updated", START + 2 * DAY, "re_1", 900, START + DAY),
        ];
        story("a refund in full", events, Self::after(0, &["credits_revoked", "payment_refunded"]))
    }

    pub(super) fn refunded_in_parts(&self) -> Story {
        let events = vec![
            self.bought(),
            self.refund("evt_1", "created", START + DAY, "re_1", 250, START + DAY),
            self.refunded("evt_2", START + DAY, 250),
            self.refund("evt_3", "created", START + 2 * DAY, "re_2", 250, START + 2 * DAY),
            self.refunded("evt_4", START + 2 * DAY, 500),
            self.refund("evt_5", "created", START + 3 * DAY, "re_3", 100, START + 3 * DAY),
        ];
        // 600 of 900: 6.67 credits, rounded in the customer's favour.
        let audit = ["credits_revoked", "credits_revoked", "credits_revoked", "payment_refunded", "payment_refunded"];
        story("refunds in parts", events, Self::after(4, &audit))
    }

    /// Only the charge tells.
    pub(super) fn refunded_by_charge_alone(&self) -> Story {
        let events =
            vec![self.bought(), self.refunded("evt_1", START + DAY, 300), self.refunded("evt_2", START + 2 * DAY, 900)];
        let audit = ["credits_revoked", "credits_revoked", "payment_refunded", "payment_refunded"];
        story("refunds that only the charge tells of", events, Self::after(0, &audit))
    }

    pub(super) fn refund_fails(&self) -> Story {
        let failed = START + 5 * DAY;
        let events = vec![
            self.bought(),
            self.refund("evt_1", "created", START + DAY, "re_1", 900, START + DAY),
            self.refunded("evt_2", START + DAY, 900),
            self.refund("evt_3", "failed", failed, "re_1", 900, START + DAY),
            self.refund("evt_4", "created", failed + DAY, "re_2", 450, failed + DAY),
        ];
        let audit = ["credits_revoked", "credits_restored", "credits_revoked", "payment_refunded"];
        story("a refund fails, a smaller one does not", events, Self::after(5, &audit))
    }

    fn disputed(&self, status: &str) -> Vec<Value> {
        let at = START + 40 * DAY;
        vec![
            self.bought(),
            self.dispute("evt_1", "created", at, "needs_response"),
            self.dispute("evt_2", "funds_withdrawn", at, "needs_response"),
            self.dispute("evt_3", "updated", at + DAY, "under_review"),
            self.dispute("evt_4", "closed", at + 20 * DAY, status),
        ]
    }

    pub(super) fn dispute_lost(&self) -> Story {
        story("a dispute is lost", self.disputed("lost"), Self::after(0, &["credits_revoked"]))
    }

    pub(super) fn dispute_won(&self) -> Story {
        let mut events = self.disputed("won");
        events.push(self.dispute("evt_5", "funds_reinstated", START + 60 * DAY, "won"));
        story("a dispute is won", events, Self::after(10, &["credits_restored", "credits_revoked"]))
    }

    pub(super) fn warning_closed(&self) -> Story {
        let events = self.disputed("warning_closed");
        story("an inquiry is closed", events, Self::after(10, &["credits_restored", "credits_revoked"]))
    }

    pub(super) fn refunded_and_disputed(&self) -> Story {
        let mut events = self.disputed("prevented");
        events.push(self.refund("evt_5", "created", START + 41 * DAY, "re_1", 900, START + 41 * DAY));
        events.push(self.refunded("evt_6", START + 41 * DAY, 900));
        let audit = ["credits_revoked", "credits_revoked", "payment_refunded"];
        story("a dispute that a refund prevents", events, Self::after(0, &audit))
    }

    /// The credits of a period are taken back with its invoice's payment; the plan stays until Stripe ends it.
    pub(super) fn period_refunded(&self) -> Story {
        let subscription = Subscription { items: vec![(PRO, 1)], ..Subscription::default() };
        let invoice = Invoice { lines: vec![(PRO, 900, START + MONTH, false)], ..Invoice::default() };
        let events = vec![
            self.subscription("evt_sub", "created", START, &subscription),
            self.session("evt_session", "completed", START + 4, &Session::default()),
            self.invoice("evt_paid", "paid", START + 2, &invoice),
            self.paid_by("evt_link", START + 2, "in_1", "pi_in_1"),
            self.refund_of("pi_in_1", "evt_1", "created", START + DAY, "re_1", 450, START + DAY),
        ];
        let expected = Expected {
            status: "active",
            plan: Some("pro"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            credits: 50,
            period_end: Some(START + MONTH),
            date_paid: Some(START + 2),
            audit: vec!["credits_granted", "credits_revoked", "payment_succeeded", "subscription_created"],
            emails: keys(&["payment_succeeded:in_1"]),
            ..Expected::default()
        };
        story("half of a period's payment is refunded", events, expected)
    }

    /// The refund is told before anybody knows whose customer it was.
    pub(super) fn refunded_before_the_link(&self) -> Story {
        let session = Session { workspace: None, ..Session::credits() };
        let events = vec![
            self.session("evt_bought", "completed", START, &session),
            self.refund("evt_1", "created", START + DAY, "re_1", 450, START + DAY),
            self.customer("evt_2", "updated", START + 2 * DAY, Some("ws_1")),
        ];
        story("refunded before the link", events, Self::after(5, &["credits_revoked"]))
    }

    fn paid_by(&self, id: &str, at: i64, invoice: &str, payment: &str) -> Value {
        let paid = json!({
            "id": format!("inpay_{invoice}"), "object": "invoice_payment", "invoice": invoice, "amount_paid": 900,
            "currency": "eur", "status": "paid", "payment": {"type": "payment_intent", "payment_intent": payment},
        });
        event(self.0, id, "invoice_payment.paid", at, &paid)
    }

    /// The session makes an invoice of its payment; both name it.
    pub(super) fn refunded_with_an_invoice(&self) -> Story {
        let invoice = Invoice {
            id: "in_9",
            subscription: None,
            reason: "manual",
            lines: vec![("price_credits10", 900, START, false)],
            ..Invoice::default()
        };
        let mut paid = self.invoice("evt_paid", "paid", START + 2, &invoice);
        if self.0 == Generation::A {
            paid["data"]["object"]["payment_intent"] = json!("pi_cs_1");
        }
        let events = vec![
            self.bought(),
            paid,
            self.paid_by("evt_link", START + 2, "in_9", "pi_cs_1"),
            self.refund("evt_1", "created", START + DAY, "re_1", 450, START + DAY),
            self.refunded("evt_2", START + DAY, 450),
        ];
        let mut expected = Self::after(5, &["credits_revoked", "payment_refunded", "payment_succeeded"]);
        expected.emails = keys(&["credits_granted:cs_1", "payment_succeeded:in_9"]);
        expected.date_paid = Some(START + 2);
        story("a refund of what an invoice was made of", events, expected)
    }

    /// Stripe names no customer, neither of the sale nor of the charge.
    pub(super) fn refunded_to_a_guest(&self) -> Story {
        let nobody = |mut event: Value| {
            event["data"]["object"]["customer"] = Value::Null;
            event
        };
        let events = vec![
            nobody(self.bought()),
            nobody(self.refunded("evt_1", START + DAY, 450)),
            self.refund("evt_2", "created", START + DAY, "re_1", 450, START + DAY),
        ];
        let expected = Expected { customer: None, ..Self::after(5, &["credits_revoked"]) };
        let mut story = story("a guest is refunded", events, expected);
        story.steps.push(super::Step::Put(None));
        story
    }

    /// The first refund fails, and the charge comes to the same amount again.
    pub(super) fn refunded_twice_the_same(&self) -> Story {
        let again = START + 9 * DAY;
        let events = vec![
            self.bought(),
            self.refunded("evt_1", START + DAY, 450),
            self.refund("evt_2", "failed", START + 5 * DAY, "re_1", 450, START + DAY),
            self.refunded("evt_3", again, 450),
            self.refund("evt_4", "created", again, "re_2", 450, again),
        ];
        let audit = ["credits_revoked", "credits_restored", "credits_revoked", "payment_refunded"];
        story("the same amount is refunded twice", events, Self::after(5, &audit))
    }

    /// A subscription of an account that is no customer; the workspace has a customer besides.
    pub(super) fn without_a_customer(&self) -> Story {
        let subscription = Subscription { items: vec![(PRO, 1)], workspace: Some("ws_1"), ..Subscription::default() };
        let invoice =
            Invoice { lines: vec![(PRO, 900, START + MONTH, false)], workspace: Some("ws_1"), ..Invoice::default() };
        let mut events = vec![
            self.subscription("evt_sub", "created", START, &subscription),
            self.invoice("evt_paid", "paid", START + 2, &invoice),
        ];
        for event in &mut events {
            event["data"]["object"]["customer"] = Value::Null;
        }
        events.extend([
            self.paid_by("evt_link", START + 2, "in_1", "pi_in_1"),
            self.refund_of("pi_in_1", "evt_1", "created", START + DAY, "re_1", 450, START + DAY),
            self.customer("evt_2", "updated", START + 2 * DAY, Some("ws_1")),
        ]);
        let expected = Expected {
            status: "active",
            plan: Some("pro"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            credits: 50,
            period_end: Some(START + MONTH),
            date_paid: Some(START + 2),
            audit: vec!["credits_granted", "credits_revoked", "payment_succeeded", "subscription_created"],
            emails: keys(&["payment_succeeded:in_1"]),
            ..Expected::default()
        };
        story("a subscription without a customer", events, expected)
    }
}
