//! Plans: `[[plans]]` of the file, or the three of a fresh install with the prices of the environment.

use std::collections::{BTreeMap, BTreeSet};

use billing::{Catalogue, Plan};
use serde::Deserialize;

use super::sources::Sources;

/// Prices of the standard plans and the variable each comes from.
const PRICES: [(&str, &str, &str); 3] = [
    ("hobby", "PAYMENTS_HOBBY_SUBSCRIPTION_PLAN_ID", "price_hobby"),
    ("pro", "PAYMENTS_PRO_SUBSCRIPTION_PLAN_ID", "price_pro"),
    ("credits10", "PAYMENTS_CREDITS_10_PLAN_ID", "price_credits_10"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Free {
    #[serde(default)]
    limits: BTreeMap<String, i64>,
}

/// The catalogue. In development a standard plan without a price gets one, so that everything can be tried.
pub(crate) fn catalogue(from: &mut Sources, development: bool) -> Catalogue {
    let price = |from: &Sources, index: usize| {
        let (_, variable, invented) = PRICES[index];
        from.text(variable).or_else(|| development.then(|| invented.to_owned()))
    };
    let standard = Catalogue::standard(price(from, 0), price(from, 1), price(from, 2));
    let free = match from.tables.remove("free").map(Free::deserialize) {
        None => standard.limits_of("free"),
        Some(Ok(free)) => free.limits,
        Some(Err(error)) => {
            from.wrong("free", error.message());
            standard.limits_of("free")
        }
    };
    let plans = match from.tables.remove("plans").map(Vec::<Plan>::deserialize) {
        None => standard.plans().to_vec(),
        Some(Ok(mut plans)) => {
            // The variables also serve plans of the file that keep the standard names and name no price.
            for (index, (id, ..)) in PRICES.iter().enumerate() {
                if let Some(plan) = plans.iter_mut().find(|plan| plan.id == *id && plan.prices.is_empty()) {
                    plan.prices.extend(price(from, index));
                }
            }
            plans
        }
        Some(Err(error)) => {
            from.wrong("plans", error.message());
            standard.plans().to_vec()
        }
    };
    let mut seen = BTreeSet::new();
    for plan in &plans {
        if plan.id.is_empty() || plan.id == "free" || !seen.insert(format!("plan {}", plan.id)) {
            from.wrong("plans", &format!("the id {:?} is empty, taken twice, or the free plan's", plan.id));
        }
        if plan.credits < 0 || plan.credits > 1_000_000_000 {
            from.wrong("plans", &format!("{} grants {} credits; 0 to 1000000000 are possible", plan.id, plan.credits));
        }
        for price in &plan.prices {
            if !seen.insert(format!("price {price}")) {
                from.wrong("plans", &format!("the price {price} belongs to more than one plan"));
            }
        }
    }
    Catalogue::new(plans, free)
}
