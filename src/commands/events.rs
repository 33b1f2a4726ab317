//! `events list | show | replay`: the inbox.

use std::collections::BTreeSet;

use anyhow::Context as _;
use billing::store::{self, EventFilter};
use chrono::{DateTime, Utc};
use jobs::Replay;

use crate::cli::Usage;
use crate::output::{self, or_dash, time};
use crate::process;
use crate::settings::{Needs, Settings, Stage};

/// A replay by time takes at most as many events; a longer span is replayed in parts.
const REPLAY_MOST: i64 = 100_000;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The newest events first
    List {
        /// received, processed, ignored or dead
        #[arg(long, value_parser = ["received", "processed", "ignored", "dead"])]
        status: Option<String>,
        /// Such as invoice.paid
        #[arg(long = "type")]
        kind: Option<String>,
        #[arg(long)]
        workspace: Option<String>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[arg(long)]
        json: bool,
    },
    /// One event with its body
    Show {
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// Runs events again; what they already did they do not do again
    Replay {
        /// The events' ids
        ids: Vec<String>,
        /// Instead of ids: received at or after this time (2026-01-31T12:00:00Z)
        #[arg(long, conflicts_with = "ids", requires = "until")]
        since: Option<DateTime<Utc>>,
        /// Received before this time
        #[arg(long, conflicts_with = "ids", requires = "since")]
        until: Option<DateTime<Utc>>,
        /// Only this type
        #[arg(long = "type", conflicts_with = "ids")]
        kind: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    let db = process::open_migrated(&settings).await?;
    match command {
        Command::List { status, kind, workspace, limit, json } => {
            let filter = EventFilter { status, kind, workspace_id: workspace, limit, ..EventFilter::default() };
            let rows = store::list_events(&db, &filter).await?;
            if json {
                return output::json(&rows);
            }
            let mut table = output::table(&[
                "event",
                "type",
                "status",
                "created (UTC)",
                "received (UTC)",
                "attempts",
                "workspace",
                "reason",
            ]);
            for row in rows {
                table.add_row(vec![
                    row.id.into(),
                    row.kind.into(),
                    output::status(&row.status),
                    time(Some(row.created)).into(),
                    time(Some(row.received_at)).into(),
                    row.attempts.into(),
                    or_dash(row.workspace_id.as_deref()).into(),
                    or_dash(row.last_error.as_deref()).into(),
                ]);
            }
            output::print(&table, "no events")
        }
        Command::Show { id, json } => {
            let row = store::find_event(&db, &id).await?.with_context(|| format!("there is no event {id:?}"))?;
            if json {
                return output::json(&row);
            }
            let mut table = output::table(&["field", "value"]);
            table.add_row(vec!["event".into(), comfy_table::Cell::new(&row.id)]);
            table.add_row(vec!["status".into(), output::status(&row.status)]);
            for (field, value) in [
                ("type", row.kind.clone()),
                ("api version", or_dash(row.api_version.as_deref())),
                ("livemode", row.livemode.to_string()),
                ("account", or_dash(row.account.as_deref())),
                ("object", or_dash(row.object_id.as_deref())),
                ("created", time(Some(row.created))),
                ("received", time(Some(row.received_at))),
                ("processed", time(row.processed_at)),
                ("attempts", row.attempts.to_string()),
                ("workspace", or_dash(row.workspace_id.as_deref())),
                ("job", or_dash(row.job_id.as_deref())),
                ("reason", or_dash(row.last_error.as_deref())),
            ] {
                table.add_row(vec![field, value.as_str()]);
            }
            output::print(&table, "")?;
            output::line(row.payload.unwrap_or_default())?;
            Ok(())
        }
        Command::Replay { ids, since, until, kind, json } => {
            if ids.is_empty() && since.is_none() {
                return Err(Usage("name the events, or --since and --until".to_owned()).into());
            }
            let ids: Vec<String> = BTreeSet::from_iter(ids).into_iter().collect();
            let replay = if ids.is_empty() {
                Replay::Matching(EventFilter { since, until, kind, limit: REPLAY_MOST, ..EventFilter::default() })
            } else {
                Replay::Ids(&ids)
            };
            let replayed = jobs::replay_events(&db, &replay).await?;
            if json {
                output::json(&serde_json::json!({"replayed": replayed}))?;
            } else {
                output::line(format_args!("{replayed} events will run again"))?;
            }
            anyhow::ensure!(
                ids.is_empty() || replayed == ids.len(),
                "{} of the events do not exist",
                ids.len() - replayed
            );
            Ok(())
        }
    }
}
