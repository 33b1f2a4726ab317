//! The sender: as Stripe does it, in no order, more than once, and again until it is acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use billing::stripe::Secrets;
use futures::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::bodies::now;
use crate::harness::{SECRET, Site};
use crate::killing::Kills;
use crate::model::Model;

const CONNECTIONS: usize = 8;

pub(crate) struct Sender {
    client: reqwest::Client,
    url: String,
    secrets: Secrets,
    seed: u64,
    deliveries: AtomicUsize,
}

impl Sender {
    pub(crate) fn new(site: &Site, seed: u64) -> Self {
        Self {
            client: reqwest::Client::builder().timeout(Duration::from_secs(15)).build().unwrap(),
            url: site.at("/webhooks/stripe"),
            secrets: Secrets::parse(SECRET).unwrap(),
            seed,
            deliveries: AtomicUsize::new(0),
        }
    }

    pub(crate) fn deliveries(&self) -> usize {
        self.deliveries.load(Ordering::SeqCst)
    }

    /// Sends what happens, for as long as kills are to come. Each event is acknowledged at least once.
    pub(crate) async fn until(&self, kills: &Kills) -> Model {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut model = Model::default();
        let mut links = model.link_all();
        while !kills.are_over() {
            let mut batch: Vec<Value> = (0..20).flat_map(|_| model.happen(&mut random)).collect();
            // The links come one after the other, long after what they are about.
            batch.extend(links.pop());
            let again: Vec<Value> = batch.iter().filter(|_| random.random_bool(0.2)).cloned().collect();
            batch.extend(again);
            batch.shuffle(&mut random);
            self.post_all(batch).await;
        }
        self.post_all(links).await;
        model
    }

    /// Everything once more, as an operator might.
    pub(crate) async fn finish(&self, model: &Model) {
        let mut random = StdRng::seed_from_u64(self.seed);
        let some = model.events.iter().filter(|_| random.random_bool(0.1)).cloned().collect();
        self.post_all(some).await;
    }

    async fn post_all(&self, events: Vec<Value>) {
        stream::iter(events).for_each_concurrent(CONNECTIONS, |event| self.post(event)).await;
    }

    async fn post(&self, event: Value) {
        let body = event.to_string();
        loop {
            self.deliveries.fetch_add(1, Ordering::SeqCst);
            let signature = self.secrets.sign(body.as_bytes(), now());
            let request = self.client.post(&self.url).header("Stripe-Signature", signature).body(body.clone());
            match request.send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => assert!(answer.status().is_server_error(), "{} for {body}", answer.status()),
                // Nobody listens, or somebody died.
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
