//! Line items: of a subscription, of an invoice, of a checkout session; in the shapes of every generation.

use crate::plans::{Catalogue, Plan};
use crate::stripe::Unreadable;
use crate::stripe::path::Place;

/// The price of one line: its id and, where the price object is there, its lookup key.
pub(super) struct Price<'a> {
    pub(super) id: &'a str,
    lookup_key: Option<&'a str>,
}

impl<'a> Price<'a> {
    /// Since basil `pricing.price_details.price`, before `price`, before that `plan`; plain id or object.
    pub(super) fn of(line: &Place<'a>) -> Result<Option<Self>, Unreadable> {
        for path in ["pricing.price_details.price", "price", "plan"] {
            let place = line.at(path);
            if let Some(id) = place.id()? {
                let lookup_key = if place.at("lookup_key").exists() { place.at("lookup_key").text()? } else { None };
                return Ok(Some(Self { id, lookup_key }));
            }
        }
        Ok(None)
    }

    pub(super) fn plan<'c>(&self, catalogue: &'c Catalogue) -> Option<&'c Plan> {
        catalogue.plan_of_price(self.id).or_else(|| catalogue.plan_of_price(self.lookup_key?))
    }
}

/// The highest plan among prices, and the prices that no plan has.
pub(super) fn highest<'a, 'c>(
    prices: impl IntoIterator<Item = Price<'a>>,
    catalogue: &'c Catalogue,
) -> (Option<&'c Plan>, Vec<&'a str>) {
    let mut highest: Option<&Plan> = None;
    let mut unknown = Vec::new();
    for price in prices {
        match price.plan(catalogue) {
            Some(plan) if highest.is_none_or(|known| catalogue.rank(&plan.id) > catalogue.rank(&known.id)) => {
                highest = Some(plan);
            }
            Some(_) => {}
            None => unknown.push(price.id),
        }
    }
    unknown.sort_unstable();
    unknown.dedup();
    (highest, unknown)
}
