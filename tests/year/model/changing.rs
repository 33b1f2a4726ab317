//! Another plan, seats, and pauses.

use rand::RngExt;

use super::account::{Generation, LEGACY, PLANS, plan_of, price_of};
use super::things::{Line, Status};
use super::{Act, Life};
use crate::calendar::DAY;

impl Life {
    pub(super) fn change_plan(&mut self, number: usize) {
        let subscription = &self.subscriptions[number];
        if subscription.status != Status::Active || subscription.collection_paused {
            return;
        }
        let before = subscription.items.clone();
        let (start, end) = (subscription.period_start, subscription.period_end);
        let yearly = subscription.yearly;
        let price = match self.random.random_range(0..20) {
            0 => LEGACY,
            choice => {
                let plan = &PLANS[choice % PLANS.len()];
                if yearly { plan.yearly } else { plan.monthly }
            }
        };
        let quantity = if self.chance(0.1) { self.random.random_range(2..=9) } else { 1 };
        let after = vec![(price, quantity)];
        if after == before {
            return;
        }
        self.subscriptions[number].items.clone_from(&after);
        // What is left of the period is given back for the old items and asked for the new ones.
        let left = |cents: i64| cents * (end - self.now).max(0) / (end - start).max(1);
        let line = |price, quantity, amount| Line { price, quantity, amount, start: self.now, end, proration: true };
        let mut prorations: Vec<Line> = Vec::new();
        prorations.extend(before.iter().map(|(price, many)| line(*price, *many, -left(price_of(price) * many))));
        prorations.extend(after.iter().map(|(price, many)| line(*price, *many, left(price_of(price) * many))));
        let raised = plan_of(price) > before.iter().filter_map(|(price, _)| plan_of(price)).max();
        let mode = self.random.random_range(0..10);
        if mode == 0 {
            // Without prorations.
            return self.tell_subscription(number, "updated");
        }
        self.subscriptions[number].pending.extend(prorations);
        if mode < 5 && !raised || mode < 3 {
            // They wait for the next invoice.
            return self.tell_subscription(number, "updated");
        }
        let invoice = self.draft(number, "subscription_update");
        self.subscriptions[number].latest_invoice = Some(self.invoices[invoice].id.clone());
        self.tell_subscription(number, "updated");
        self.tell_invoice(invoice, "created");
        self.finalize(invoice);
    }

    /// Collection is paused: the subscription stays active, its invoices are voided.
    pub(super) fn set_collection(&mut self, number: usize, paused: bool) {
        let subscription = &mut self.subscriptions[number];
        if subscription.status != Status::Active || subscription.collection_paused == paused {
            return;
        }
        subscription.collection_paused = paused;
        self.tell_subscription(number, "updated");
        if paused && self.chance(0.8) {
            let later = self.days(3, 70);
            self.plan_in(later, Act::ResumeCollection(number));
        }
    }

    /// The subscription itself is paused, which there is since endive.
    pub(super) fn pause(&mut self, number: usize) {
        let subscription = &mut self.subscriptions[number];
        if self.account.generation < Generation::E || subscription.status != Status::Active || subscription.will_end() {
            return;
        }
        subscription.status = Status::Paused;
        self.tell_subscription(number, "paused");
        self.tell_subscription(number, "updated");
        if self.chance(0.7) {
            let later = self.days(3, 70);
            self.plan_in(later, Act::Resume(number));
        }
    }

    /// A new period begins with the return.
    pub(super) fn resume(&mut self, number: usize) {
        let now = self.now;
        let subscription = &mut self.subscriptions[number];
        if subscription.status != Status::Paused {
            return;
        }
        subscription.status = Status::Active;
        subscription.has_card = true;
        subscription.anchor = now;
        subscription.periods = 0;
        subscription.period_end = now;
        self.tell_subscription(number, "resumed");
        self.subscriptions[number].anchor = self.now;
        self.subscriptions[number].period_end = self.now;
        self.cycle(number);
    }

    /// A random moment of the days to come.
    pub(super) fn within_days(&mut self, days: i64) -> i64 {
        self.random.random_range(0..days * DAY)
    }
}
