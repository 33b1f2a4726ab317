//! Customers, and how their subscriptions begin.

use rand::RngExt;

use super::account::{ADDON, LEGACY, PLANS};
use super::things::{ByInvoices, Customer, Invoice, Session, Status, Subscription};
use super::{Act, Life};
use crate::calendar::{DAY, HOUR, months_after};

/// How long a first payment may take before the subscription expires.
const FIRST_PAYMENT: i64 = 23 * HOUR;

impl Life {
    /// The customer that can subscribe; a new one where there is none. Gives whether it is new.
    fn customer(&mut self) -> (usize, bool) {
        if let Some(known) = self.customers.iter().rposition(|customer| !customer.deleted) {
            return (known, false);
        }
        let id = self.fresh("cus");
        // At least one way, often more, and in any order.
        let ways = [self.chance(0.3), self.chance(0.4), self.chance(0.6), self.chance(0.4)];
        let none = ways.iter().all(|way| !way);
        let customer = self.customers.len();
        self.customers.push(Customer {
            id,
            deleted: false,
            balance: 0,
            created: self.now,
            claimed_by: None,
            linked: ways[0] || ways[1] || ways[2] || none,
            names_workspace: ways[0] || none,
            subscriptions_name: ways[1],
            sessions_name: ways[2],
        });
        if ways[3] {
            let after = if self.chance(0.5) { 0 } else { self.random.random_range(0..2 * DAY) };
            let at = self.now.max(self.put_at.unwrap_or(self.now + 2 * DAY)) + after;
            self.plan_at(at, Act::Link(customer));
        }
        self.tell_customer(customer, "created");
        if self.chance(0.1) {
            let later = self.days(1, 100);
            self.plan_in(later, Act::ChangeAddress(customer));
        }
        (customer, true)
    }

    pub(super) fn change_address(&mut self, customer: usize) {
        if !self.customers[customer].deleted {
            self.tell_customer(customer, "updated");
        }
    }

    pub(super) fn subscribe(&mut self) {
        let (customer, is_new) = self.customer();
        self.moment();
        let yearly = self.chance(0.12);
        let trial = if self.chance(0.25) { [2, 7, 14, 30][self.random.random_range(0..4)] * DAY } else { 0 };
        let now = self.now;
        let mut subscription = Subscription {
            id: self.fresh("sub"),
            customer,
            status: if trial > 0 { Status::Trialing } else { Status::Incomplete },
            created: now,
            anchor: now + trial,
            yearly,
            periods: u32::from(trial == 0),
            period_start: now,
            period_end: now + trial,
            items: self.items(yearly),
            flag: false,
            cancel_at: None,
            canceled_at: None,
            ended_at: None,
            trial_end: (trial > 0).then_some(now + trial),
            latest_invoice: None,
            collection_paused: false,
            names_workspace: self.customers[customer].subscriptions_name,
            has_card: trial == 0 || self.chance(0.7),
            failures_to_come: 0,
            failing_since: None,
            pending: Vec::new(),
            plan: None,
            told: None,
            by_invoices: ByInvoices::default(),
        };
        if trial == 0 {
            subscription.period_end = months_after(now, subscription.months_per_period());
        }
        // Through Checkout, unless the app asks the API; a new customer who is named by sessions alone needs one.
        let checkout = self.chance(0.6) || (is_new && self.customers[customer].sessions_name);
        let number = self.subscriptions.len();
        self.subscriptions.push(subscription);
        let begun = self.created_with_invoice(number, checkout);
        if checkout {
            self.moment();
            self.checked_out(number, begun);
        }
        if trial > 0 {
            let warning = if trial > 3 * DAY { trial - 3 * DAY } else { 1 };
            self.plan_in(warning, Act::TrialWillEnd(number));
            self.plan_renewal(number);
            if self.chance(0.08) {
                let early = self.random.random_range(HOUR..trial);
                self.plan_in(early, Act::EndTrialEarly(number));
            }
        }
    }

    fn items(&mut self, yearly: bool) -> Vec<(&'static str, i64)> {
        let price = |plan: usize| if yearly { PLANS[plan].yearly } else { PLANS[plan].monthly };
        match self.random.random_range(0..100) {
            0..3 => vec![(LEGACY, 1)],
            3..6 => vec![(price(0), 1), (price(1), 1)],
            6..9 => vec![(ADDON, self.random.random_range(1..=4)), (price(1), 1)],
            9..18 => vec![(price(2), self.random.random_range(2..=20))],
            18..60 => vec![(price(0), 1)],
            60..90 => vec![(price(1), 1)],
            _ => vec![(price(2), 1)],
        }
    }

    /// Tells of a new subscription and its first invoice; gives whether it runs.
    fn created_with_invoice(&mut self, number: usize, checkout: bool) -> bool {
        let trialing = self.subscriptions[number].status == Status::Trialing;
        let fails = !trialing && !checkout && self.chance(0.15);
        let invoice = self.draft(number, "subscription_create");
        self.subscriptions[number].latest_invoice = Some(self.invoices[invoice].id.clone());
        // Told only once it runs.
        let was_active = !trialing && !fails && self.chance(0.3);
        if was_active {
            self.subscriptions[number].status = Status::Active;
        }
        self.subscriptions[number].note_plan();
        self.tell_subscription_at_once(number, "created");
        self.moment();
        self.tell_invoice(invoice, "created");
        if fails {
            self.subscriptions[number].failures_to_come = self.random.random_range(1..=4);
            self.plan_in(FIRST_PAYMENT, Act::Expire(number));
        }
        self.finalize(invoice);
        if was_active {
            self.plan_renewal(number);
        }
        !fails
    }

    fn checked_out(&mut self, number: usize, paid: bool) {
        let subscription = &self.subscriptions[number];
        let amount: i64 = self.invoices.iter().rev().find(|invoice| invoice.of == number).map_or(0, Invoice::due);
        let session = Session {
            customer: Some(self.customers[subscription.customer].id.clone()),
            mode: "subscription",
            status: "complete",
            payment_status: if amount == 0 { "no_payment_required" } else { "paid" },
            subscription: Some(subscription.id.clone()),
            payment: None,
            amount,
            created: self.now - 60,
            reference: self.customers[subscription.customer].sessions_name.then(|| self.id.clone()),
            bought: None,
            by_line_items: false,
            id: self.fresh("cs"),
        };
        assert!(paid, "Checkout does not end before the first payment");
        self.sessions.push(session);
        self.tell_session(self.sessions.len() - 1, "completed");
    }

    /// The first payment has not come in time.
    pub(super) fn expire(&mut self, number: usize) {
        if self.subscriptions[number].status != Status::Incomplete {
            return;
        }
        self.subscriptions[number].status = Status::IncompleteExpired;
        self.subscriptions[number].ended_at = Some(self.now);
        self.ended(number);
        self.tell_subscription(number, "updated");
        if let Some(invoice) = self.invoices.iter().position(|invoice| invoice.of == number) {
            self.void(invoice);
        }
        if self.chance(0.5) {
            let later = self.random.random_range(HOUR..10 * DAY);
            self.plan_in(later, Act::Subscribe);
        }
    }

    pub(super) fn trial_will_end(&mut self, number: usize) {
        let subscription = &self.subscriptions[number];
        if subscription.status != Status::Trialing {
            return;
        }
        let end = subscription.trial_end.expect("a trial ends");
        let mail = format!("trial_ending:{}:{end}", subscription.id);
        self.mail_if_told(mail);
        self.tell_subscription(number, "trial_will_end");
    }
}
