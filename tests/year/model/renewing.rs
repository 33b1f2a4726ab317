//! Periods: how one ends and the next begins, and what may happen within one.

use rand::RngExt;

use super::things::Status;
use super::{Act, Life};
use crate::calendar::{DAY, HOUR};

/// A draft can be changed for about this long before it is finalized.
const DRAFT: i64 = HOUR;

impl Life {
    pub(super) fn renew(&mut self, number: usize) {
        let subscription = &self.subscriptions[number];
        if subscription.is_over() || self.now < subscription.period_end {
            return;
        }
        if subscription.flag || subscription.ends_at().is_some_and(|end| end <= self.now) {
            return self.end_now(number);
        }
        match subscription.status {
            Status::Trialing if !subscription.has_card => self.end_trial_without_card(number),
            Status::Trialing => {
                self.subscriptions[number].status = Status::Active;
                self.cycle(number);
            }
            Status::Active | Status::PastDue | Status::Unpaid => self.cycle(number),
            Status::Incomplete | Status::IncompleteExpired | Status::Paused | Status::Canceled => {}
        }
    }

    /// Begins the next period, with an invoice for it.
    pub(super) fn cycle(&mut self, number: usize) {
        let subscription = &mut self.subscriptions[number];
        subscription.periods += 1;
        subscription.period_start = subscription.period_end;
        self.subscriptions[number].period_end = self.period_end(number);
        let invoice = self.draft(number, "subscription_cycle");
        self.subscriptions[number].latest_invoice = Some(self.invoices[invoice].id.clone());
        if self.chance(0.5) {
            self.tell_invoice(invoice, "created");
            self.moment();
            self.tell_subscription(number, "updated");
        } else {
            self.tell_subscription(number, "updated");
            self.moment();
            self.tell_invoice(invoice, "created");
        }
        // Of one that is given up, drafts are kept and nothing is attempted.
        if self.subscriptions[number].status != Status::Unpaid {
            let wait = DRAFT + self.random.random_range(0..600);
            self.plan_in(wait, Act::Finalize(invoice));
        }
        self.plan_renewal(number);
    }

    fn end_trial_without_card(&mut self, number: usize) {
        if !self.account.pauses_trials {
            return self.end_now(number);
        }
        self.subscriptions[number].status = Status::Paused;
        self.tell_subscription(number, "paused");
        self.tell_subscription(number, "updated");
        if self.chance(0.6) {
            let later = self.days(1, 60);
            self.plan_in(later, Act::Resume(number));
        }
    }

    pub(super) fn end_trial_early(&mut self, number: usize) {
        let subscription = &mut self.subscriptions[number];
        if subscription.status != Status::Trialing || subscription.flag || subscription.cancel_at.is_some() {
            return;
        }
        let now = self.now;
        subscription.has_card = true;
        subscription.trial_end = Some(now);
        subscription.anchor = now;
        subscription.period_end = now;
        subscription.status = Status::Active;
        // Stripe warns of the end at once.
        let mail = format!("trial_ending:{}:{now}", self.subscriptions[number].id);
        self.mail_if_told(mail);
        self.cycle(number);
        self.tell_subscription(number, "trial_will_end");
    }

    /// What may happen in the period that begins.
    pub(super) fn plan_period(&mut self, number: usize) {
        let subscription = &self.subscriptions[number];
        if subscription.is_over() {
            return;
        }
        let length = (subscription.period_end - self.now).max(2 * HOUR);
        let times = (length / (30 * DAY)).clamp(1, 6);
        for _ in 0..times {
            let when = self.random.random_range(HOUR..length);
            let act = match self.random.random_range(0..1000) {
                0..80 => Act::ChangePlan(number),
                80..125 => Act::CancelLater { subscription: number, at_a_date: false },
                125..133 => Act::CancelLater { subscription: number, at_a_date: true },
                133..148 => Act::EndNow(number),
                148..160 => Act::PauseCollection(number),
                160..168 => Act::Pause(number),
                168..173 => Act::DeleteCustomer(self.subscriptions[number].customer),
                _ => continue,
            };
            self.plan_in(when, act);
        }
    }
}
