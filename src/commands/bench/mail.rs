//! Mails a second to a mail server on the same machine: from the start of a worker for the queue `mail` alone until the
//! last mail is written down as sent.

use std::time::Instant;

use anyhow::Context as _;
use billing::Clock;
use billing::stripe::Secrets;
use serde::Serialize;

use super::load::Load;
use super::scratch::Scratch;
use super::sink::Sink;
use super::{Args, PATIENCE};

/// Of the worker, each with a connection of its own.
const AT_ONCE: &str = "8";
/// One event, one mail.
const KIND: &[&str] = &["checkout.session.completed"];

#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    mode: &'static str,
    engine: &'static str,
    cores: usize,
    workspaces: u32,
    mails: u64,
    connections: u64,
    mails_per_second: f64,
    worker_peak_memory_mib: f64,
}

pub(super) async fn measure(args: &Args, scratch: &Scratch, secret: &str) -> anyhow::Result<Report> {
    let secrets = Secrets::parse(secret).context("the secret is empty")?;
    let sink = Sink::open().await?;
    let smtp_url = format!("smtp://{}", sink.address);
    let mut web = scratch.start("web", &[])?;
    let address = scratch.ready(&mut web, PATIENCE).await?;
    eprintln!("{} events, each of which is mailed …", args.events);
    let load = Load::of(KIND, args.events as usize, args.workspaces, Clock::system());
    load.post(address, &secrets, args.concurrency.into()).await?;
    let mut events = scratch.start("worker", &["--queues", "events"])?;
    scratch.drained(&mut events, PATIENCE).await?;
    drop((events, web));

    eprintln!("sending the mails over {AT_ONCE} connections …");
    let started = Instant::now();
    let options = ["--queues", "mail", "--concurrency", AT_ONCE];
    let mut worker = scratch.start_with("worker", &options, &[("SMTP_URL", &smtp_url)])?;
    scratch.mailed(&mut worker, PATIENCE).await?;
    let took = started.elapsed();
    let mails = sink.mails();
    anyhow::ensure!(mails == u64::from(args.events), "{mails} mails came of {} events", args.events);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        mode: "mail",
        engine: scratch.engine(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workspaces: args.workspaces,
        mails,
        connections: sink.connections(),
        mails_per_second: mails as f64 / took.as_secs_f64(),
        worker_peak_memory_mib: worker.peak_memory_mib()?,
    })
}
