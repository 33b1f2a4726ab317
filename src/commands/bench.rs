//! `bench`: measures itself on the configured database, in a schema (or a file) of its own that is gone afterwards.
//!
//! The receiver, the API and the workers run as processes of their own, as in production, so that their memory can be read;
//! the load comes from this process, on the same machine.

mod about;
mod connection;
mod disks;
mod driver;
mod latencies;
mod load;
mod modes;
mod processes;
mod report;
mod scratch;
mod seed;
mod watch;
mod yardstick;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use billing::stripe::Secrets;

use crate::cli::Usage;
use crate::output;
use crate::process::Shutdown;
use crate::settings::{Needs, Settings, Stage};
use about::About;
use modes::{Bench, Mode};
use report::Report;
use scratch::Scratch;
use yardstick::Yardsticks;

/// Workspaces at most in a mode that makes events for each of them.
const MOST_WORKSPACES: u32 = 100_000;
/// Events that are made and held in memory at once.
const MOST_EVENTS: u32 = 1_000_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(long, value_enum, default_value_t = Mode::All)]
    mode: Mode,
    /// Events to accept and then to process, mails to send, or reads at each number of connections
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=i64::from(MOST_EVENTS)))]
    events: u32,
    /// Connections at a time [default: 64; ingest and billing-read: 1, then 16, then 64]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,
    /// Workspaces that the events are spread over, at most 100,000, or that the sweep looks at [default: 2,000; sweep:
    /// 1,000,000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    workspaces: Option<u32>,
    /// Events that arrive in a second where they arrive at a fixed rate, in ingest and end-to-end [default: half of what was
    /// measured just before]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// How long they do, in seconds; the rate times the seconds is cut to 1,000,000 events
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Processed events, with what belongs to them, that are in the database before anything is measured
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20_000_000))]
    stored: u32,
    /// Length of each of the two runs of the yardstick, in seconds; 0 leaves out the yardstick and what is measured beside it
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=60))]
    yardstick_seconds: u16,
    /// How the result is printed [default: table on a terminal, else json]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Args {
    fn most_connections(&self) -> u16 {
        self.concurrency.unwrap_or(64)
    }

    /// How many events arrive at this rate.
    fn arrivals(&self, per_second: f64) -> usize {
        (per_second * f64::from(self.seconds)).clamp(1.0, f64::from(MOST_EVENTS)) as usize
    }

    fn format(&self) -> Format {
        let usual = if std::io::stdout().is_terminal() { Format::Table } else { Format::Json };
        if self.json { Format::Json } else { self.format.unwrap_or(usual) }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    if args.events < u32::from(args.most_connections()) {
        return Err(Usage("--events has to be at least --concurrency".to_owned()).into());
    }
    let workspaces = args.workspaces.unwrap_or(args.mode.workspaces());
    if args.mode != Mode::Sweep && workspaces > MOST_WORKSPACES {
        return Err(Usage(format!("--workspaces is at most {MOST_WORKSPACES}, but for the sweep")).into());
    }
    let shutdown = Shutdown::on_signals()?;
    let secret = format!("whsec_{}", billing::clock::new_id());
    let secrets = Secrets::parse(&secret).context("the secret is empty")?;
    let scratch = Scratch::make(&settings, &secret).await?;
    let bench = Bench { args: &args, scratch: &scratch, secrets, workspaces };
    let measured = tokio::select! {
        measured = measure(&bench, &settings) => measured,
        () = shutdown.wait() => Err(anyhow::anyhow!("stopped by hand")),
    };
    scratch.remove().await?;
    let report = measured?;
    match args.format() {
        Format::Json => output::json(&report),
        Format::Table => report.print(),
    }
}

async fn measure(bench: &Bench<'_>, settings: &Settings) -> anyhow::Result<Report> {
    let (args, scratch) = (bench.args, bench.scratch);
    let stored = u64::from(args.stored);
    let mut aside = seed::begin(scratch).await?;
    let workspaces = u64::from(bench.workspaces).max(seed::workspaces_for(stored));
    seed::workspaces(scratch, workspaces, args.mode.directory()).await?;
    seed::events(scratch, stored, &mut aside).await?;
    seed::settle(scratch, aside).await?;

    let length = Duration::from_secs(args.yardstick_seconds.into());
    let before = Yardsticks::measure(scratch, length).await?;
    let mut figures = args.mode.measure(bench).await?;
    let yardsticks = before.mean(Yardsticks::measure(scratch, length).await?);
    figures.relate(yardsticks.yardstick_per_second);
    Ok(Report {
        mode: args.mode.name(),
        about: About::of(scratch, &settings.database_url.0).await?,
        stored,
        yardsticks,
        figures,
    })
}
