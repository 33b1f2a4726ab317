//! The year, step by step: what happens at Stripe, what arrives, what the product's jobs make of it, and whether it is so.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::calendar::{DAY, END, HOUR, MINUTE, START, at};
use crate::compare::{Difference, compare, compare_rows};
use crate::model::telling::NOISE;
use crate::model::{Life, What};
use crate::network::{Network, Outages};
use crate::product::Product;
use crate::stripe::Listed;
use crate::trials::Trials;
use crate::{Args, On, story};

/// Deliveries that a step is made for, so that few workspaces take long steps.
const DELIVERIES: i64 = 40;
/// Deliveries of one workspace in a year, about.
const EACH: i64 = 80;
/// After the year what is on its way arrives: three days of attempts, and the last press on "Resend".
const DRAIN: i64 = 20 * DAY;
/// Between two passes that look for drift; they come hourly in truth, and find little.
const RECONCILED: i64 = 7 * DAY;
/// Stories that are printed.
const STORIES: usize = 3;
/// Workspaces that are seen to be wrong before the year is given up.
const ENOUGH: usize = 30;

struct Arrival {
    at: i64,
    /// Position of the life.
    life: usize,
    what: Heard,
}

enum Heard {
    Event { id: Arc<str>, body: Arc<str>, first: bool },
    Put { trial_days: i64 },
    Link { customer: String },
}

struct Year {
    lives: Vec<Life>,
    networks: Vec<Network>,
    /// Events of each life that have happened and are not processed.
    open: Vec<usize>,
    put: Vec<bool>,
    /// When something happens next, by life.
    due: BinaryHeap<Reverse<(i64, usize)>>,
    /// What is on its way, by arrival.
    underway: BinaryHeap<Reverse<(i64, u64)>>,
    arrivals: HashMap<u64, Arrival>,
    sent: u64,
    events: usize,
    deliveries: usize,
    product: Product,
    stripe: Listed,
    /// Events that were never sent, and whose they are.
    missing: HashMap<String, usize>,
    found: usize,
    reconciled_at: i64,
    trials: Trials,
    random: StdRng,
    /// Events that were received and wait: the last one's id, and whose they are.
    waiting: Vec<(String, usize)>,
    sampled: usize,
    /// How often each type of event was told.
    types: std::collections::BTreeMap<String, usize>,
    /// Lives that have been seen to be wrong.
    wrong: std::collections::BTreeSet<usize>,
}

/// Simulates a year, and says whether every workspace was right.
pub(crate) async fn run(on: On, args: &Args) -> bool {
    let started = Instant::now();
    let mut steps = StdRng::seed_from_u64(args.seed);
    let mut year = Year::new(on, args).await;
    let length = (365 * DAY * DELIVERIES / (args.workspaces as i64 * EACH)).clamp(10 * MINUTE, 16 * HOUR);
    let (mut now, mut step, mut differences) = (START, 0_u64, Vec::new());
    while now < END + DRAIN && year.wrong.len() < ENOUGH {
        now += steps.random_range(length / 2..=length);
        step += 1;
        differences.extend(year.step(now, step).await);
    }
    if now >= END + DRAIN {
        year.finish(now).await;
        differences.extend(year.compare_all(now).await);
    }
    report(&year, &differences, on, args, started);
    year.product.close().await;
    differences.is_empty()
}

fn report(year: &Year, differences: &[Difference], on: On, args: &Args, started: Instant) {
    let mut told = Vec::new();
    for difference in differences {
        if !told.contains(&difference.index) && told.len() < STORIES {
            story::print(difference, args, on.name());
            told.push(difference.index);
        } else {
            let Difference { index, field, wanted, got, now } = difference;
            println!("  also ws_{index:05} {field}: wanted {wanted}, got {got}, at {}", at(*now));
        }
    }
    let types: Vec<String> = year.types.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    println!("  events: {}", types.join(", "));
    let mut states: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for life in &year.lives {
        *states.entry(life.wanted(END).status).or_default() += 1;
    }
    println!("  in the end: {states:?}");
    println!(
        "{}: seed {}, {} workspaces, {} events of {} deliveries, {} never sent and found, {} looks in between, {:.0} s: {}",
        on.name(),
        args.seed,
        year.lives.len(),
        year.events,
        year.deliveries,
        year.found,
        year.sampled,
        started.elapsed().as_secs_f64(),
        if differences.is_empty() {
            "every workspace is what it must be".to_owned()
        } else {
            format!("{} DIFFERENCES", differences.len())
        },
    );
}

