//! Credits, bought once: paid at once, later or never, by customers and by guests.

use rand::RngExt;

use super::account::PACKS;
use super::things::{Sale, Session};
use super::{Act, Life};
use crate::calendar::{DAY, HOUR};

/// After this long whatever makes a customer's link has arrived.
const LINKED_BY_THEN: i64 = 20 * DAY;

impl Life {
    pub(super) fn buy_credits(&mut self) {
        let (plan, price, cents, credits) = PACKS[self.random.random_range(0..PACKS.len())];
        let quantity = if self.chance(0.6) { 1 } else { self.random.random_range(2..=7) };
        // With the customer who is there, and who may have no other tie to the workspace yet; else as a guest.
        let known = self.customers.iter().rposition(|customer| !customer.deleted).filter(|_| self.chance(0.8));
        let free = self.chance(0.04);
        let id = self.fresh("cs");
        let payment = (!free).then(|| id.replace("cs_", "pi_"));
        let charge = id.replace("cs_", "ch_");
        let by_line_items = self.chance(0.3);
        let named = known.is_none_or(|customer| self.customers[customer].sessions_name) || self.chance(0.5);
        let reference = self.claimed_in_vain(known).or_else(|| named.then(|| self.id.clone()));
        let mut session = Session {
            customer: known.map(|customer| self.customers[customer].id.clone()),
            mode: "payment",
            status: "complete",
            payment_status: if free { "no_payment_required" } else { "paid" },
            subscription: None,
            payment: payment.clone(),
            amount: if free { 0 } else { cents * quantity },
            created: self.now - 120,
            reference,
            bought: Some((plan, price, quantity)),
            by_line_items,
            id,
        };
        let sale = Sale {
            customer: known,
            source: session.id.clone(),
            invoice: None,
            payment: payment.unwrap_or_default(),
            charge,
            total: session.amount,
            credits: credits * quantity,
            refunds: Vec::new(),
            disputes: Vec::new(),
        };
        let number = self.sessions.len();
        match self.random.random_range(0..100) {
            // Nobody came back to pay.
            0..8 => {
                session.status = "expired";
                session.payment_status = "unpaid";
                session.payment = None;
                self.sessions.push(session);
                self.tell_session(number, "expired");
            }
            // A bank transfer: paid days later, or not at all.
            8..20 if !free => {
                session.payment_status = "unpaid";
                self.sessions.push(session);
                self.tell_session(number, "completed");
                let later = self.days(1, 6);
                self.plan_in(later, Act::FinishSession(number));
            }
            _ => {
                self.sessions.push(session);
                self.sold(number, sale);
                self.tell_session(number, "completed");
            }
        }
        if self.chance(0.6) {
            let later = self.random.random_range(HOUR..110 * DAY);
            self.plan_in(later, Act::BuyCredits);
        }
    }

    /// Now and then somebody pays for another workspace with this one's customer, whose link has long been made.
    fn claimed_in_vain(&mut self, known: Option<usize>) -> Option<String> {
        let linked_since = self.put_at?.max(self.customers[known?].created);
        if self.now < linked_since + LINKED_BY_THEN || !self.chance(0.1) {
            return None;
        }
        let other = format!("ws_{:05}", self.index + 1);
        self.customers[known?].claimed_by = Some(other.clone());
        Some(other)
    }

    fn sold(&mut self, session: usize, sale: Sale) {
        self.mails.insert(format!("credits_granted:{}", self.sessions[session].id));
        let paid = sale.total > 0;
        self.sales.push(sale);
        if paid {
            self.plan_reversals(self.sales.len() - 1, 0.15, 0.05);
        }
    }

    /// The transfer has come, or has not.
    pub(super) fn finish_session(&mut self, number: usize) {
        if self.chance(0.3) {
            return self.tell_session(number, "async_payment_failed");
        }
        self.sessions[number].payment_status = "paid";
        let session = &self.sessions[number];
        let (plan, _, quantity) = session.bought.expect("credits are bought");
        let credits = PACKS.iter().find(|pack| pack.0 == plan).map_or(0, |pack| pack.3) * quantity;
        let known = |id: &String| self.customers.iter().position(|customer| customer.id == *id);
        let sale = Sale {
            customer: session.customer.as_ref().and_then(known),
            source: session.id.clone(),
            invoice: None,
            payment: session.payment.clone().unwrap_or_default(),
            charge: session.id.replace("cs_", "ch_"),
            total: session.amount,
            credits,
            refunds: Vec::new(),
            disputes: Vec::new(),
        };
        self.sold(number, sale);
        self.tell_session(number, "async_payment_succeeded");
    }
}
