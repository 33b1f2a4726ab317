//! One workspace's year at Stripe: what happens to it, the events that tell of it, and what is true of it.
//!
//! Written from Stripe's documentation and from the product's contract, without a line of the product's own rules. Every
//! life has a random generator of its own, so that a single one can be played again without the others.

pub(crate) mod account;
mod bodies;
mod buying;
mod cancelling;
mod changing;
mod paying;
mod refunding;
mod renewing;
mod subscribing;
pub(crate) mod telling;
pub(crate) mod things;
pub(crate) mod truth;

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::calendar::{DAY, END, HOUR, MINUTE, START, day_of_month};
use account::Account;
use things::{Customer, Invoice, Sale, Session, Subscription};

/// Something that the product is told, by Stripe or by the app.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// An event: its id, its type, its body.
    Told { id: String, kind: String, body: String },
    /// The app makes the workspace.
    Put { trial_days: i64 },
    /// The app names the customer.
    Link { customer: String },
}

#[derive(Clone, Debug)]
pub(crate) struct Happening {
    pub(crate) at: i64,
    pub(crate) what: What,
}

/// What is going to happen; numbers are positions in the lists of [`Life`].
#[derive(Clone, Copy, Debug)]
enum Act {
    Put,
    Link(usize),
    Subscribe,
    Expire(usize),
    TrialWillEnd(usize),
    EndTrialEarly(usize),
    Renew(usize),
    Finalize(usize),
    Attempt(usize),
    Recover(usize),
    PayOld(usize),
    ChangePlan(usize),
    CancelLater { subscription: usize, at_a_date: bool },
    Undo(usize),
    EndAt(usize),
    EndNow(usize),
    PauseCollection(usize),
    ResumeCollection(usize),
    Pause(usize),
    Resume(usize),
    DeleteCustomer(usize),
    ChangeAddress(usize),
    BuyCredits,
    FinishSession(usize),
    Refund(usize),
    FinishRefund { sale: usize, refund: usize, fails: bool },
    Dispute(usize),
    FinishDispute { sale: usize, dispute: usize },
}

pub(crate) struct Life {
    pub(crate) index: usize,
    /// The workspace.
    pub(crate) id: String,
    pub(crate) account: Account,
    random: StdRng,
    agenda: BTreeMap<(i64, u32), Act>,
    planned: u32,
    now: i64,
    made: usize,
    happened: Vec<Happening>,
    pub(crate) trial_days: i64,
    /// When the app made the workspace.
    pub(crate) put_at: Option<i64>,
    pub(crate) customers: Vec<Customer>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) invoices: Vec<Invoice>,
    sessions: Vec<Session>,
    pub(crate) sales: Vec<Sale>,
    /// Causes of mails, `template:cause`.
    pub(crate) mails: BTreeSet<String>,
    date_paid: Option<i64>,
}