impl Year {
    async fn new(on: On, args: &Args) -> Self {
        let outages = Outages::new(args.seed);
        let indices: Vec<usize> = args.only.map_or_else(|| (0..args.workspaces).collect(), |only| vec![only]);
        let lives: Vec<Life> = indices.iter().map(|index| Life::new(args.seed, *index)).collect();
        let networks = lives
            .iter()
            .map(|life| Network::new(args.seed, life.index, outages.clone(), life.account.has_key))
            .collect();
        let stripe = Listed::default();
        let client = stripe.start().await;
        let due = lives.iter().enumerate().filter_map(|(life, it)| Some(Reverse((it.next()?, life)))).collect();
        Self {
            open: vec![0; lives.len()],
            put: vec![false; lives.len()],
            lives,
            networks,
            due,
            underway: BinaryHeap::new(),
            arrivals: HashMap::new(),
            sent: 0,
            events: 0,
            deliveries: 0,
            product: Product::new(on, START, client).await,
            stripe,
            missing: HashMap::new(),
            found: 0,
            reconciled_at: START,
            trials: Trials::default(),
            random: StdRng::seed_from_u64(args.seed ^ 0x5eed),
            waiting: Vec::new(),
            sampled: 0,
            types: std::collections::BTreeMap::new(),
            wrong: std::collections::BTreeSet::new(),
        }
    }

    /// Everything until `now`.
    async fn step(&mut self, now: i64, step: u64) -> Vec<Difference> {
        self.happen(now);
        self.arrive(now).await;
        self.product.set_clock(now);
        // The workers are not always there at once.
        if self.random.random_bool(0.8) {
            self.process().await;
        }
        let (open, lives, put) = (&self.open, &self.lives, &self.put);
        let settled = |life: usize| open[life] == 0 && lives[life].is_linked();
        self.trials.sweep(lives, settled, |life| put[life], now);
        self.product.sweep().await;
        if now - self.reconciled_at >= RECONCILED {
            self.reconcile(now).await;
        }
        if step.is_multiple_of(100) {
            let day = self.random.random_range(START..now);
            self.product.replay(day).await;
            self.product.clear_queue().await;
        }
        self.sample(now).await
    }

    /// What happens at Stripe and in the app.
    fn happen(&mut self, now: i64) {
        while let Some(Reverse((at, life))) = self.due.peek().copied().filter(|Reverse((at, _))| *at < now) {
            self.due.pop();
            debug_assert!(at < now);
            for happening in self.lives[life].live(now) {
                match happening.what {
                    What::Put { trial_days } => self.send(happening.at, life, Heard::Put { trial_days }),
                    What::Link { customer } => self.send(happening.at, life, Heard::Link { customer }),
                    What::Told { id, kind, body } => {
                        self.events += 1;
                        let (id, body): (Arc<str>, Arc<str>) = (id.into(), body.into());
                        if self.lives[life].account.has_key {
                            self.stripe.lists_event(happening.at, &id, &body);
                        }
                        let arrivals = self.networks[life].arrivals(happening.at);
                        let never_sent = arrivals.is_empty();
                        self.open[life] += usize::from(!never_sent || kind != NOISE);
                        if never_sent && kind != NOISE {
                            self.missing.insert(id.to_string(), life);
                        }
                        *self.types.entry(kind).or_default() += 1;
                        for (time, at) in arrivals.into_iter().enumerate() {
                            self.send(at, life, Heard::Event { id: id.clone(), body: body.clone(), first: time == 0 });
                        }
                    }
                }
            }
            if let Some(next) = self.lives[life].next() {
                self.due.push(Reverse((next, life)));
            }
        }
    }

