//! Breaks everything around the program, and sometimes the program, and then looks whether the promises held.
//!
//! A sender that behaves as Stripe does (retries what was not 2xx, duplicates, reorders, several connections) posts a model's
//! events to real processes while a scenario plays. At the end they run undisturbed until nothing waits, and what the sender
//! knows is compared with what the database and the mail server have. `scripts/chaos` runs it; `docs/chaos.md` tells of each.
//!
//!     cargo test --features chaos --test chaos -- [--scenario NAME,…] [--engine sqlite|postgres] [--kills N] [--seed N] [--long] [--list]

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../it/bodies.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod bodies;
mod check;
mod cluster;
mod firing;
#[path = "../it/harness.rs"]
#[expect(dead_code, unused_macros, unused_imports, reason = "shared with the other tests")]
mod harness;
mod mailbox;
mod manner;
mod model;
mod mount;
mod proxy;
mod scenarios;
mod sending;
mod stage;
mod traffic;

use std::time::Instant;

use harness::On;
use scenarios::{ALL, Scenario};
use stage::Wish;

struct Args {
    engines: Vec<On>,
    /// Empty: those of the short form, or all in the long one.
    names: Vec<String>,
    wish: Wish,
    list: bool,
}

fn args() -> Args {
    let wish = Wish { seed: 1, long: false, kills: 40 };
    let mut args = Args { engines: vec![On::Sqlite, On::Postgres], names: Vec::new(), wish, list: false };
    let mut words = std::env::args().skip(1);
    let mut kills = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        match word.as_str() {
            "--engine" => args.engines = vec![if value() == "sqlite" { On::Sqlite } else { On::Postgres }],
            "--kills" => kills = Some(value().parse().unwrap()),
            "--seed" => args.wish.seed = value().parse().unwrap(),
            "--scenario" => args.names.extend(value().split(',').map(ToOwned::to_owned)),
            "--long" => args.wish.long = true,
            "--list" => args.list = true,
            // What test runners pass to every test.
            _ => {}
        }
    }
    args.wish.kills = kills.unwrap_or(if args.wish.long { 1000 } else { 40 });
    args
}

impl Args {
    /// Where it is to be played.
    fn engines_of(&self, scenario: &Scenario) -> impl Iterator<Item = On> {
        let named = self.names.iter().any(|name| name == scenario.name);
        let engines = match self.names.as_slice() {
            [] if !self.wish.long => scenario.short,
            [] => scenario.on,
            _ if named => scenario.on,
            _ => &[],
        };
        engines.iter().copied().filter(|on| self.engines.contains(on))
    }
}

#[tokio::main]
async fn main() {
    let args = args();
    if args.list {
        for scenario in ALL {
            println!(
                "{:22}{} (on {:?}, in the short form on {:?})",
                scenario.name, scenario.about, scenario.on, scenario.short
            );
        }
        return;
    }
    for name in &args.names {
        assert!(ALL.iter().any(|scenario| scenario.name == name), "there is no scenario {name:?}; see --list");
    }
    let mut broken = Vec::new();
    for scenario in ALL {
        let plays = args.engines_of(scenario).map(|on| show(scenario, on, args.wish));
        if scenario.measures_speed() {
            for play in plays {
                broken.extend(play.await);
            }
        } else {
            broken.extend(futures::future::join_all(plays).await.into_iter().flatten());
        }
    }
    if !broken.is_empty() {
        println!("promises were broken: {}", broken.join(", "));
        std::process::exit(1);
    }
}

/// Plays a scenario and prints what came of it. Gives its name where a promise was broken.
async fn show(scenario: &Scenario, on: On, wish: Wish) -> Option<String> {
    let started = Instant::now();
    let report = (scenario.play)(on, wish).await;
    let held = if report.failures.is_empty() { "held" } else { "BROKEN" };
    let seconds = started.elapsed().as_secs();
    println!("{} {on:?} (seed {}, {seconds} s): {}: {held}", scenario.name, wish.seed, report.line);
    for failure in &report.failures {
        println!("  FAILED {failure}");
    }
    (!report.failures.is_empty()).then(|| format!("{} {on:?}", scenario.name))
}
