//! The command line: what there is, and which code runs it.

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, check, demo, dev, emails, events, explain, jobs, mail, migrate, reconcile, run, trigger, workspaces,
};

/// Wrong usage that only shows after parsing; ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

#[derive(Parser)]
#[command(name = "billingd", version, about, after_long_help = settings_help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in one process on SQLite, with no settings at all, to try things by hand
    Dev(dev::Args),
    /// Plays a whole customer story against itself and shows what came of it
    Demo(demo::Args),
    /// The receiver: POST /webhooks/stripe, health and metrics; nothing else
    Web,
    /// The billing API under /v1, health and metrics
    Api,
    /// The receiver and the API on one port, and with --worker the jobs too: the whole product in one process
    Serve(run::ServeArgs),
    /// Runs jobs and schedules
    Worker(run::WorkerArgs),
    /// Brings the database to this version's schema; safe to run twice and from several places at once
    Migrate,
    /// Validates every setting and every connection, and lists all that is wrong
    Check(check::Args),
    /// Signs and posts a sample event the way Stripe does
    Trigger(trigger::Args),
    /// The workspace directory
    #[command(subcommand)]
    Workspaces(workspaces::Command),
    /// Why a workspace is what it is: for each field the event that set it, what it overrode and what was refused
    Explain(explain::Args),
    /// The inbox
    #[command(subcommand)]
    Events(events::Command),
    /// Mails to people
    #[command(subcommand)]
    Emails(emails::Command),
    /// How mails look, and whether they leave
    #[command(subcommand)]
    Mail(mail::Command),
    /// The queue
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Asks Stripe for events that never came and for subscriptions that differ, reports the drift and repairs it
    Reconcile(reconcile::Args),
    /// Measures itself on the configured database; prints a table on a terminal, else JSON
    Bench(bench::Args),
}

impl Cli {
    /// Whether it is one that has the database compute as long as it does itself.
    pub(crate) fn shares_with_database(&self) -> bool {
        matches!(self.command, Command::Web | Command::Worker(_))
    }

    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Dev(args) => dev::run(args).await,
            Command::Demo(args) => Box::pin(demo::run(args)).await,
            Command::Web => run::web().await,
            Command::Api => run::api().await,
            Command::Serve(args) => run::serve(args).await,
            Command::Worker(args) => run::worker(args).await,
            Command::Migrate => migrate::run().await,
            Command::Check(args) => Box::pin(check::run(args)).await,
            Command::Trigger(args) => trigger::run(args).await,
            Command::Workspaces(command) => workspaces::run(command).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Events(command) => events::run(command).await,
            Command::Emails(command) => emails::run(command).await,
            Command::Mail(command) => mail::run(command).await,
            Command::Jobs(command) => jobs::run(command).await,
            Command::Reconcile(args) => reconcile::run(args).await,
            Command::Bench(args) => bench::run(args).await,
        }
    }
}

fn settings_help() -> String {
    let mut help = "Settings (environment, or billingd.toml in lower case under sections):\n".to_owned();
    for (name, what) in crate::settings::SETTINGS {
        help.extend(["  ", name, "\n          ", what, "\n"]);
    }
    help
}
