//! What is for sale, and how a merchant has set up Stripe: each simulated account its own way.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Simulated accounts of Stripe's; every workspace belongs to one.
const ACCOUNTS: usize = 12;

/// A plan, lowest first: id, cents a month, credits per paid period.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: &'static str,
    pub(crate) monthly: &'static str,
    pub(crate) yearly: &'static str,
    pub(crate) cents: i64,
    pub(crate) credits: i64,
}

pub(crate) const PLANS: [Plan; 3] = [
    Plan { id: "hobby", monthly: "price_hobby_month", yearly: "price_hobby_year", cents: 900, credits: 0 },
    Plan { id: "pro", monthly: "price_pro_month", yearly: "price_pro_year", cents: 2_900, credits: 100 },
    Plan { id: "team", monthly: "price_team_month", yearly: "price_team_year", cents: 9_900, credits: 250 },
];
/// The plan of a workspace's own trial.
pub(crate) const TRIAL_PLAN: &str = "pro";
/// Prices that mean no plan: one that is sold alone, and one that stands beside a plan's.
pub(crate) const LEGACY: &str = "price_legacy";
pub(crate) const ADDON: &str = "price_addon";

/// Credits that are bought: plan, price, cents, credits.
pub(crate) const PACKS: [(&str, &str, i64, i64); 2] =
    [("credits10", "price_credits10", 1_000, 10), ("credits50", "price_credits50", 4_500, 50)];

/// Position of the plan that a price means.
pub(crate) fn plan_of(price: &str) -> Option<usize> {
    PLANS.iter().position(|plan| plan.monthly == price || plan.yearly == price)
}

pub(crate) fn rank(plan: &str) -> Option<usize> {
    PLANS.iter().position(|known| known.id == plan)
}

/// Cents for one of it and a period.
pub(crate) fn price_of(price: &str) -> i64 {
    match (plan_of(price), price) {
        (Some(plan), _) if PLANS[plan].yearly == price => PLANS[plan].cents * 10,
        (Some(plan), _) => PLANS[plan].cents,
        (None, ADDON) => 500,
        (None, _) => 1_500,
    }
}

/// Where Stripe puts the fields that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Generation {
    /// 2024-06-20 and before.
    A,
    /// 2025-05-28.basil.
    B,
    /// 2025-09-30.clover.
    C,
    /// 2026-03-25.dahlia.
    D,
    /// 2026-09-30.endive.
    E,
}

impl Generation {
    const ALL: [Self; 5] = [Self::A, Self::B, Self::C, Self::D, Self::E];

    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::A => "2024-06-20",
            Self::B => "2025-05-28.basil",
            Self::C => "2025-09-30.clover",
            Self::D => "2026-03-25.dahlia",
            Self::E => "2026-09-30.endive",
        }
    }
}

/// What becomes of a subscription whose last attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DunningEnd {
    Cancel,
    Unpaid,
    PastDue,
}

#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of Stripe's own")]
pub(crate) struct Account {
    pub(crate) generation: Generation,
    /// Flexible billing: a cancellation at the period's end may be told by `cancel_at` alone.
    pub(crate) flexible: bool,
    /// Attempts on an invoice in all.
    pub(crate) attempts: i64,
    pub(crate) dunning_end: DunningEnd,
    /// A trial that ends without a payment method is paused instead of cancelled.
    pub(crate) pauses_trials: bool,
    /// The endpoint gets `customer.subscription.*`; else invoices alone tell of subscriptions.
    pub(crate) tells_subscriptions: bool,
    /// The endpoint gets `refund.*`; else only the charge tells of refunds.
    pub(crate) tells_refunds: bool,
    /// Also when a refund is made; else only what becomes of it.
    pub(crate) tells_new_refunds: bool,
    /// The product may ask: what an endpoint that is disabled misses is not sent again, and has to be found.
    pub(crate) has_key: bool,
    /// The endpoint gets types that nobody reads.
    pub(crate) tells_noise: bool,
}

impl Account {
    pub(crate) fn of(seed: u64, index: usize) -> Self {
        let number = index % ACCOUNTS;
        let mut random = StdRng::seed_from_u64(seed ^ (0xacc0_0000 + number as u64));
        let generation = Generation::ALL[number % Generation::ALL.len()];
        let ends = [DunningEnd::Cancel, DunningEnd::Unpaid, DunningEnd::PastDue];
        Self {
            generation,
            flexible: generation >= Generation::B && random.random_bool(0.5),
            attempts: random.random_range(3..=8),
            dunning_end: ends[random.random_range(0..3)],
            pauses_trials: random.random_bool(0.5),
            tells_subscriptions: number != ACCOUNTS - 1,
            tells_refunds: random.random_bool(0.75),
            tells_new_refunds: random.random_bool(0.7),
            has_key: number.is_multiple_of(2),
            tells_noise: random.random_bool(0.3),
        }
    }
}
