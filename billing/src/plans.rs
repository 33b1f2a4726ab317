//! The plans a product sells: which Stripe price means which plan, and what a plan gives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rules::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanKind {
    Subscription,
    OneTime,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub id: String,
    pub name: String,
    pub kind: PlanKind,
    /// Price ids or lookup keys that mean this plan.
    #[serde(default)]
    pub prices: Vec<String>,
    /// Credits granted per purchase (one-time) or per paid period (subscription).
    #[serde(default)]
    pub credits: i64,
    /// `-1` is unlimited.
    #[serde(default)]
    pub limits: Limits,
}

/// All plans, the lowest first: the order decides which of several is the highest.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    plans: Vec<Plan>,
    free_limits: Limits,
}

impl Catalogue {
    pub fn new(plans: Vec<Plan>, free_limits: Limits) -> Self {
        Self { plans, free_limits }
    }

    /// The three plans of a fresh install, with the price ids that are known.
    pub fn standard(hobby: Option<String>, pro: Option<String>, credits10: Option<String>) -> Self {
        let limits = |members: i64, projects: i64| {
            BTreeMap::from([("members".to_owned(), members), ("projects".to_owned(), projects)])
        };
        let plan = |id: &str, name: &str, kind, price: Option<String>, credits, limits| Plan {
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            prices: price.into_iter().collect(),
            credits,
            limits,
        };
        Self::new(
            vec![
                plan("hobby", "Hobby", PlanKind::Subscription, hobby, 0, limits(3, 10)),
                plan("pro", "Pro", PlanKind::Subscription, pro, 0, limits(-1, -1)),
                plan("credits10", "10 credits", PlanKind::OneTime, credits10, 10, BTreeMap::new()),
            ],
            limits(1, 1),
        )
    }

    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    pub fn find(&self, id: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id == id)
    }

    /// The plan that a price id or lookup key means.
    pub fn plan_of_price(&self, price: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.prices.iter().any(|known| known == price))
    }

    /// Position in the configured order; an unknown plan is below all.
    pub fn rank(&self, id: &str) -> Option<usize> {
        self.plans.iter().position(|plan| plan.id == id)
    }

    /// The limits of a plan; of the free plan where there is no such plan.
    pub fn limits_of(&self, id: &str) -> Limits {
        self.find(id).map_or_else(|| self.free_limits.clone(), |plan| plan.limits.clone())
    }
}
