//! Where a scenario plays: an installation with its processes, a mail server, traffic, and what is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::check::{Verdict, check, still_waiting};
use crate::cluster::Cluster;
use crate::harness::Site;
use crate::mailbox::Mailbox;
use crate::model::{self, Model};
use crate::sending::{Answer, Delivery, Sender};
use crate::traffic::{Speed, Traffic};

/// Nothing may wait for longer once the fault is over.
const PATIENCE: Duration = Duration::from_secs(180);
/// Full speed has to be back within this, unless a scenario asks for more.
const RECOVERY: Duration = Duration::from_secs(10);
/// What counts as full speed: this part of what it was before, over a second.
const FULL: f64 = 0.9;
const WINDOW: Duration = Duration::from_secs(1);

/// What a run of the suite wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) seed: u64,
    pub(crate) long: bool,
    pub(crate) kills: usize,
}

impl Wish {
    /// The length of a fault in seconds.
    pub(crate) fn seconds(self, short: u64, long: u64) -> Duration {
        Duration::from_secs(if self.long { long } else { short })
    }
}

/// What came of a scenario; one line, and its failures.
pub(crate) struct Report {
    pub(crate) line: String,
    pub(crate) failures: Vec<String>,
}

impl Report {
    pub(crate) fn skipped(why: &str) -> Self {
        Self { line: format!("not possible here: {why}"), failures: Vec::new() }
    }
}

pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) mailbox: Mailbox,
    pub(crate) sender: Arc<Sender>,
    /// Events a second.
    pub(crate) rate: f64,
    /// Full speed has to be back within this.
    pub(crate) recovery: Duration,
    /// Mails that may come again.
    pub(crate) repeats: usize,
    /// Full speed has to last through the fault, too, in what is taken and finished.
    pub(crate) unhurt: bool,
    /// The processes that have to live.
    names: Vec<&'static str>,
    pub(crate) model: Model,
}

impl Stage {
    /// An installation with workspaces, one receiver and two workers.
    pub(crate) async fn new(mut site: Site, wish: Wish) -> Self {
        let mailbox = Mailbox::default();
        site.set("SMTP_URL", &mailbox.start().await);
        for workspace in model::workspaces() {
            site.ok(&["workspaces", "put", &workspace, "--owner-email", "owner@example.com", "--trial-days", "0"]);
        }
        let sender = Arc::new(Sender::new(&site, wish.seed, Duration::from_millis(500)));
        let model = Model::default();
        Self {
            site,
            mailbox,
            sender,
            rate: 80.0,
            recovery: RECOVERY,
            repeats: 0,
            unhurt: false,
            names: Vec::new(),
            model,
        }
    }

    /// The same, started, on a PostgreSQL server of its own, which may be broken.
    pub(crate) async fn on_cluster(wish: Wish) -> (Cluster, Self) {
        let cluster = Cluster::start("").await;
        let mut stage = Self::new(Site::on_postgres(cluster.url()).await, wish).await;
        stage.start().await;
        (cluster, stage)
    }

    pub(crate) async fn start(&mut self) {
        self.start_with(&[&[], &[]]).await;
    }

    /// One receiver, and a worker for each of these sets of variables.
    pub(crate) async fn start_with(&mut self, workers: &[&[(&str, &str)]]) {
        self.site.start_web().await;
        self.names.push("web");
        for variables in workers {
            self.site.start_with(&["worker"], variables);
        }
        self.names.push("worker");
    }

