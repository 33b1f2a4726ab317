//! A difference as a story: what happened to the workspace, in the order in which the product heard of it.

use serde_json::Value;

use crate::Args;
use crate::calendar::{END, at};
use crate::compare::Difference;
use crate::model::{Life, What};
use crate::network::{Network, Outages};

/// Plays the workspace's year again, and prints it up to the moment of the difference.
pub(crate) fn print(difference: &Difference, args: &Args, engine: &str) {
    let Difference { index, now, field, wanted, got } = difference;
    let mut life = Life::new(args.seed, *index);
    let mut network = Network::new(args.seed, *index, Outages::new(args.seed), life.account.has_key);
    println!("\n{} at {}, {:?}", life.id, at(*now), life.account);
    println!("  {field}\n    wanted {wanted}\n    got    {got}");
    let mut heard: Vec<(i64, String)> = Vec::new();
    for happening in life.live(END) {
        match &happening.what {
            What::Put { trial_days } => heard.push((happening.at, format!("put --trial-days {trial_days}"))),
            What::Link { customer } => heard.push((happening.at, format!("put --stripe-customer {customer}"))),
            What::Told { id, kind, body } => {
                let told =
                    format!("{kind}  {}  (created {}, {id})", gist(body), at(happening.at).format("%m-%d %H:%M:%S"));
                let arrivals = network.arrivals(happening.at);
                if arrivals.is_empty() {
                    heard.push((happening.at, format!("never sent, to be found: {told}")));
                }
                for (time, arrival) in arrivals.into_iter().enumerate() {
                    let again = if time > 0 { "again: " } else { "" };
                    heard.push((arrival, format!("{again}{told}")));
                }
            }
        }
    }
    heard.sort();
    for (arrival, told) in heard.iter().filter(|(arrival, _)| arrival <= now) {
        println!("    {}  {told}", at(*arrival).format("%Y-%m-%d %H:%M:%S"));
    }
    println!(
        "  again: scripts/year --engine {engine} --workspaces {} --seed {} --only {index}",
        args.workspaces, args.seed
    );
}

/// The few members of an object that a reader looks for.
fn gist(body: &str) -> String {
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let object = &event["data"]["object"];
    let mut gist = vec![object["id"].as_str().unwrap_or_default().to_owned()];
    for name in [
        "status",
        "payment_status",
        "billing_reason",
        "attempt_count",
        "total",
        "amount",
        "amount_refunded",
        "cancel_at_period_end",
        "cancel_at",
        "client_reference_id",
        "subscription",
        "invoice",
        "payment_intent",
    ] {
        match &object[name] {
            Value::Null | Value::Bool(false) => {}
            Value::String(text) => gist.push(format!("{name}={text}")),
            value => gist.push(format!("{name}={value}")),
        }
    }
    for path in ["/items/data/0/price/id", "/items/data/1/price/id", "/metadata/workspace_id"] {
        if let Some(text) = object.pointer(path).and_then(Value::as_str) {
            gist.push(text.to_owned());
        }
    }
    let end = object.pointer("/items/data/0/current_period_end").unwrap_or(&object["current_period_end"]);
    if let Some(end) = end.as_i64() {
        gist.push(format!("until {}", at(end).format("%m-%d %H:%M:%S")));
    }
    gist.join(" ")
}
