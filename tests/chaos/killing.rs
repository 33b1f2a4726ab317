//! The killer: one receiver and two workers, each of which dies at a point of its own, or at any moment.

use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::Site;

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

pub(crate) struct Kills {
    wanted: usize,
    seed: u64,
    done: AtomicUsize,
    /// Kills of workers: a mail may have been on its way.
    of_workers: AtomicUsize,
    names: Mutex<Vec<String>>,
}

/// Processes that are stopped when this is dropped.
pub(crate) struct Undisturbed(Vec<Child>);

impl Drop for Undisturbed {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Kills {
    pub(crate) fn new(wanted: usize, seed: u64) -> Self {
        let none = || AtomicUsize::new(0);
        Self { wanted, seed, done: none(), of_workers: none(), names: Mutex::default() }
    }

    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    pub(crate) fn are_over(&self) -> bool {
        self.done() >= self.wanted
    }

    pub(crate) fn while_mailing(&self) -> usize {
        self.of_workers.load(Ordering::SeqCst)
    }

    /// Runs all processes, and lets them die, until there were as many kills as wanted.
    pub(crate) async fn reign(&self, site: &Site) {
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
        println!(
            "  killed at: {}",
            counted.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
        );
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
    pub(crate) fn undisturbed(&self, site: &Site) -> Undisturbed {
        let start = |(args, _): &(&[&str], &[&str])| {
            site.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        Undisturbed(ROLES.iter().map(start).collect())
    }
}