    fn send(&mut self, at: i64, life: usize, what: Heard) {
        if !matches!(what, Heard::Event { .. }) {
            self.open[life] += 1;
        }
        self.sent += 1;
        self.underway.push(Reverse((at, self.sent)));
        self.arrivals.insert(self.sent, Arrival { at, life, what });
    }

    /// Receives what has arrived, in commits of any size, with jobs in between.
    async fn arrive(&mut self, now: i64) {
        let mut batch: Vec<Arc<str>> = Vec::new();
        let mut most = self.random.random_range(1..=64);
        while let Some(Reverse((_, number))) = self.underway.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.underway.pop();
            let Some(arrival) = self.arrivals.remove(&number) else { continue };
            if batch.len() == most || !matches!(arrival.what, Heard::Event { .. }) {
                self.product.receive(&batch).await;
                batch.clear();
                most = self.random.random_range(1..=64);
                if self.random.random_bool(0.5) {
                    self.process().await;
                }
            }
            self.product.set_clock(arrival.at);
            let workspace = self.lives[arrival.life].id.clone();
            match arrival.what {
                Heard::Event { id, body, first } => {
                    self.deliveries += 1;
                    if first {
                        self.waiting.push((id.to_string(), arrival.life));
                    }
                    batch.push(body);
                }
                Heard::Put { trial_days } => {
                    self.product.put(&workspace, trial_days, None).await;
                    self.put[arrival.life] = true;
                    self.open[arrival.life] -= 1;
                }
                Heard::Link { customer } => {
                    self.product.put(&workspace, 0, Some(&customer)).await;
                    self.open[arrival.life] -= 1;
                }
            }
        }
        self.product.receive(&batch).await;
    }

    /// Works off what waits: jobs of any size in any order, each of which takes along what it can.
    async fn process(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.shuffle(&mut self.random);
        for (_, life) in &waiting {
            self.open[*life] -= 1;
        }
        let mut rest = &waiting[..];
        while !rest.is_empty() {
            let (job, others) = rest.split_at(self.random.random_range(1..=rest.len().min(64)));
            self.product.process(job.iter().map(|(id, _)| id.clone()).collect()).await;
            rest = others;
        }
    }

    /// Looks for drift, and lets it be repaired.
    async fn reconcile(&mut self, now: i64) {
        self.reconciled_at = now;
        self.stripe.is_now(now, self.lives.iter().flat_map(Life::subscriptions_at_stripe));
        let missing: Vec<&str> = self.missing.keys().map(String::as_str).collect();
        let mut found: Vec<String> = self.product.reconcile(&missing).await.into_iter().collect();
        found.sort();
        self.found += found.len();
        for id in found {
            if let Some(life) = self.missing.remove(&id) {
                self.waiting.push((id, life));
            }
        }
        // Whoever asks, asks before or after the events are processed.
        if self.random.random_bool(0.5) {
            self.process().await;
        }
        self.product.refresh().await;
    }

    /// Looks at some of the workspaces of which everything is told.
    async fn sample(&mut self, now: i64) -> Vec<Difference> {
        let mut differences = Vec::new();
        for _ in 0..3 {
            let life = self.random.random_range(0..self.lives.len());
            if self.open[life] > 0 || !self.put[life] || !self.lives[life].is_linked() || self.wrong.contains(&life) {
                continue;
            }
            let Some(row) = self.product.workspace(&self.lives[life].id).await else { continue };
            self.sampled += 1;
            let found = compare(&self.lives[life], &row, &self.product, now);
            if !found.is_empty() {
                self.wrong.insert(life);
                differences.extend(found);
            }
        }
        differences
    }

    async fn finish(&mut self, now: i64) {
        self.reconcile(now).await;
        self.process().await;
        let left = self.open.iter().filter(|open| **open > 0).count();
        assert_eq!(left, 0, "everything has arrived");
    }

    async fn compare_all(&self, now: i64) -> Vec<Difference> {
        let mut differences = Vec::new();
        for life in self.lives.iter().filter(|life| life.put_at.is_some()) {
            let row = self.product.workspace(&life.id).await.expect("the workspace was made");
            differences.extend(compare(life, &row, &self.product, now));
        }
        differences.extend(compare_rows(&self.lives, &self.trials, &self.product, now).await);
        differences
    }
}
