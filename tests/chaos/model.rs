//! What happens to the customers, and what the state has to be: computed here, by other arithmetic than the program's.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::bodies::{changed, day, event, invoice, session, subscription};

const WORKSPACES: usize = 24;
/// What a session costs, in cents, and the credits it brings.
const PRICE: i64 = 1000;
const CREDITS: i64 = 10;

pub(crate) fn workspaces() -> Vec<String> {
    (0..WORKSPACES).map(|number| format!("ws_{number}")).collect()
}

pub(crate) fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

/// Everything that was told so far.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<Value>,
    /// Some sales do not say what was sold; Stripe has to be asked.
    pub(crate) asks: bool,
    /// By workspace: the number of each sale, and what of it was refunded.
    sales: BTreeMap<usize, Vec<(usize, i64)>>,
    /// By workspace: the second of the last change, and the status since.
    status: BTreeMap<usize, (i64, &'static str)>,
    mails: Vec<String>,
}

pub(crate) struct Expected {
    pub(crate) credits: i64,
    pub(crate) status: &'static str,
}

impl Model {
    /// Something happens to somebody; gives the events that tell of it.
    pub(crate) fn happen(&mut self, random: &mut StdRng) -> Vec<Value> {
        let workspace = random.random_range(0..WORKSPACES);
        let name = format!("ws_{workspace}");
        let customer = format!("cus_{workspace}");
        let number = self.events.len();
        let at = day(1) + i64::try_from(number).unwrap();
        let told = match random.random_range(0..10) {
            0..5 => {
                let mut sale = session(&format!("{number}"), &name, Some(&customer), "payment", "paid");
                let says = !self.asks || !random.random_bool(0.2);
                sale["metadata"] = if says { json!({"plan": "credits10", "quantity": "1"}) } else { json!({}) };
                self.mails.push(format!("credits_granted:cs_{number}"));
                let mut told = vec![event(&format!("{number}_sale"), "checkout.session.completed", at, sale)];
                let mut refunded = 0;
                for part in 0..random.random_range(0..3) {
                    let amount = random.random_range(1..=PRICE / 2);
                    refunded += amount;
                    let refund = json!({
                        "id": format!("re_{number}_{part}"), "object": "refund", "amount": amount, "status": "succeeded",
                        "payment_intent": format!("pi_{number}"), "created": at + 10 + part,
                    });
                    told.push(event(&format!("{number}_refund_{part}"), "refund.created", at + 10 + part, refund));
                }
                self.sales.entry(workspace).or_default().push((number, refunded));
                told
            }
            5..8 => {
                let known = self.status.get(&workspace).map(|(_, status)| *status);
                let status = match known {
                    Some("active") => "past_due",
                    _ => "active",
                };
                self.status.insert(workspace, (at, status));
                let now = subscription(&customer, status, "price_pro", day(60));
                let what = if known.is_none() { "created" } else { "updated" };
                let told = event(&format!("{number}_{what}"), &format!("customer.subscription.{what}"), at, now);
                vec![if known.is_none() { told } else { changed(told, json!({"status": known})) }]
            }
            _ => {
                let mut paid = invoice(&format!("{number}"), &customer, "paid", 4900, at);
                // Of no subscription, so that it says nothing of one.
                paid["parent"] = Value::Null;
                paid["lines"]["data"] = json!([]);
                self.mails.push(format!("payment_succeeded:in_{number}"));
                let twin = event(&format!("{number}_succeeded"), "invoice.payment_succeeded", at, paid.clone());
                vec![event(&format!("{number}_paid"), "invoice.paid", at, paid), twin]
            }
        };
        self.events.extend(told.iter().cloned());
        told
    }

    /// Ties every customer to its workspace, whatever else has happened.
    pub(crate) fn link_all(&mut self) -> Vec<Value> {
        let told: Vec<Value> = (0..WORKSPACES)
            .map(|workspace| {
                let customer = json!({
                    "id": format!("cus_{workspace}"), "object": "customer",
                    "metadata": {"workspace_id": format!("ws_{workspace}")},
                });
                event(&format!("link_{workspace}"), "customer.created", day(0), customer)
            })
            .collect();
        self.events.extend(told.iter().cloned());
        told
    }

    pub(crate) fn expected(&self) -> BTreeMap<String, Expected> {
        (0..WORKSPACES)
            .map(|workspace| {
                let sales = self.sales.get(&workspace).map(Vec::as_slice).unwrap_or_default();
                let credits = sales.iter().map(|(_, refunded)| left(*refunded)).sum();
                let status = self.status.get(&workspace).map_or("free", |(_, status)| status);
                (format!("ws_{workspace}"), Expected { credits, status })
            })
            .collect()
    }

    /// The number of each sale, and what it has left of its credits.
    pub(crate) fn sales(&self) -> Vec<(usize, i64)> {
        self.sales.values().flatten().map(|(number, refunded)| (*number, left(*refunded))).collect()
    }

    pub(crate) fn mails(&self) -> Vec<String> {
        self.mails.clone()
    }
}

/// What is left of a sale's credits.
fn left(refunded: i64) -> i64 {
    CREDITS - CREDITS * refunded / PRICE
}
