//! Traffic at a steady pace, whatever the answers are, and how fast it is taken and processed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use serde_json::Value;
use sqlx::{Connection, Executor};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::harness::{On, Site};
use crate::model::Model;
use crate::sending::{Answer, Sender, disturbed};

const TICK: Duration = Duration::from_millis(50);
/// Events on their way at one moment; beyond it nothing new happens.
const ON_THEIR_WAY: usize = 400;
const LOOK: Duration = Duration::from_millis(100);
/// Deliveries of each event, more or less (`disturbed`).
const DELIVERIES: f64 = 1.2;
/// How often the pace is halved before a machine is too slow for anything to be seen.
const HALVINGS: usize = 4;

/// Traffic that goes on until it is told to stop.
pub(crate) struct Traffic {
    pub(crate) sender: Arc<Sender>,
    stop: Arc<AtomicBool>,
    running: JoinHandle<Model>,
    /// Events a second.
    pace: Arc<Mutex<f64>>,
    looking: JoinHandle<()>,
    seen: Arc<Mutex<Vec<(Instant, i64)>>>,
}

/// Deliveries taken and events finished, a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    pub(crate) taken: f64,
    pub(crate) finished: f64,
}

impl Speed {
    /// What there was to do at this pace: what waited from before is no part of it.
    fn at_pace(self, pace: f64) -> Self {
        Self { taken: self.taken.min(pace * DELIVERIES), finished: self.finished.min(pace) }
    }

    /// At least this part of `usual`, in both.
    pub(crate) fn is_part_of(self, usual: Self, part: f64) -> bool {
        self.taken >= usual.taken * part && self.finished >= usual.finished * part
    }
}

impl Traffic {
    /// About `rate` events a second, on top of what `model` has told already.
    pub(crate) fn start(site: &Site, sender: Arc<Sender>, model: Model, rate: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pace = Arc::new(Mutex::new(rate));
        let running = tokio::spawn(run(Arc::clone(&sender), model, Arc::clone(&pace), Arc::clone(&stop)));
        let seen = Arc::default();
        let looking = tokio::spawn(look(site.on, site.url.clone(), Arc::clone(&seen)));
        Self { sender, stop, running, pace, looking, seen }
    }

    /// Ends it; every event is acknowledged then. `None`: some were not within two minutes.
    pub(crate) async fn end(mut self) -> Option<Model> {
        self.stop.store(true, Ordering::SeqCst);
        let model = tokio::time::timeout(Duration::from_secs(120), &mut self.running).await;
        self.running.abort();
        self.looking.abort();
        model.ok().map(|ended| ended.unwrap())
    }

    /// Waits until the traffic flows, at the pace asked for or, where other work on the machine leaves no room for that, at
    /// a half, a quarter and so on of it. Gives the pace and the speed; the speed that was too low, when no pace was slow enough.
    pub(crate) async fn flow(&self) -> Result<(f64, Speed), Speed> {
        let mut halvings = 0;
        loop {
            // The first seconds connect, link customers and so on.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let pace = *self.pace.lock().unwrap();
            let speed = self.over_the_next(Duration::from_secs(3)).await.at_pace(pace);
            if speed.finished >= pace * 0.6 {
                return Ok((pace, speed));
            }
            if halvings == HALVINGS {
                return Err(speed);
            }
            halvings += 1;
            *self.pace.lock().unwrap() = pace / 2.0;
        }
    }

    /// The speed between two moments. Where the database could not be asked, nothing was finished.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Speed {
        let seconds = (to - from).as_secs_f64();
        let taken = self
            .sender
            .deliveries()
            .iter()
            .filter(|delivery| delivery.answer == Answer::Taken && (from..to).contains(&delivery.ended))
            .count();
        let seen = self.seen.lock().unwrap();
        let at = |moment: Instant| seen.iter().rev().find(|(when, _)| *when <= moment).map_or(0, |(_, count)| *count);
        Speed { taken: taken as f64 / seconds, finished: (at(to) - at(from)) as f64 / seconds }
    }

    pub(crate) async fn over_the_next(&self, length: Duration) -> Speed {
        let from = Instant::now();
        tokio::time::sleep(length).await;
        self.between(from, from + length)
    }
}

async fn run(sender: Arc<Sender>, mut model: Model, pace: Arc<Mutex<f64>>, stop: Arc<AtomicBool>) -> Model {
    let mut random = sender.random();
    let mut links = if model.events.is_empty() { model.link_all() } else { Vec::new() };
    let slots = Arc::new(Semaphore::new(ON_THEIR_WAY));
    let mut posts = JoinSet::new();
    let mut tick = tokio::time::interval(TICK);
    let mut due = 0.0;
    while !stop.load(Ordering::SeqCst) {
        tick.tick().await;
        while posts.join_next().now_or_never().flatten().is_some() {}
        let rate = *pace.lock().unwrap();
        due = (due + rate * TICK.as_secs_f64()).min(rate);
        let mut batch: Vec<Value> = links.pop().into_iter().collect();
        while due >= 1.0 && slots.available_permits() > batch.len() + 8 {
            let told = model.happen(&mut random);
            due -= told.len() as f64;
            batch.extend(told);
        }
        for event in disturbed(batch, &mut random) {
            let (sender, slots) = (Arc::clone(&sender), Arc::clone(&slots));
            posts.spawn(async move {
                let _slot = slots.acquire_owned().await.unwrap();
                sender.post(event).await;
            });
        }
    }
    posts.join_all().await;
    sender.post_all(links).await;
    model
}

/// How long the count may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Counts what is finished, again and again, over a connection of its own.
async fn look(on: On, url: String, seen: Arc<Mutex<Vec<(Instant, i64)>>>) {
    const COUNT: &str = "select count(*) from stripe_events where status <> 'received'";
    loop {
        let failed: sqlx::Result<()> = async {
            match on {
                On::Sqlite => {
                    let mut connection = sqlx::SqliteConnection::connect(&url).await?;
                    loop {
                        let (count,): (i64,) = sqlx::query_as(COUNT).fetch_one(&mut connection).await?;
                        seen.lock().unwrap().push((Instant::now(), count));
                        tokio::time::sleep(LOOK).await;
                    }
                }
                On::Postgres => {
                    let mut connection = sqlx::PgConnection::connect(&url).await?;
                    connection.execute("set search_path = billing, public").await?;
                    loop {
                        let counted = sqlx::query_as(COUNT).fetch_one(&mut connection);
                        // The connection may be one that nobody answers.
                        let Ok(counted) = tokio::time::timeout(ANSWER, counted).await else { return Ok(()) };
                        let (count,): (i64,) = counted?;
                        seen.lock().unwrap().push((Instant::now(), count));
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        }
        .await;
        drop(failed);
        tokio::time::sleep(LOOK).await;
    }
}
