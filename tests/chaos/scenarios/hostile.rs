//! Hostile clients at the receiver, one kind after the other, while good traffic flows at a fixed pace.
//!
//! The attackers share the machine with everybody else, so what they cost includes their own work. Every good delivery comes
//! over a connection of its own: one that is kept would not notice that nobody is let in any more.

mod attacks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use attacks::ATTACKS;
use tokio::sync::watch;

use crate::harness::{On, Site};
use crate::sending::{Answer, Delivery, Sender};
use crate::stage::{Report, Stage, Wish};

/// Good deliveries take no longer than this, all but one in a hundred: 200 ms, and five times that where nothing is
/// optimised, for then every request costs so much.
const P99: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 200 });
/// This part of the usual rate is kept.
const KEPT: f64 = 0.8;
/// The receiver's memory at its highest.
const MEMORY_KIB: u64 = 100 * 1024;

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let mut stage = Stage::new(Site::new(on).await, wish).await;
    let sender = Sender::new(&stage.site, wish.seed, Duration::from_millis(500)).over_fresh_connections();
    stage.sender = Arc::new(sender);
    stage.rate = 40.0;
    stage.start().await;
    let sender = Arc::clone(&stage.sender);
    let pid = child_named("web");
    let mut windows = Vec::new();
    let mut report = stage
        .through(async |site, _| {
            let calm = Instant::now();
            windows.push(("nobody", calm.checked_sub(Duration::from_secs(3)).unwrap(), calm, high_water_kib(pid)));
            for (name, attack) in ATTACKS {
                let (stop, stopped) = watch::channel(false);
                let (address, long) = (site.address(), wish.long);
                // A thread and a runtime of their own: good traffic must not wait for bad in here.
                let attackers = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(attack(address, long, stopped));
                });
                // What takes a moment to build up.
                tokio::time::sleep(Duration::from_secs(2)).await;
                let from = Instant::now();
                tokio::time::sleep(wish.seconds(3, 20)).await;
                windows.push((name, from, Instant::now(), high_water_kib(pid)));
                stop.send_replace(true);
                tokio::task::spawn_blocking(|| attackers.join().unwrap()).await.unwrap();
            }
        })
        .await;

    let deliveries = sender.deliveries();
    let usual = Seen::of(&deliveries, windows[0].1, windows[0].2);
    let mut memory = 0;
    for (name, from, to, high_water) in &windows {
        memory = *high_water;
        let seen = Seen::of(&deliveries, *from, *to);
        let p99 = seen.p99.as_secs_f64() * 1000.0;
        println!("  {name:18} {:.0}/s taken, p99 {p99:.0} ms; receiver {} MiB until here", seen.rate, memory / 1024);
        if seen.rate < usual.rate * KEPT || seen.p99 > P99.max(usual.p99 * 2) {
            report.failures.push(format!("{name}: {seen:?}, usually {usual:?}"));
        }
    }
    if memory > MEMORY_KIB {
        report.failures.push(format!("the receiver took {memory} KiB of memory"));
    }
    report
}

/// Good traffic in a stretch of time.
#[derive(Debug)]
struct Seen {
    rate: f64,
    p99: Duration,
}

impl Seen {
    /// Counts a delivery where it ended.
    fn of(deliveries: &[Delivery], from: Instant, to: Instant) -> Self {
        let mut took: Vec<Duration> = deliveries
            .iter()
            .filter(|delivery| delivery.answer == Answer::Taken && (from..to).contains(&delivery.ended))
            .map(|delivery| delivery.took)
            .collect();
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
        Self { rate: took.len() as f64 / (to - from).as_secs_f64(), p99 }
    }
}

/// The process of ours that was told to be this.
fn child_named(name: &str) -> u32 {
    let us = std::process::id();
    let of_threads = std::fs::read_dir(format!("/proc/{us}/task"))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
    let all: Vec<String> = of_threads.collect();
    all.iter()
        .flat_map(|pids| pids.split_whitespace())
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains(&format!("\0{name}")))
        })
        .and_then(|pid| pid.parse().ok())
        .unwrap()
}

/// The most memory that a process has ever had.
fn high_water_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
