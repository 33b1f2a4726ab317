//! How subscriptions end, and how their end is taken back.

use super::things::Status;
use super::{Act, Life};
use crate::calendar::HOUR;

impl Life {
    pub(super) fn cancel_later(&mut self, number: usize, at_a_date: bool) {
        let now = self.now;
        let date = now + self.days(2, 75);
        let tells_flag = !self.account.flexible || self.chance(0.5);
        let subscription = &mut self.subscriptions[number];
        let runs = matches!(subscription.status, Status::Active | Status::Trialing | Status::PastDue);
        if !runs || subscription.will_end() || subscription.period_end <= now {
            return;
        }
        if at_a_date {
            subscription.cancel_at = Some(date);
        } else {
            subscription.cancel_at = Some(subscription.period_end);
            subscription.flag = tells_flag;
        }
        subscription.canceled_at = Some(now);
        if at_a_date {
            self.plan_at(date, Act::EndAt(number));
        }
        self.tell_subscription(number, "updated");
        if self.chance(0.35) {
            let later = self.within_days(20) + HOUR;
            self.plan_in(later, Act::Undo(number));
        }
    }

    pub(super) fn undo(&mut self, number: usize) {
        let subscription = &mut self.subscriptions[number];
        if !subscription.will_end() {
            return;
        }
        subscription.flag = false;
        subscription.cancel_at = None;
        subscription.canceled_at = None;
        self.tell_subscription(number, "updated");
        if self.chance(0.4) {
            let later = self.within_days(20) + HOUR;
            self.plan_in(later, Act::CancelLater { subscription: number, at_a_date: false });
        }
    }

    /// The date for which a cancellation was asked has come.
    pub(super) fn end_at(&mut self, number: usize) {
        if self.subscriptions[number].cancel_at.is_some_and(|end| end <= self.now) {
            self.end_now(number);
        }
    }

    pub(super) fn end_now(&mut self, number: usize) {
        let now = self.now;
        let subscription = &mut self.subscriptions[number];
        if subscription.is_over() || subscription.status == Status::Incomplete {
            return;
        }
        subscription.status = Status::Canceled;
        subscription.ended_at = Some(now);
        subscription.canceled_at = subscription.canceled_at.or(Some(now));
        self.ended(number);
        self.tell_subscription(number, "deleted");
        if self.chance(0.35) {
            let later = self.within_days(50) + HOUR;
            self.plan_in(later, Act::Subscribe);
        }
    }

    pub(super) fn ended(&mut self, number: usize) {
        let mail = format!("subscription_ended:{}", self.subscriptions[number].id);
        self.mail_if_told(mail);
    }

    /// A customer who is deleted loses the subscriptions at once.
    pub(super) fn delete_customer(&mut self, customer: usize) {
        if self.customers[customer].deleted {
            return;
        }
        for number in 0..self.subscriptions.len() {
            if self.subscriptions[number].customer == customer {
                if self.subscriptions[number].status == Status::Incomplete {
                    self.expire(number);
                }
                self.end_now(number);
            }
        }
        self.customers[customer].deleted = true;
        self.tell_customer(customer, "deleted");
    }
}
