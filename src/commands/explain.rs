//! `explain`: why a workspace is what it is.

use anyhow::Context as _;
use billing::Db;
use billing::rules::explain::{Explained, FIELDS, Heard, Verdict, explain};
use billing::rules::{Object, Reading};
use billing::store::{self, LedgerRow};
use billing::stripe::{Answers, Body, read};
use comfy_table::{Cell, Color};
use serde::Serialize;

use crate::cli::Usage;
use crate::output::{self, or_dash, time};
use crate::process;
use crate::settings::{Needs, Settings, Stage};

/// Events that are read again; a workspace of ten years has fewer.
const EVENTS: i64 = 10_000;
/// Entries of the ledger.
const ENTRIES: i64 = 10_000;
/// The field that is not one of a subscription's or a customer's.
const CREDITS: &str = "credits";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The workspace's id
    workspace: String,
    /// One field; a wrong one names all there are [default: all]
    #[arg(long)]
    field: Option<String>,
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    workspace_id: String,
    fields: Vec<Explained>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<Vec<LedgerRow>>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).chain([CREDITS]).collect();
    if let Some(field) = args.field.as_deref().filter(|field| !names.contains(field)) {
        return Err(Usage(format!("there is no field {field:?}; there are {}", names.join(", "))).into());
    }
    let settings = Settings::load(Stage::Production, Needs::default())?;
    let db = process::open_migrated(&settings).await?;
    let report = report(&db, &settings, &args).await?;
    if args.json {
        return output::json(&report);
    }
    for explained in &report.fields {
        show(explained)?;
    }
    if let Some(credits) = &report.credits {
        let sum: i64 = credits.iter().map(|entry| entry.delta).sum();
        output::line(format_args!("\n{CREDITS} is {sum}"))?;
        let mut table = output::table(&["credits", "balance", "reason", "source", "of sale", "event", "entered (UTC)"]);
        for entry in credits {
            table.add_row(vec![
                format!("{:+}", entry.delta),
                entry.balance_after.to_string(),
                entry.reason.clone(),
                entry.source_id.clone(),
                or_dash(entry.sale.as_deref()),
                or_dash(entry.event_id.as_deref()),
                time(Some(entry.created_at)),
            ]);
        }
        output::print(&table, "nothing was ever granted")?;
    }
    Ok(())
}

async fn report(db: &Db, settings: &Settings, args: &Args) -> anyhow::Result<Report> {
    let id = &args.workspace;
    let row = store::find_workspace(db, id).await?.with_context(|| format!("there is no workspace {id:?}"))?;
    let mut fields = Vec::new();
    if args.field.as_deref() != Some(CREDITS) {
        let mut tx = db.begin().await?;
        let owners = store::customers_of(&mut tx, &[id]).await?;
        let owner_ids: Vec<&str> = owners.iter().map(String::as_str).collect();
        let known = store::objects_of(&mut tx, &[], &owner_ids).await?;
        drop(tx);
        let objects: Vec<&Object> = known
            .iter()
            .filter(|row| row.workspace_id.as_deref().is_none_or(|linked| linked == id))
            .map(|row| &row.object)
            .collect();
        let heard = heard(db, settings, id, &owners).await?;
        fields = explain(&row.state(), &objects, &heard, args.field.as_deref());
    }
    let credits = match args.field.as_deref() {
        None | Some(CREDITS) => Some(store::ledger_of(db, id, ENTRIES).await?),
        Some(_) => None,
    };
    Ok(Report { workspace_id: id.clone(), fields, credits })
}

/// The events about the workspace, read again as they were when they came.
async fn heard(db: &Db, settings: &Settings, id: &str, owners: &[String]) -> anyhow::Result<Vec<Heard>> {
    let events = store::events_of(db, id, owners, EVENTS).await?;
    if events.len() as i64 == EVENTS {
        output::aside(format_args!("only the newest {EVENTS} events are looked at"));
    }
    let answers = Answers::default();
    Ok(events
        .into_iter()
        .filter_map(|event| {
            let body = Body::parse(&event.payload).ok()?;
            match read(&body, &settings.policy.catalogue, &answers) {
                Ok(Reading::Facts { objects, .. }) => {
                    Some(Heard { event_id: event.id, kind: event.kind, received_at: event.received_at, objects })
                }
                // What cannot be read has set nothing.
                Ok(_) | Err(_) => None,
            }
        })
        .collect())
}

fn show(explained: &Explained) -> anyhow::Result<()> {
    let value = explained.value.as_str().map_or_else(|| explained.value.to_string(), ToOwned::to_owned);
    output::line(format_args!("\n{} is {value}", explained.field))?;
    let mut table = output::table(&["", "says", "event", "type", "created (UTC)", "received (UTC)", "why"]);
    for telling in &explained.because {
        let (word, colour) = match telling.verdict {
            Verdict::Set => ("set", Color::Green),
            Verdict::Overridden => ("overridden", Color::Reset),
            Verdict::Refused => ("refused", Color::Yellow),
        };
        table.add_row(vec![
            Cell::new(word).fg(colour),
            Cell::new(format!("{} = {}", telling.of, telling.value)),
            Cell::new(&telling.event_id),
            Cell::new(or_dash(telling.kind.as_deref())),
            Cell::new(time(telling.created)),
            Cell::new(time(telling.received_at)),
            Cell::new(&telling.why),
        ]);
    }
    output::print(&table, "nothing was told of it")
}
