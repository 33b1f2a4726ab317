//! The killer: one receiver and two workers, each of which dies at a point of its own, or at any moment.

use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::check::{Verdict, check};
use crate::harness::{On, Site};
use crate::sending::Sender;
use crate::stage::{Report, Stage, Wish, settle};

/// Where a receiver may die, and a worker.
const WEB: &[&str] = &["received.verified", "ingest.before_commit", "ingest.after_commit"];
const WORKER: &[&str] = &[
    "job.fetched",
    "apply.audit",
    "apply.credits",
    "apply.emails",
    "apply.saved",
    "process.before_commit",
    "process.after_commit",
    "job.before_ack",
    "mail.claimed",
    "mail.sent",
];
/// The processes: what they run, and where they may die.
const ROLES: [(&[&str], &[&str]); 3] = [(&["web"], WEB), (&["worker"], WORKER), (&["worker"], WORKER)];

/// A worker sends so many mails at a time; each may come again after its death.
const MAILING: usize = 8;

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let Stage { site, mailbox, .. } = Stage::new(Site::new(on).await, wish).await;
    let kills = Kills::new(wish.kills, wish.seed);
    let sender = Sender::new(&site, wish.seed, Duration::from_millis(50));
    // Undisturbed once the last one has died: what is not acknowledged by then has to be.
    let (model, (undisturbed, names, calm)) = tokio::join!(sender.until(|| kills.are_over()), async {
        let names = kills.reign(&site).await;
        (Kills::undisturbed(&site), names, Instant::now())
    });
    sender.finish(&model).await;
    let settled = settle(&site, calm).await;
    drop(undisturbed);
    let Verdict { lost, doubled, says: mut failures } =
        check(&site, &model, &mailbox, MAILING * kills.while_mailing()).await;
    if settled.is_none() {
        failures.push("events or mails are stuck".to_owned());
    }
    let line = format!(
        "lost {lost}, doubled {doubled}, all settled {:.1} s after the last of {} kills ({names}); {} events of {} deliveries, {} mails ({} twice)",
        settled.unwrap_or_default().as_secs_f64(),
        kills.done(),
        model.events.len(),
        sender.deliveries().len(),
        mailbox.messages().len(),
        mailbox.messages().values().filter(|times| **times > 1).count(),
    );
    Report { line, failures }
}

struct Kills {
    wanted: usize,
    seed: u64,
    done: AtomicUsize,
    /// Kills of workers: a mail may have been on its way.
    of_workers: AtomicUsize,
    names: Mutex<Vec<String>>,
}

/// Processes that are stopped when this is dropped.
struct Undisturbed(Vec<Child>);

impl Drop for Undisturbed {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Kills {
    fn new(wanted: usize, seed: u64) -> Self {
        let none = || AtomicUsize::new(0);
        Self { wanted, seed, done: none(), of_workers: none(), names: Mutex::default() }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    fn are_over(&self) -> bool {
        self.done() >= self.wanted
    }

    fn while_mailing(&self) -> usize {
        self.of_workers.load(Ordering::SeqCst)
    }

    /// Runs all processes, and lets them die, until there were as many kills as wanted.
    async fn reign(&self, site: &Site) -> String {
        let lives = ROLES.iter().enumerate().map(|(index, role)| self.live_and_die(site, index as u64, role));
        futures::future::join_all(lives).await;
        let mut names = self.names.lock().unwrap().clone();
        names.sort();
        let mut counted: Vec<(String, usize)> = Vec::new();
        for name in names {
            match counted.last_mut() {
                Some((last, times)) if *last == name => *times += 1,
                _ => counted.push((name, 1)),
            }
        }
        counted.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
    }

    async fn live_and_die(&self, site: &Site, index: u64, (args, points): &(&[&str], &[&str])) {
        let mut random = StdRng::seed_from_u64(self.seed * 31 + index);
        while !self.are_over() {
            let mut command = site.command(args);
            let point = random.random_bool(0.8).then(|| points[random.random_range(0..points.len())]);
            if let Some(point) = point {
                command.env("BILLINGD_KILL_AT", format!("{point}:{}", random.random_range(1..8)));
            }
            let mut child = command.env("RUST_LOG", "off").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Long enough to come to its point, if it ever does.
            let patience = Duration::from_millis(random.random_range(200..2500));
            let died = tokio::time::timeout(patience, async {
                while child.try_wait().unwrap().is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await
            .is_ok();
            if !died {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            let name = match (point, died) {
                (Some(point), true) => point,
                _ => "any moment",
            };
            self.names.lock().unwrap().push(name.to_owned());
            self.done.fetch_add(1, Ordering::SeqCst);
            if args[0] == "worker" {
                self.of_workers.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Starts all processes for good.
    fn undisturbed(site: &Site) -> Undisturbed {
        let start = |(args, _): &(&[&str], &[&str])| {
            site.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        Undisturbed(ROLES.iter().map(start).collect())
    }
}
