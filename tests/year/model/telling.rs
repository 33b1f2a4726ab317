//! From what has happened to the events that tell of it.

use rand::RngExt;
use serde_json::Value;

use super::{Life, What, bodies};

/// Between two events that change one subscription: within one second only Stripe itself knows which came last.
const APART_SECONDS: i64 = 2;

/// What nobody reads, and nobody has to find.
pub(crate) const NOISE: &str = "charge.succeeded";

/// How often Stripe makes two events of one thing.
const TWINS: f64 = 0.01;

impl Life {
    fn tell(&mut self, kind: &str, object: &Value, previous: Value) {
        let id = self.fresh("evt");
        let body = bodies::event(&self.account, &id, kind, self.now, object, previous);
        self.happen(What::Told { id, kind: kind.to_owned(), body });
    }

    fn tell_perhaps_twice(&mut self, kind: &str, object: &Value, previous: Value) {
        let twin = self.chance(TWINS).then(|| previous.clone());
        self.tell(kind, object, previous);
        if let Some(previous) = twin {
            self.now += self.random.random_range(0..APART_SECONDS);
            self.tell(kind, object, previous);
        }
    }

    /// Tells of a subscription as it is now.
    pub(super) fn tell_subscription(&mut self, subscription: usize, what: &str) {
        self.subscriptions[subscription].note_plan();
        if let Some((_, told_at)) = self.subscriptions[subscription].told {
            self.now = self.now.max(told_at + APART_SECONDS);
        }
        self.tell_subscription_at_once(subscription, what);
    }

    /// The same, perhaps in the second of what was told before: what makes a new subscription and what then changes it.
    pub(super) fn tell_subscription_at_once(&mut self, subscription: usize, what: &str) {
        let of = &self.subscriptions[subscription];
        let customer = self.customers[of.customer].id.clone();
        let body = bodies::subscription(&self.account, &self.id, &customer, of);
        let previous = match (&of.told, what) {
            (Some((before, _)), "updated") => bodies::previous_of(before, &body),
            _ => Value::Null,
        };
        if of.will_end() {
            let request = of.canceled_at.expect("it was asked for");
            let mail = format!("subscription_cancelled:{}:{request}", of.id);
            self.mail_if_told(mail);
        }
        if self.account.tells_subscriptions {
            self.tell_perhaps_twice(&format!("customer.subscription.{what}"), &body, previous);
        }
        self.subscriptions[subscription].told = Some((body, self.now));
    }

    /// The subscriptions as they would be answered to who asks; of an account that does not tell of them, none.
    pub(crate) fn subscriptions_at_stripe(&self) -> Vec<Value> {
        let told = self.subscriptions.iter().filter(|_| self.account.tells_subscriptions);
        told.map(|of| bodies::subscription(&self.account, &self.id, &self.customers[of.customer].id, of)).collect()
    }

    /// A mail whose cause only the subscription's own events tell.
    pub(super) fn mail_if_told(&mut self, mail: String) {
        if self.account.tells_subscriptions {
            self.mails.insert(mail);
        }
    }

    /// Tells of an invoice as it is now.
    pub(super) fn tell_invoice(&mut self, invoice: usize, what: &str) {
        let of = &self.invoices[invoice];
        let customer = self.customers[of.customer].id.clone();
        let body = bodies::invoice(&self.account, &self.id, &customer, of);
        let previous = match (&of.told, what) {
            (Some((before, _)), "updated") => bodies::previous_of(before, &body),
            _ => Value::Null,
        };
        self.tell_perhaps_twice(&format!("invoice.{what}"), &body, previous);
        self.invoices[invoice].told = Some((body, self.now));
    }

    pub(super) fn tell_invoice_payment(&mut self, invoice: usize) {
        let body = bodies::invoice_payment(&self.invoices[invoice]);
        self.tell("invoice_payment.paid", &body, Value::Null);
    }

    pub(super) fn tell_session(&mut self, session: usize, what: &str) {
        let body = bodies::session(&self.account, &self.sessions[session]);
        self.tell_perhaps_twice(&format!("checkout.session.{what}"), &body, Value::Null);
    }

    pub(super) fn tell_customer(&mut self, customer: usize, what: &str) {
        let of = &self.customers[customer];
        let email = format!("{}-{}@example.com", self.id, self.made);
        let body = bodies::customer(&of.id, of.names_workspace.then_some(self.id.as_str()), &email, of.deleted);
        let previous = if what == "updated" { serde_json::json!({"email": "before@example.com"}) } else { Value::Null };
        self.tell(&format!("customer.{what}"), &body, previous);
    }

    pub(super) fn tell_charge(&mut self, sale: usize) {
        let of = &self.sales[sale];
        let customer = of.customer.map(|customer| self.customers[customer].id.as_str());
        let body = bodies::charge(&self.account, customer, of);
        self.tell("charge.refunded", &body, Value::Null);
    }

    pub(super) fn tell_refund(&mut self, sale: usize, refund: usize, kind: &str) {
        let of = &self.sales[sale];
        let body = bodies::refund(of, &of.refunds[refund]);
        self.tell(kind, &body, Value::Null);
    }

    pub(super) fn tell_dispute(&mut self, sale: usize, dispute: usize, what: &str) {
        let of = &self.sales[sale];
        let body = bodies::dispute(of, &of.disputes[dispute]);
        self.tell(&format!("charge.dispute.{what}"), &body, Value::Null);
    }

    pub(super) fn tell_noise(&mut self, id: &str) {
        if self.account.tells_noise {
            self.tell(NOISE, &serde_json::json!({"id": id, "object": "charge"}), Value::Null);
        }
    }
}
