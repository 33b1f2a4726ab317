//! Money that goes back: refunds in full, in parts, failed; disputes lost, won, closed as inquiries.

use rand::RngExt;

use super::account::Generation;
use super::things::{Dispute, Refund};
use super::{Act, Life};
use crate::calendar::{DAY, HOUR};

impl Life {
    pub(super) fn plan_reversals(&mut self, sale: usize, refunds: f64, disputes: f64) {
        if self.chance(refunds) {
            let later = self.random.random_range(HOUR..30 * DAY);
            self.plan_in(later, Act::Refund(sale));
        }
        if self.chance(disputes) {
            let later = self.random.random_range(DAY..60 * DAY);
            self.plan_in(later, Act::Dispute(sale));
        }
    }

    pub(super) fn refund(&mut self, number: usize) {
        let sale = &self.sales[number];
        let disputed: i64 = sale.disputes.iter().map(|dispute| dispute.amount).sum();
        let left = sale.total - sale.refunded() - disputed;
        if left <= 0 {
            return;
        }
        let amount = match self.random.random_range(0..4) {
            0 | 1 => left,
            // Round sums, so that a charge comes to the same refunded amount again after a refund has failed.
            2 => left.min(300),
            _ => self.random.random_range(1..=left),
        };
        let pending = self.account.tells_refunds && self.chance(0.2);
        let refund = Refund {
            amount,
            status: if pending { "pending" } else { "succeeded" },
            created: self.now,
            id: self.fresh("re"),
        };
        let sale = &mut self.sales[number];
        sale.refunds.push(refund);
        let position = sale.refunds.len() - 1;
        if self.account.tells_refunds && self.account.tells_new_refunds {
            self.tell_refund(number, position, "refund.created");
        }
        self.tell_charge(number);
        if pending || (self.account.tells_refunds && self.chance(0.15)) {
            let fails = !pending || self.chance(0.4);
            let later = self.days(1, 10);
            self.plan_in(later, Act::FinishRefund { sale: number, refund: position, fails });
        }
        if self.chance(0.4) {
            let later = self.days(1, 20);
            self.plan_in(later, Act::Refund(number));
        }
    }

    pub(super) fn finish_refund(&mut self, sale: usize, refund: usize, fails: bool) {
        self.sales[sale].refunds[refund].status = if fails { "failed" } else { "succeeded" };
        match (fails, self.account.generation) {
            (_, Generation::A) => self.tell_refund(sale, refund, "charge.refund.updated"),
            (true, _) => {
                self.tell_refund(sale, refund, "refund.failed");
                self.tell_refund(sale, refund, "refund.updated");
            }
            (false, _) => self.tell_refund(sale, refund, "refund.updated"),
        }
    }

    pub(super) fn dispute(&mut self, number: usize) {
        let sale = &self.sales[number];
        let left = sale.total - sale.refunded();
        if left <= 0 || !sale.disputes.is_empty() {
            return;
        }
        let inquiry = self.chance(0.2);
        let dispute = Dispute {
            amount: left,
            status: if inquiry { "warning_needs_response" } else { "needs_response" },
            created: self.now,
            id: self.fresh("dp"),
        };
        self.sales[number].disputes.push(dispute);
        self.tell_dispute(number, 0, "created");
        if !inquiry {
            self.moment();
            self.tell_dispute(number, 0, "funds_withdrawn");
        }
        let later = self.days(5, 75);
        self.plan_in(later, Act::FinishDispute { sale: number, dispute: 0 });
    }

    pub(super) fn finish_dispute(&mut self, sale: usize, dispute: usize) {
        let won = self.chance(0.5);
        let it = &mut self.sales[sale].disputes[dispute];
        it.status = match (it.status, won) {
            ("warning_needs_response", _) => "warning_closed",
            (_, true) => "won",
            (_, false) => "lost",
        };
        let reinstated = it.status == "won";
        self.tell_dispute(sale, dispute, "closed");
        if reinstated {
            self.moment();
            self.tell_dispute(sale, dispute, "funds_reinstated");
        }
    }
}
