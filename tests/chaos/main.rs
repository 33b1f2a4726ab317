//! Kills everything, anywhere, for a while, and then looks whether the promises held.
//!
//! A sender that behaves as Stripe does (retries what was not 2xx, duplicates, reorders, several connections) posts a model's
//! events to a receiver, while receiver and workers die at named points and at random times. At the end they run undisturbed
//! until nothing waits, and what the sender knows is compared with what the database and the mail server have.
//!
//!     cargo test --features chaos --test chaos -- [--engine sqlite|postgres] [--kills N] [--seed N]

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../it/bodies.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod bodies;
#[path = "../it/harness.rs"]
#[expect(dead_code, unused_macros, unused_imports, reason = "shared with the other tests")]
mod harness;
mod killing;
mod mailbox;
mod model;
mod sending;

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{On, Site};
use killing::Kills;
use mailbox::Mailbox;
use model::Model;
use sending::Sender;

/// Nothing may wait for longer once nobody dies any more.
const PATIENCE: Duration = Duration::from_secs(180);

struct Args {
    engines: Vec<On>,
    kills: usize,
    seed: u64,
}

fn args() -> Args {
    let mut args = Args { engines: vec![On::Sqlite, On::Postgres], kills: 100, seed: 1 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--engine" => args.engines = vec![if value == "sqlite" { On::Sqlite } else { On::Postgres }],
            "--kills" => args.kills = value.parse().unwrap(),
            "--seed" => args.seed = value.parse().unwrap(),
            // What test runners pass to every test.
            _ => {}
        }
    }
    args
}

#[tokio::main]
async fn main() {
    let args = args();
    for on in &args.engines {
        let failures = run(*on, &args).await;
        for failure in &failures {
            println!("  FAILED {failure}");
        }
        assert!(failures.is_empty(), "{on:?}, seed {}: {} promises were broken", args.seed, failures.len());
    }
}

async fn run(on: On, args: &Args) -> Vec<String> {
    let started = Instant::now();
    let mailbox = Mailbox::default();
    let mut site = Site::new(on).await;
    site.set("SMTP_URL", &mailbox.start().await);
    for workspace in model::workspaces() {
        site.ok(&["workspaces", "put", &workspace, "--owner-email", "owner@example.com", "--trial-days", "0"]);
    }
    let site = Arc::new(site);
    let kills = Kills::new(args.kills, args.seed);
    let sender = Sender::new(&site, args.seed);
    // Undisturbed once the last one has died: what is not acknowledged by then has to be.
    let (model, (undisturbed, calm)) = tokio::join!(sender.until(&kills), async {
        kills.reign(&site).await;
        (kills.undisturbed(&site), Instant::now())
    });
    sender.finish(&model).await;
    let mut waiting = still_waiting(&site).await;
    while waiting != "0" && calm.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(200)).await;
        waiting = still_waiting(&site).await;
    }
    let settled = calm.elapsed();
    drop(undisturbed);
    let mut failures = check(&site, &model, &mailbox, kills.while_mailing()).await;
    if waiting != "0" {
        failures.push(format!("{waiting} events and mails are stuck after {} s", PATIENCE.as_secs()));
    }
    println!(
        "{on:?}: seed {}, {} kills, {} events of {} deliveries, {} mails ({} twice), all settled {:.1} s after the last kill, {:.0} s in all: {}",
        args.seed,
        kills.done(),
        model.events.len(),
        sender.deliveries(),
        mailbox.messages().len(),
        mailbox.messages().values().filter(|times| **times > 1).count(),
        settled.as_secs_f64(),
        started.elapsed().as_secs_f64(),
        if failures.is_empty() { "nothing lost, nothing doubled" } else { "BROKEN" },
    );
    failures
}

/// Events that are not finished and mails that are not sent.
async fn still_waiting(site: &Site) -> String {
    site.query(
        "select cast((select count(*) from stripe_events where status = 'received')
                   + (select count(*) from emails where status = 'queued') as text)",
    )
    .await
    .remove(0)
}

/// Compares what the sender knows with what there is.
async fn check(site: &Site, model: &Model, mailbox: &Mailbox, kills_while_mailing: usize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut expect = |what: String, holds: bool| {
        if !holds {
            failures.push(what);
        }
    };
    let processed = site.query("select id from stripe_events where status = 'processed' order by id").await;
    let mut acknowledged: Vec<String> = model.events.iter().map(model::id).collect();
    acknowledged.sort();
    expect(
        format!("{} events were acknowledged, {} are processed", acknowledged.len(), processed.len()),
        processed == acknowledged,
    );
    for (workspace, wanted) in model.expected() {
        let row = site
            .query(&format!(
                "select credits || ' ' || (select coalesce(sum(delta), 0) from credit_ledger where workspace_id = w.id) || ' '
                     || subscription_status from workspaces w where id = '{workspace}'"
            ))
            .await
            .remove(0);
        let wanted = format!("{0} {0} {1}", wanted.credits, wanted.status);
        expect(format!("{workspace} is {row:?} (credits, their ledger, status) and not {wanted:?}"), row == wanted);
    }
    for (sale, wanted) in model.sales() {
        let rows = site
            .query(&format!(
                "select reason || ' ' || source_id || ' ' || delta from credit_ledger
                 where source_id = 'cs_{sale}' or sale = 'cs_{sale}' order by created_at, id"
            ))
            .await;
        let sum: i64 = rows.iter().filter_map(|row| row.rsplit(' ').next()?.parse::<i64>().ok()).sum();
        expect(format!("cs_{sale} left {sum} credits and not {wanted}: {rows:?}"), sum == wanted);
    }
    let mut queued = site.query("select dedupe_key from emails where status = 'sent' order by dedupe_key").await;
    let mut wanted = model.mails();
    queued.sort();
    wanted.sort();
    expect(format!("{} mails are sent, {} have a cause", queued.len(), wanted.len()), queued == wanted);
    let delivered = mailbox.messages();
    expect(format!("{} mails have arrived of {}", delivered.len(), wanted.len()), delivered.len() == wanted.len());
    let twice: usize = delivered.values().map(|times| times - 1).sum();
    // A worker sends eight at a time.
    expect(
        format!("{twice} mails came again, and only {kills_while_mailing} kills of workers could explain it"),
        twice <= 8 * kills_while_mailing,
    );
    failures
}