    /// Traffic before, during and after a fault, and what came of it.
    pub(crate) async fn through(&mut self, fault: impl AsyncFnOnce(&mut Site, &Mailbox)) -> Report {
        let sender = Arc::clone(&self.sender);
        let traffic = Traffic::start(&self.site, Arc::clone(&sender), std::mem::take(&mut self.model), self.rate);
        let mut failures = Vec::new();
        let (pace, usual) = traffic.flow().await.unwrap_or_else(|speed| {
            failures.push(format!("the machine is too slow for any traffic even without a fault: {speed:?}"));
            (0.0, speed)
        });
        let began = Instant::now();
        fault(&mut self.site, &self.mailbox).await;
        let ended = Instant::now();
        let during = traffic.between(began, ended);
        let again = full_speed_again(&traffic, usual, ended).await;
        let Some(model) = traffic.end().await else {
            failures.push("events were never acknowledged".to_owned());
            self.keep_logs(&mut failures);
            return Report { line: "everything is lost".to_owned(), failures };
        };
        let settled = settle(&self.site, ended).await;

        match again {
            Some(after) if after <= self.recovery => {}
            Some(after) => failures.push(format!("full speed came back only after {:.1} s", after.as_secs_f64())),
            None => failures.push("full speed did not come back within a minute".to_owned()),
        }
        if self.unhurt && !during.is_part_of(usual, 0.8) {
            failures.push(format!("it slowed down during the fault: {during:?}, before it {usual:?}"));
        }
        if settled.is_none() {
            failures.push(format!("events or mails are stuck after {} s", PATIENCE.as_secs()));
        }
        for name in &self.names {
            if !self.site.is_running(name) {
                failures.push(format!("a {name} has exited by itself"));
            }
        }
        let verdict = check(&self.site, &model, &self.mailbox, self.repeats).await;
        let Verdict { lost, doubled, says } = verdict;
        failures.extend(says);
        let deliveries: Vec<Delivery> =
            sender.deliveries().into_iter().filter(|delivery| delivery.ended > began).collect();
        let count = |answer| deliveries.iter().filter(|delivery| delivery.answer == answer).count();
        let slowest = deliveries.iter().map(|delivery| delivery.took).max().unwrap_or_default();
        if count(Answer::Late) > 0 {
            failures.push(format!("{} deliveries had no answer within 15 s", count(Answer::Late)));
        }
        let line = format!(
            "lost {lost}, doubled {doubled}, full speed ({pace:.0}/s) again after {}; {} events, {} mails; {:.0} s of fault: {:.0} % taken, {:.0} % finished, {} refused, {} broken, slowest answer {:.1} s; all settled {} after it",
            again.map_or("never".to_owned(), |after| format!("{:.1} s", after.as_secs_f64())),
            model.events.len(),
            self.mailbox.messages().len(),
            (ended - began).as_secs_f64(),
            100.0 * during.taken / usual.taken.max(1.0),
            100.0 * during.finished / usual.finished.max(1.0),
            count(Answer::Refused),
            count(Answer::Broken),
            slowest.as_secs_f64(),
            settled.map_or("never".to_owned(), |after| format!("{:.1} s", after.as_secs_f64())),
        );
        if !failures.is_empty() {
            self.keep_logs(&mut failures);
        }
        Report { line, failures }
    }

    /// The last lines of each log, for whoever looks into a failure.
    fn keep_logs(&self, failures: &mut Vec<String>) {
        for name in &self.names {
            let log = std::fs::read_to_string(self.site.dir.path().join(format!("{name}.log"))).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(8).collect();
            failures.extend(last.into_iter().rev().map(|line| format!("{name}.log: {line}")));
        }
    }
}

/// How long after `ended` a second of full speed began.
async fn full_speed_again(traffic: &Traffic, usual: Speed, ended: Instant) -> Option<Duration> {
    let mut from = ended;
    while ended.elapsed() < Duration::from_secs(60) {
        let left = (from + WINDOW).saturating_duration_since(Instant::now());
        tokio::time::sleep(left).await;
        if traffic.between(from, from + WINDOW).is_part_of(usual, FULL) {
            return Some(from - ended);
        }
        from += Duration::from_millis(100);
    }
    None
}

/// How long after `ended` nothing waited any more.
pub(crate) async fn settle(site: &Site, ended: Instant) -> Option<Duration> {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        if still_waiting(site).await == "0" {
            return Some(ended.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    None
}
