//! The load: events of several types over the bench's workspaces, signed before the clock starts.

use std::sync::Arc;

use billing::Clock;
use billing::stripe::Secrets;

use super::driver::Requests;
use crate::maker::{Maker, Prices, sample_of};

/// What the load consists of: mostly what has an effect.
pub(super) const MIX: [&str; 5] = [
    "invoice.paid",
    "customer.subscription.updated",
    "invoice.payment_failed",
    "checkout.session.completed",
    "invoice.finalized",
];
/// A signature is good for 300 s; what is sent later than this after it was signed is signed anew.
const SIGNED_FOR_SECONDS: i64 = 200;

/// How long it took Stripe to make them.
const SPREAD_OVER_SECONDS: i64 = 900;

/// One event as Stripe would send it.
pub(super) struct Event {
    pub(super) id: String,
    pub(super) body: String,
}

/// Events to be posted.
pub(super) struct Load {
    pub(super) events: Vec<Event>,
}

impl Load {
    /// `count` events of several types over `workspaces` workspaces named `bench-0` and on.
    pub(super) fn mixed(count: usize, workspaces: u32) -> Self {
        Self::of(&MIX, count, workspaces)
    }

    /// `count` events of these types, in turn.
    pub(super) fn of(types: &[&str], count: usize, workspaces: u32) -> Self {
        let now = Clock::system().now().timestamp();
        let mut makers: Vec<Maker> = (0..workspaces).map(|index| maker(&format!("bench-{index}"))).collect();
        let events = (0..count).filter_map(|index| {
            // A stride that is prime to the number of workspaces comes by all of them before it comes back; one event later
            // each time, or each workspace would only ever see the one type whose turn it is when it comes by.
            let turn = index + index / makers.len();
            let at = turn.wrapping_mul(7919) % makers.len();
            let maker = makers.get_mut(at)?;
            // In the order in which they were made, over the last quarter of an hour.
            let ago = SPREAD_OVER_SECONDS - SPREAD_OVER_SECONDS * index as i64 / count as i64;
            let event = sample_of(maker, types[index % types.len()], now - ago)?;
            Some(Event { id: event["id"].as_str()?.to_owned(), body: event.to_string() })
        });
        Self { events: events.collect() }
    }

    /// Signs every event, so that the clock does not run meanwhile.
    pub(super) fn signed(self, secrets: &Secrets) -> Arc<Signed> {
        let clock = Clock::system();
        let signed_at = clock.now().timestamp();
        let signatures = self.events.iter().map(|event| secrets.sign(event.body.as_bytes(), signed_at)).collect();
        Arc::new(Signed { events: self.events, signatures, at: signed_at, secrets: secrets.clone(), clock })
    }

    /// Each event as a load of its own.
    pub(super) fn into_singles(self) -> impl Iterator<Item = Self> {
        self.events.into_iter().map(|event| Self { events: vec![event] })
    }
}

/// Makes events of one workspace.
pub(super) fn maker(workspace_id: &str) -> Maker {
    let prices = Prices { hobby: "price_hobby".to_owned(), pro: "price_pro".to_owned() };
    Maker::new(workspace_id, None, prices)
}

/// Events with their signatures.
pub(super) struct Signed {
    pub(super) events: Vec<Event>,
    signatures: Vec<String>,
    /// When, in unix seconds.
    at: i64,
    secrets: Secrets,
    clock: Clock,
}

impl Requests for Signed {
    fn count(&self) -> usize {
        self.events.len()
    }

    fn write(&self, index: usize, into: &mut Vec<u8>) {
        let (Some(event), Some(signature)) = (self.events.get(index), self.signatures.get(index)) else { return };
        let now = self.clock.now().timestamp();
        let anew = (now - self.at > SIGNED_FOR_SECONDS).then(|| self.secrets.sign(event.body.as_bytes(), now));
        let head = format!(
            "POST /webhooks/stripe HTTP/1.1\r\nhost: bench\r\nstripe-signature: {}\r\ncontent-length: {}\r\n\r\n",
            anew.as_deref().unwrap_or(signature),
            event.body.len()
        );
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(event.body.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn every_workspace_sees_every_type() {
        let (rounds, workspaces) = (MIX.len(), 20_u32);
        let load = Load::mixed(rounds * workspaces as usize, workspaces);
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in &load.events {
            let event: serde_json::Value = serde_json::from_str(&event.body).unwrap();
            let of = event["data"]["object"]["customer"].to_string();
            seen.entry(of).or_default().insert(event["type"].to_string());
        }
        assert_eq!((seen.len(), load.events.len()), (20, 100));
        assert!(seen.values().all(|types| types.len() == MIX.len()), "{seen:?}");
    }
}
