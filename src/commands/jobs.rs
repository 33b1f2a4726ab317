//! `jobs list | retry | discard`: the queue.

use billing::Clock;
use jobs::{JobFilter, JobState, Queue};

use crate::cli::Usage;
use crate::output::{self, or_dash, time};
use crate::process;
use crate::settings::{Needs, Settings, Stage};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The newest jobs first
    List {
        #[arg(long, value_parser = ["pending", "running", "retrying", "done", "dead"])]
        state: Option<String>,
        #[arg(long, value_parser = ["events", "mail", "maintenance"])]
        queue: Option<String>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[arg(long)]
        json: bool,
    },
    /// Gives dead jobs all their attempts again
    Retry {
        /// The jobs' ids
        ids: Vec<String>,
        /// All dead jobs
        #[arg(long, conflicts_with = "ids")]
        all_dead: bool,
        #[arg(long)]
        json: bool,
    },
    /// Takes jobs that are not running out of the queue, and marks what they carry as dead
    Discard {
        #[arg(required = true)]
        ids: Vec<String>,
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    let db = process::open_migrated(&settings).await?;
    match command {
        Command::List { state, queue, limit, json } => {
            let filter = JobFilter {
                state: state.as_deref().and_then(JobState::parse),
                queue: queue.as_deref().and_then(Queue::parse),
                limit,
            };
            let rows = jobs::list_jobs(&db, &filter).await?;
            if json {
                return output::json(&rows);
            }
            let mut table = output::table(&["id", "queue", "job", "state", "attempts", "runs at (UTC)", "last error"]);
            for row in rows {
                table.add_row(vec![
                    row.id.into(),
                    row.queue.into(),
                    or_dash(row.job.as_deref()).into(),
                    output::status(&row.state),
                    format!("{} of {}", row.attempts, row.max_attempts).into(),
                    time(Some(row.run_at)).into(),
                    or_dash(row.last_error.as_deref()).into(),
                ]);
            }
            output::print(&table, "no jobs")
        }
        Command::Retry { ids, all_dead, json } => {
            if ids.is_empty() && !all_dead {
                return Err(Usage("name the jobs, or --all-dead".to_owned()).into());
            }
            let retried = jobs::retry_jobs(&db, (!all_dead).then_some(ids.as_slice())).await?;
            report("retried", &retried, if all_dead { retried.len() } else { ids.len() }, "dead", json)
        }
        Command::Discard { ids, json } => {
            let context = process::context(&settings, db, Clock::system())?;
            let discarded = jobs::discard_jobs(&context, &ids).await?;
            report("discarded", &discarded, ids.len(), "waiting or dead", json)
        }
    }
}

fn report(done: &str, ids: &[String], asked: usize, condition: &str, json: bool) -> anyhow::Result<()> {
    if json {
        output::json(&serde_json::json!({ done: ids }))?;
    } else {
        output::line(format_args!("{} jobs {done}", ids.len()))?;
    }
    anyhow::ensure!(ids.len() == asked, "{} of the jobs do not exist or are not {condition}", asked - ids.len());
    Ok(())
}
