//! Events in Stripe's shapes, made here: for `trigger`, `demo` and `bench`.

mod objects;
mod types;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) use objects::{Invoice, SESSION_AMOUNT, Subscription};
pub(crate) use types::{TYPES, sample_of};

/// The shape that is sent unless another is asked for.
pub(crate) const NEWEST: &str = "2026-09-30.endive";

/// Makes the events of one customer of one workspace.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    pub(crate) workspace_id: String,
    pub(crate) customer_id: String,
    pub(crate) subscription_id: String,
    /// The session that was made last: what a refund is of.
    pub(crate) sale: String,
    /// The label of the events; what is before 2025-03-31 also has the shape of then.
    pub(crate) api_version: String,
    pub(crate) livemode: bool,
    pub(crate) prices: Prices,
}

/// Price ids of the plans that samples subscribe to.
#[derive(Clone, Debug)]
pub(crate) struct Prices {
    pub(crate) hobby: String,
    pub(crate) pro: String,
}

impl Prices {
    /// The first price of each standard plan, or a made-up one.
    pub(crate) fn of(catalogue: &billing::Catalogue) -> Self {
        let price = |id: &str, invented: &str| {
            let known = catalogue.find(id).and_then(|plan| plan.prices.first());
            known.cloned().unwrap_or_else(|| invented.to_owned())
        };
        Self { hobby: price("hobby", "price_hobby"), pro: price("pro", "price_pro") }
    }
}

impl Maker {
    /// Customer and subscription follow from the workspace's id, so that one trigger meets the next.
    pub(crate) fn new(workspace_id: &str, customer_id: Option<String>, prices: Prices) -> Self {
        let derived = |prefix: &str| format!("{prefix}_{}", &hex(&format!("{prefix}:{workspace_id}"))[..16]);
        Self {
            workspace_id: workspace_id.to_owned(),
            customer_id: customer_id.unwrap_or_else(|| derived("cus")),
            subscription_id: derived("sub"),
            sale: derived("cs_test"),
            api_version: NEWEST.to_owned(),
            livemode: false,
            prices,
        }
    }

    /// Before 2025-03-31 periods stood on the subscription, and an invoice named its subscription directly.
    pub(crate) fn is_old(&self) -> bool {
        self.api_version.as_str() < "2025-03-31"
    }

    /// An event around `object`. `previous` is what an `updated` event says the changed fields were.
    #[expect(clippy::needless_pass_by_value, reason = "objects are made in place")]
    pub(crate) fn event(&self, kind: &str, created: i64, object: Value, previous: Option<Value>) -> Value {
        let mut data = json!({"object": object});
        if let Some(previous) = previous {
            data["previous_attributes"] = previous;
        }
        json!({
            "id": timed_id("evt", created),
            "object": "event",
            "api_version": self.api_version,
            "created": created,
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": null, "idempotency_key": null},
            "type": kind,
        })
    }
}

/// An id such as Stripe's of a checkout session: a prefix, and letters and digits at random.
pub(crate) fn random_id(prefix: &str) -> String {
    format!("{prefix}_1{}", &hex(&billing::clock::new_id())[..23])
}

/// An id such as Stripe's of an event or an invoice: they begin with the second at which it was made, so that
/// they sort by it, and end at random.
pub(crate) fn timed_id(prefix: &str, created: i64) -> String {
    format!("{prefix}_{}{}", id_time(created), &hex(&billing::clock::new_id())[..18])
}

/// The first six digits of such an id, to base 62 in the order of ASCII. Of 158 ids in published bodies that carry a time, 129
/// say it to the second and 7 within 18 minutes; most of the others stand beside a time that was made up.
pub(crate) fn id_time(created: i64) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const BEGINS: i64 = 426_256_548;
    let mut seconds = created.saturating_sub(BEGINS).max(0);
    let mut digits = ['0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = char::from(DIGITS[(seconds % 62) as usize]);
        seconds /= 62;
    }
    digits.iter().collect()
}

fn hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests;
