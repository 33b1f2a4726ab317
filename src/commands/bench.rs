//! `bench`: measures itself on the configured database, in a schema (or a file) of its own that is gone afterwards.
//!
//! The receiver and the worker run as processes of their own, as in production, so that their memory can be read; the
//! load comes from this process, on the same machine.

mod connection;
mod load;
mod mail;
mod scratch;
mod sink;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use billing::Clock;
use billing::stripe::Secrets;
use serde::Serialize;

use crate::cli::Usage;
use crate::output;
use crate::settings::{Needs, Settings, Stage};
use load::{Latencies, Load};
use scratch::Scratch;

/// Nothing here takes longer; a bench that does has found something worth looking at.
const PATIENCE: Duration = Duration::from_secs(300);
/// Single events, one after the other, for the way from POST to processed.
const SINGLES: usize = 200;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// all: accepting and processing events; mail: sending mails, one for each event
    #[arg(long, value_enum, default_value_t = Mode::All)]
    mode: Mode,
    /// Events to accept and then to process
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    events: u32,
    /// Connections at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Workspaces that the events are spread over
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    workspaces: u32,
    /// Length of each of the two runs of the yardstick, in seconds; 0 leaves it out
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=60))]
    yardstick_seconds: u16,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Mode {
    All,
    Mail,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Measured {
    All(Report),
    Mail(mail::Report),
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    engine: &'static str,
    cores: usize,
    events: u32,
    concurrency: u16,
    workspaces: u32,
    /// One transaction that inserts the same event row and one row into the queue's table, per second; `null` where it
    /// could not be measured.
    yardstick_per_second: Option<f64>,
    accepted_per_second: f64,
    accepted_to_yardstick: Option<f64>,
    accept_ms: Latencies,
    processed_per_second: f64,
    end_to_end_idle_ms: Latencies,
    web_peak_memory_mib: f64,
    worker_peak_memory_mib: f64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    if args.events < u32::from(args.concurrency) {
        return Err(Usage("--events has to be at least --concurrency".to_owned()).into());
    }
    let secret = format!("whsec_{}", billing::clock::new_id());
    let scratch = Scratch::make(&settings, &secret, args.workspaces).await?;
    let measured = tokio::select! {
        measured = measured(&args, &scratch, &secret) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped by hand")),
    };
    scratch.remove().await?;
    output::json(&measured?)
}

async fn measured(args: &Args, scratch: &Scratch, secret: &str) -> anyhow::Result<Measured> {
    Ok(match args.mode {
        Mode::All => Measured::All(measure(args, scratch, secret).await?),
        Mode::Mail => Measured::Mail(mail::measure(args, scratch, secret).await?),
    })
}

async fn measure(args: &Args, scratch: &Scratch, secret: &str) -> anyhow::Result<Report> {
    let secrets = Secrets::parse(secret).context("the secret is empty")?;
    let mut web = scratch.start("web", &[])?;
    let address = scratch.ready(&mut web, PATIENCE).await?;
    let yardstick = Duration::from_secs(args.yardstick_seconds.into());

    eprintln!("yardstick: the same two rows in one transaction …");
    let before = scratch.yardstick(yardstick).await?;
    eprintln!("accepting {} events over {} connections …", args.events, args.concurrency);
    let load = Load::mixed(args.events as usize, args.workspaces, Clock::system());
    let (accept, took) = load.post(address, &secrets, args.concurrency.into()).await?;
    let after = scratch.yardstick(yardstick).await?;
    let yardstick = before.zip(after).map(|(before, after)| f64::midpoint(before, after));
    let accepted_per_second = f64::from(args.events) / took.as_secs_f64();
    let web_peak_memory_mib = web.peak_memory_mib()?;

    // Processed means: the state is written and the effects are queued. Sending mail is another measurement.
    eprintln!("processing them …");
    let started = Instant::now();
    let mut worker = scratch.start("worker", &["--queues", "events"])?;
    scratch.drained(&mut worker, PATIENCE).await?;
    let processed_per_second = f64::from(args.events) / started.elapsed().as_secs_f64();
    let worker_peak_memory_mib = worker.peak_memory_mib()?;

    eprintln!("{SINGLES} single events from POST to processed …");
    let mut singles = Vec::with_capacity(SINGLES);
    for single in Load::mixed(SINGLES, args.workspaces, Clock::system()).into_singles() {
        let started = Instant::now();
        single.post(address, &secrets, 1).await?;
        scratch.finished(&single, PATIENCE).await?;
        singles.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        engine: scratch.engine(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        events: args.events,
        concurrency: args.concurrency,
        workspaces: args.workspaces,
        yardstick_per_second: yardstick,
        accepted_per_second,
        accepted_to_yardstick: yardstick.map(|yardstick| accepted_per_second / yardstick),
        accept_ms: Latencies::of(accept),
        processed_per_second,
        end_to_end_idle_ms: Latencies::of(singles),
        web_peak_memory_mib,
        worker_peak_memory_mib,
    })
}
