//! `billingd`: turns Stripe's webhooks into the billing state of a SaaS product's workspaces.

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

use std::process::ExitCode;

use clap::Parser;
use settings::SettingsError;

/// Events are many small pieces of JSON; the system's allocator takes a tenth of the time that they cost. Without huge
/// pages, which would double the memory of processes as small as these. SQLite takes its memory there, too (`override`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("billingd: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("billingd: {error:#}");
            let usage = error.is::<SettingsError>() || error.is::<cli::Usage>();
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
