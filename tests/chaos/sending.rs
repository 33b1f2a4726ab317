//! The sender: as Stripe does it, in no order, more than once, and again until it is acknowledged.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use billing::stripe::Secrets;
use futures::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::bodies::now;
use crate::harness::{SECRET, Site};
use crate::model::Model;

const CONNECTIONS: usize = 8;
/// Longer than the receiver may take for any answer.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) struct Sender {
    client: reqwest::Client,
    url: String,
    secrets: Secrets,
    seed: u64,
    /// From an answer that was no 2xx to the next try.
    pause: Duration,
    deliveries: Mutex<Vec<Delivery>>,
}

/// One try.
#[derive(Clone, Copy)]
pub(crate) struct Delivery {
    pub(crate) ended: Instant,
    pub(crate) took: Duration,
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// 503, or another 5xx.
    Refused,
    /// Nobody listens, or somebody died.
    Broken,
    /// None came in time.
    Late,
}

impl Sender {
    pub(crate) fn new(site: &Site, seed: u64, pause: Duration) -> Self {
        Self {
            client: reqwest::Client::builder().timeout(TIMEOUT).build().unwrap(),
            url: site.at("/webhooks/stripe"),
            secrets: Secrets::parse(SECRET).unwrap(),
            seed,
            pause,
            deliveries: Mutex::default(),
        }
    }

    /// Each delivery over a connection of its own.
    pub(crate) fn over_fresh_connections(mut self) -> Self {
        self.client = reqwest::Client::builder().timeout(TIMEOUT).pool_max_idle_per_host(0).build().unwrap();
        self
    }

    /// All tries so far, in the order in which they ended.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    pub(crate) fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    /// Sends what happens until `over`, as fast as it is taken. Each event is acknowledged at least once.
    pub(crate) async fn until(&self, over: impl Fn() -> bool) -> Model {
        let mut random = self.random();
        let mut model = Model::default();
        let mut links = model.link_all();
        while !over() {
            let mut batch: Vec<Value> = (0..20).flat_map(|_| model.happen(&mut random)).collect();
            // The links come one after the other, long after what they are about.
            batch.extend(links.pop());
            self.post_all(disturbed(batch, &mut random)).await;
        }
        self.post_all(links).await;
        model
    }

    /// Everything once more, as an operator might.
    pub(crate) async fn finish(&self, model: &Model) {
        let mut random = self.random();
        let some = model.events.iter().filter(|_| random.random_bool(0.1)).cloned().collect();
        self.post_all(some).await;
    }

    pub(crate) async fn post_all(&self, events: Vec<Value>) {
        stream::iter(events).for_each_concurrent(CONNECTIONS, |event| self.post(event)).await;
    }

    /// Sends one event until it is acknowledged.
    pub(crate) async fn post(&self, event: Value) {
        let body = event.to_string();
        loop {
            let answer = self.try_once(&body).await;
            if answer == Answer::Taken {
                return;
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    pub(crate) async fn try_once(&self, body: &str) -> Answer {
        let signature = self.secrets.sign(body.as_bytes(), now());
        let request = self.client.post(&self.url).header("Stripe-Signature", signature).body(body.to_owned());
        let started = Instant::now();
        let answer = match request.send().await {
            Ok(answer) if answer.status().is_success() => Answer::Taken,
            Ok(answer) if answer.status().is_server_error() => Answer::Refused,
            Ok(answer) => panic!("{} for {body}", answer.status()),
            Err(error) if error.is_timeout() => Answer::Late,
            Err(_) => Answer::Broken,
        };
        let ended = Instant::now();
        self.deliveries.lock().unwrap().push(Delivery { ended, took: ended - started, answer });
        answer
    }
}

/// Some of it twice, all of it in any order.
pub(crate) fn disturbed(mut events: Vec<Value>, random: &mut StdRng) -> Vec<Value> {
    let again: Vec<Value> = events.iter().filter(|_| random.random_bool(0.2)).cloned().collect();
    events.extend(again);
    events.shuffle(random);
    events
}
