//! Invoices: made, finalized, attempted over days, paid or given up.

use rand::RngExt;

use super::account::{DunningEnd, Generation, PLANS, plan_of, price_of};
use super::things::{Invoice, Line, Sale, Status};
use super::{Act, Life};
use crate::calendar::{HOUR, months_after};

impl Life {
    /// A draft for the period in which the subscription is now, with the prorations that wait.
    pub(super) fn draft(&mut self, number: usize, reason: &'static str) -> usize {
        let subscription = &mut self.subscriptions[number];
        let free = subscription.status == Status::Trialing;
        let mut lines: Vec<Line> = Vec::new();
        if reason != "subscription_update" {
            lines.extend(subscription.items.iter().map(|(price, quantity)| Line {
                price,
                quantity: *quantity,
                amount: if free { 0 } else { price_of(price) * quantity },
                start: subscription.period_start,
                end: subscription.period_end,
                proration: false,
            }));
        }
        lines.append(&mut subscription.pending);
        let regular = lines.iter().filter(|line: &&Line| !line.proration).filter_map(|line| plan_of(line.price)).max();
        let (customer, names_workspace) = (subscription.customer, subscription.names_workspace);
        let invoice = Invoice {
            customer,
            of: number,
            subscription: subscription.id.clone(),
            status: "draft",
            reason,
            created: self.now,
            finalized_at: None,
            paid_at: None,
            attempts: 0,
            next_attempt: None,
            lines,
            from_balance: 0,
            out_of_band: false,
            names_workspace,
            credits: regular.map_or(0, |plan| PLANS[plan].credits),
            told: None,
            id: self.fresh("in"),
        };
        self.invoices.push(invoice);
        self.invoices.len() - 1
    }

    /// Finalizes a draft and tries to have it paid, unless nothing is collected.
    pub(super) fn finalize(&mut self, invoice: usize) {
        let (of, customer) = (self.invoices[invoice].of, self.invoices[invoice].customer);
        if self.invoices[invoice].status != "draft" || self.subscriptions[of].is_over() {
            return;
        }
        let total = self.invoices[invoice].total();
        let balance = &mut self.customers[customer].balance;
        let from_balance = total.min(*balance);
        // A negative total is left to the balance.
        *balance -= from_balance;
        let it = &mut self.invoices[invoice];
        it.from_balance = from_balance.max(0);
        it.status = "open";
        it.finalized_at = Some(self.now);
        self.tell_invoice(invoice, "finalized");
        if self.subscriptions[of].collection_paused {
            self.moment();
            self.void(invoice);
        } else if self.invoices[invoice].due() == 0 {
            self.paid(invoice);
        } else {
            self.attempt(invoice);
        }
    }

    pub(super) fn void(&mut self, invoice: usize) {
        if self.invoices[invoice].status == "open" {
            self.invoices[invoice].status = "void";
            self.invoices[invoice].next_attempt = None;
            self.tell_invoice(invoice, "voided");
        }
    }

    pub(super) fn attempt(&mut self, invoice: usize) {
        let of = self.invoices[invoice].of;
        if self.invoices[invoice].status != "open" || self.subscriptions[of].is_over() {
            return;
        }
        self.moment();
        self.invoices[invoice].attempts += 1;
        let first = self.invoices[invoice].attempts == 1;
        let create = self.invoices[invoice].reason == "subscription_create";
        if first && !create && self.subscriptions[of].failures_to_come == 0 && self.chance(0.09) {
            self.subscriptions[of].failures_to_come = self.random.random_range(1..=self.account.attempts + 2);
        }
        if self.subscriptions[of].failures_to_come > 0 {
            self.subscriptions[of].failures_to_come -= 1;
            self.failed(invoice);
        } else {
            self.paid(invoice);
        }
    }

    fn failed(&mut self, invoice: usize) {
        let create = self.invoices[invoice].reason == "subscription_create";
        let of = self.invoices[invoice].of;
        let attempts = self.invoices[invoice].attempts;
        let last = attempts >= self.account.attempts;
        let wait = if create { self.random.random_range(HOUR..11 * HOUR) } else { self.days(1, 3) };
        let next = (!last && !create).then_some(self.now + wait);
        self.invoices[invoice].next_attempt = next;
        let id = self.invoices[invoice].id.clone();
        self.mails.insert(format!("payment_failed:{id}:{attempts}"));
        self.tell_invoice(invoice, "payment_failed");
        let failed_at = self.now;
        self.subscriptions[of].by_invoices.failed(&self.invoices[invoice], failed_at);
        if self.chance(0.15) {
            self.mails.insert(format!("payment_action_required:{id}:{attempts}"));
            self.tell_invoice(invoice, "payment_action_required");
        }
        if self.chance(0.5) {
            self.tell_invoice(invoice, "updated");
        }
        if create {
            // The customer tries another card, or gives up.
            if attempts < 3 {
                self.plan_in(wait, Act::Attempt(invoice));
            }
            return;
        }
        if self.is_latest(invoice) && self.subscriptions[of].status == Status::Active {
            self.subscriptions[of].status = Status::PastDue;
            self.subscriptions[of].failing_since = Some(failed_at);
            self.moment();
            self.tell_subscription(of, "updated");
        }
        match next {
            Some(next) => self.plan_at(next, Act::Attempt(invoice)),
            None => self.give_up(invoice),
        }
    }