impl Life {
    pub(crate) fn new(seed: u64, index: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (index as u64 + 1));
        let trial_days = [0, 7, 14, 14, 14, 30][random.random_range(0..6)];
        let mut life = Self {
            index,
            id: format!("ws_{index:05}"),
            account: Account::of(seed, index),
            random,
            agenda: BTreeMap::new(),
            planned: 0,
            now: START,
            made: 0,
            happened: Vec::new(),
            trial_days,
            put_at: None,
            customers: Vec::new(),
            subscriptions: Vec::new(),
            invoices: Vec::new(),
            sessions: Vec::new(),
            sales: Vec::new(),
            mails: BTreeSet::new(),
            date_paid: None,
        };
        life.begin();
        life
    }

    /// Most come in the first two months, so that there is a year to see.
    fn begin(&mut self) {
        let days = if self.chance(0.6) { 60 } else { 300 };
        let mut begins = START + self.random.random_range(0..days * DAY);
        if self.chance(0.25) {
            while day_of_month(begins) < 29 {
                begins += DAY;
            }
        }
        let mut put = begins;
        if self.chance(0.75) {
            let first = begins + if self.chance(0.4) { HOUR } else { self.random.random_range(HOUR..25 * DAY) };
            self.plan_at(first, Act::Subscribe);
            if self.chance(0.03) {
                put = first + self.random.random_range(MINUTE..2 * DAY);
            }
            if self.chance(0.02) {
                let second = first + self.random.random_range(10 * MINUTE..60 * DAY);
                self.plan_at(second, Act::Subscribe);
            }
        }
        if self.chance(0.3) {
            let buys = begins + self.random.random_range(HOUR..90 * DAY);
            self.plan_at(buys, Act::BuyCredits);
        }
        self.plan_at(put, Act::Put);
    }

    /// When something will happen next.
    pub(crate) fn next(&self) -> Option<i64> {
        self.agenda.first_key_value().map(|((at, _), _)| *at).filter(|at| *at < END)
    }

    /// Whether all customers are tied to the workspace: until then what happens to them does not count.
    pub(crate) fn is_linked(&self) -> bool {
        self.customers.iter().all(|customer| customer.linked)
    }

    /// Lets happen what happens before `until`.
    pub(crate) fn live(&mut self, until: i64) -> Vec<Happening> {
        while let Some(at) = self.next().filter(|at| *at < until) {
            let Some((_, act)) = self.agenda.pop_first() else { break };
            self.now = self.now.max(at);
            self.act(act);
        }
        std::mem::take(&mut self.happened)
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Put => {
                self.put_at = Some(self.now);
                self.happen(What::Put { trial_days: self.trial_days });
            }
            Act::Link(customer) => {
                self.customers[customer].linked = true;
                self.happen(What::Link { customer: self.customers[customer].id.clone() });
            }
            Act::Subscribe => self.subscribe(),
            Act::Expire(subscription) => self.expire(subscription),
            Act::TrialWillEnd(subscription) => self.trial_will_end(subscription),
            Act::EndTrialEarly(subscription) => self.end_trial_early(subscription),
            Act::Renew(subscription) => self.renew(subscription),
            Act::Finalize(invoice) => self.finalize(invoice),
            Act::Attempt(invoice) => self.attempt(invoice),
            Act::Recover(subscription) => self.recover(subscription),
            Act::PayOld(invoice) => self.pay_old(invoice),
            Act::ChangePlan(subscription) => self.change_plan(subscription),
            Act::CancelLater { subscription, at_a_date } => self.cancel_later(subscription, at_a_date),
            Act::Undo(subscription) => self.undo(subscription),
            Act::EndAt(subscription) => self.end_at(subscription),
            Act::EndNow(subscription) => self.end_now(subscription),
            Act::PauseCollection(subscription) => self.set_collection(subscription, true),
            Act::ResumeCollection(subscription) => self.set_collection(subscription, false),
            Act::Pause(subscription) => self.pause(subscription),
            Act::Resume(subscription) => self.resume(subscription),
            Act::DeleteCustomer(customer) => self.delete_customer(customer),
            Act::ChangeAddress(customer) => self.change_address(customer),
            Act::BuyCredits => self.buy_credits(),
            Act::FinishSession(session) => self.finish_session(session),
            Act::Refund(sale) => self.refund(sale),
            Act::FinishRefund { sale, refund, fails } => self.finish_refund(sale, refund, fails),
            Act::Dispute(sale) => self.dispute(sale),
            Act::FinishDispute { sale, dispute } => self.finish_dispute(sale, dispute),
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn days(&mut self, least: i64, most: i64) -> i64 {
        self.random.random_range(least * DAY..=most * DAY)
    }

    /// A few seconds pass, or none.
    fn moment(&mut self) {
        self.now += self.random.random_range(0..=2);
    }

    fn plan_at(&mut self, at: i64, act: Act) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), act);
    }

    fn plan_in(&mut self, seconds: i64, act: Act) {
        self.plan_at(self.now + seconds, act);
    }

    fn happen(&mut self, what: What) {
        self.happened.push(Happening { at: self.now, what });
    }

    /// A fresh id of this life; the random part comes first, so that ids do not sort by time.
    fn fresh(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_{:06x}_{}_{}", self.random.random_range(0..0x0100_0000), self.index, self.made)
    }
}
