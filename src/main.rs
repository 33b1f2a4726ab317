//! `billingd`: turns Stripe's webhooks into the billing state of a SaaS product's workspaces.

#![warn(clippy::print_stdout, clippy::print_stderr)] // `output` does not panic when nobody reads

mod api;
mod cli;
mod commands;
mod maker;
mod outbox;
mod output;
mod process;
mod progress;
mod sender;
mod settings;
mod telemetry;
mod web;

use std::num::NonZero;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use settings::SettingsError;

/// Events are many small pieces of JSON; the system's allocator takes a tenth of the time that they cost. Without huge
/// pages, which would double the memory of processes as small as these. SQLite takes its memory there, too (`override`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let outcome = runtime(&cli).and_then(|runtime| {
        let outcome = runtime.block_on(cli.run());
        // A file or a name that is still being asked for does not answer any more.
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Unread>() => ExitCode::FAILURE,
        Err(error) => {
            output::aside(format_args!("billingd: {error:#}"));
            let usage = error.is::<SettingsError>() || error.is::<cli::Usage>();
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// The threads that run our code, `TOKIO_WORKER_THREADS` where it is set (the runtime itself panics over what is no number).
///
/// Else as many as there are cores, but half of them for the receiver and the worker: for every event the database computes as
/// long as they do, and where it is on the same machine more threads than that only take turns with it.
#[expect(clippy::disallowed_methods, reason = "it is the runtime's, and settings are read within that")]
fn runtime(cli: &cli::Cli) -> anyhow::Result<tokio::runtime::Runtime> {
    let set = std::env::var("TOKIO_WORKER_THREADS").ok().filter(|threads| !threads.trim().is_empty());
    let threads = if let Some(threads) = set {
        let wrong = |_| cli::Usage(format!("TOKIO_WORKER_THREADS is a number of threads, and not {threads:?}"));
        threads.parse::<NonZero<usize>>().map_err(wrong)?.get()
    } else {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        if cli.shares_with_database() { cores.div_ceil(2) } else { cores }
    };
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}