    /// The last attempt has failed.
    fn give_up(&mut self, invoice: usize) {
        let of = self.invoices[invoice].of;
        self.subscriptions[of].failures_to_come = 0;
        if self.chance(0.2) {
            self.invoices[invoice].status = "uncollectible";
            self.tell_invoice(invoice, "marked_uncollectible");
        }
        if !self.is_latest(invoice) {
            return;
        }
        match self.account.dunning_end {
            DunningEnd::Cancel => {
                self.end_now(of);
                if self.chance(0.15) {
                    let later = self.days(1, 30);
                    self.plan_in(later, Act::PayOld(invoice));
                }
            }
            DunningEnd::Unpaid => {
                self.subscriptions[of].status = Status::Unpaid;
                self.tell_subscription(of, "updated");
                let later = self.days(1, 70);
                match self.random.random_range(0..4) {
                    0 | 1 => self.plan_in(later, Act::Recover(of)),
                    2 => self.plan_in(later, Act::EndNow(of)),
                    _ => {}
                }
            }
            // Stripe goes on with the next period's invoice.
            DunningEnd::PastDue => {
                if self.chance(0.5) {
                    let most = 2 * self.account.attempts;
                    self.subscriptions[of].failures_to_come = self.random.random_range(1..=most);
                }
            }
        }
    }

    /// Somebody pays the latest invoice of a subscription that has been given up.
    pub(super) fn recover(&mut self, number: usize) {
        if self.subscriptions[number].status != Status::Unpaid {
            return;
        }
        let Some(latest) = self.invoices.iter().rposition(|invoice| invoice.of == number) else { return };
        match self.invoices[latest].status {
            "draft" => self.finalize(latest),
            "open" | "uncollectible" => {
                self.invoices[latest].attempts += 1;
                self.paid(latest);
            }
            _ => {}
        }
    }

    /// An open invoice of a subscription that is over is paid after all.
    pub(super) fn pay_old(&mut self, invoice: usize) {
        if matches!(self.invoices[invoice].status, "open" | "uncollectible") {
            self.invoices[invoice].attempts += 1;
            self.paid(invoice);
        }
    }

    pub(super) fn paid(&mut self, invoice: usize) {
        let of = self.invoices[invoice].of;
        let charged = self.invoices[invoice].due() > 0;
        let again = self.invoices[invoice].attempts > 1;
        let out_of_band = charged && again && self.chance(0.1);
        let it = &mut self.invoices[invoice];
        it.status = "paid";
        it.paid_at = Some(self.now);
        it.next_attempt = None;
        it.out_of_band = out_of_band;
        self.date_paid = self.date_paid.max(it.paid_at);
        let (id, total) = (it.id.clone(), it.total());
        if total > 0 && (it.regular().next().is_none() || it.regular().map(|line| line.amount).sum::<i64>() > 0) {
            self.subscriptions[of].by_invoices.paid(it);
        }
        let regular = matches!(it.reason, "subscription_create" | "subscription_cycle");
        let credits = if regular && total > 0 { it.credits } else { 0 };
        if total > 0 {
            self.mails.insert(format!("payment_succeeded:{id}"));
        }
        self.tell_invoice(invoice, "paid");
        if charged && !out_of_band {
            self.tell_invoice(invoice, "payment_succeeded");
            if self.account.generation >= Generation::B {
                self.moment();
                self.tell_invoice_payment(invoice);
            }
            let charge = self.invoices[invoice].charge();
            self.tell_noise(&charge);
        }
        self.sell(invoice, credits, charged && !out_of_band);
        self.follow_payment(of, invoice);
    }

    /// What was paid may be refunded or disputed.
    fn sell(&mut self, invoice: usize, credits: i64, charged: bool) {
        let it = &self.invoices[invoice];
        self.sales.push(Sale {
            customer: Some(it.customer),
            source: it.id.clone(),
            invoice: Some(it.id.clone()),
            payment: it.payment(),
            charge: it.charge(),
            total: it.due(),
            credits,
            refunds: Vec::new(),
            disputes: Vec::new(),
        });
        if charged {
            self.plan_reversals(self.sales.len() - 1, 0.03, 0.012);
        }
    }

    /// What a payment means for its subscription: of the invoices only the latest counts.
    fn follow_payment(&mut self, number: usize, invoice: usize) {
        let was = self.subscriptions[number].status;
        if !self.is_latest(invoice) || !matches!(was, Status::Incomplete | Status::PastDue | Status::Unpaid) {
            return;
        }
        self.subscriptions[number].status = Status::Active;
        self.subscriptions[number].failing_since = None;
        self.subscriptions[number].failures_to_come = 0;
        if was == Status::Incomplete && self.chance(0.4) {
            self.tell_subscription_at_once(number, "updated");
        } else {
            self.moment();
            self.tell_subscription(number, "updated");
        }
        if was == Status::Incomplete {
            self.plan_renewal(number);
        }
    }

    fn is_latest(&self, invoice: usize) -> bool {
        let it = &self.invoices[invoice];
        self.subscriptions[it.of].latest_invoice.as_ref() == Some(&it.id)
    }

    /// The end of the period, and what may happen before it.
    pub(super) fn plan_renewal(&mut self, number: usize) {
        self.agenda.retain(|_, act| !matches!(act, Act::Renew(of) if *of == number));
        let end = self.subscriptions[number].period_end;
        self.plan_at(end, Act::Renew(number));
        self.plan_period(number);
    }

    /// When the period that began `periods` after the anchor ends.
    pub(super) fn period_end(&self, number: usize) -> i64 {
        let subscription = &self.subscriptions[number];
        months_after(subscription.anchor, subscription.periods * subscription.months_per_period())
    }
}
