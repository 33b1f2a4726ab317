//! The load: signed events over kept-alive connections, each sent as soon as the one before it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use billing::Clock;
use billing::stripe::Secrets;
use serde::Serialize;
use tokio::task::JoinSet;

use super::connection::Connection;
use crate::maker::{Maker, Prices, sample_of};

/// What the load consists of: mostly what has an effect.
const MIX: [&str; 5] = [
    "invoice.paid",
    "customer.subscription.updated",
    "invoice.payment_failed",
    "checkout.session.completed",
    "invoice.finalized",
];

/// Events to be posted.
pub(super) struct Load {
    bodies: Arc<Vec<(String, String)>>,
    clock: Clock,
}

/// Percentiles in milliseconds.
#[derive(Serialize)]
pub(super) struct Latencies {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Latencies {
    pub(super) fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: f64| {
            let index = (all.len().saturating_sub(1) as f64 * part).round() as usize;
            all.get(index).map_or(0.0, |latency| (latency.as_secs_f64() * 100_000.0).round() / 100.0)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

impl Load {
    /// `count` events of several types over `workspaces` workspaces named `bench-0` and on.
    pub(super) fn mixed(count: usize, workspaces: u32, clock: Clock) -> Self {
        Self::of(&MIX, count, workspaces, clock)
    }

    /// `count` events of these types, in turn.
    pub(super) fn of(types: &[&str], count: usize, workspaces: u32, clock: Clock) -> Self {
        let now = clock.now().timestamp();
        let prices = Prices { hobby: "price_hobby".to_owned(), pro: "price_pro".to_owned() };
        let mut makers: Vec<Maker> =
            (0..workspaces).map(|index| Maker::new(&format!("bench-{index}"), None, prices.clone())).collect();
        let bodies = (0..count).filter_map(|index| {
            // A stride that is no divisor of the number of workspaces spreads each type over all of them.
            let count = makers.len();
            let maker = makers.get_mut(index.wrapping_mul(7919) % count)?;
            let event = sample_of(maker, types[index % types.len()], now - (index % 900) as i64)?;
            Some((event["id"].as_str()?.to_owned(), event.to_string()))
        });
        Self { bodies: Arc::new(bodies.collect()), clock }
    }

    /// Each event as a load of its own.
    pub(super) fn into_singles(self) -> impl Iterator<Item = Self> {
        let clock = self.clock;
        let bodies = Arc::unwrap_or_clone(self.bodies);
        bodies.into_iter().map(move |body| Self { bodies: Arc::new(vec![body]), clock: clock.clone() })
    }

    /// The bodies of the events.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &str> + Clone {
        self.bodies.iter().map(|(_, body)| body.as_str())
    }

    /// The ids of the events.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.bodies.iter().map(|(id, _)| id.as_str())
    }

    /// Posts everything; every event has to be taken. Gives each latency, and the time it took in all.
    pub(super) async fn post(
        &self,
        to: SocketAddr,
        secrets: &Secrets,
        connections: usize,
    ) -> anyhow::Result<(Vec<Duration>, Duration)> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut senders = JoinSet::new();
        let started = Instant::now();
        for _ in 0..connections {
            let (bodies, next, secrets, clock) =
                (self.bodies.clone(), next.clone(), secrets.clone(), self.clock.clone());
            senders.spawn(async move { sender(to, &bodies, &next, &secrets, &clock).await });
        }
        let mut latencies = Vec::with_capacity(self.bodies.len());
        while let Some(sent) = senders.join_next().await {
            latencies.extend(sent??);
        }
        Ok((latencies, started.elapsed()))
    }
}

/// One connection: takes the next event until there is none.
async fn sender(
    to: SocketAddr,
    bodies: &[(String, String)],
    next: &AtomicUsize,
    secrets: &Secrets,
    clock: &Clock,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::to(to).await?;
    let mut latencies = Vec::new();
    while let Some((id, body)) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
        let signature = secrets.sign(body.as_bytes(), clock.now().timestamp());
        let started = Instant::now();
        let status = connection.post(&signature, body).await.with_context(|| format!("{id} was not answered"))?;
        latencies.push(started.elapsed());
        anyhow::ensure!(status == 200, "{id} was answered {status}");
    }
    Ok(latencies)
}
