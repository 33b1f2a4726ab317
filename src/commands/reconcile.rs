//! `reconcile`: what Stripe has and we have not, and the way back into sync.

use billing::Clock;
use billing::store::{self, Reconciliation};
use chrono::TimeDelta;
use comfy_table::Cell;
use jobs::{How, Report, Window};
use serde_json::Value;

use crate::cli::Usage;
use crate::output::{self, or_dash, time};
use crate::process;
use crate::progress::Progress;
use crate::settings::{Needs, Settings, Stage};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How far back events are looked for, such as 90m, 72h or 14d; Stripe lists them for 30 days
    #[arg(long, default_value = "72h")]
    since: humantime::Duration,
    /// Only looks and tells: nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// What the last passes found, those by schedule and those by hand; asks nobody
    #[arg(long, conflicts_with_all = ["since", "dry_run"])]
    history: bool,
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.history {
        return history(args.json).await;
    }
    let span = TimeDelta::from_std(args.since.into()).ok().filter(|span| *span <= jobs::LISTED);
    let Some(span) = span.filter(|span| *span > TimeDelta::zero()) else {
        return Err(
            Usage("--since has to be above nothing and at most 30d: Stripe lists events no longer".to_owned()).into()
        );
    };
    let settings = Settings::load(Stage::Production, Needs { stripe_api_key: true, ..Needs::default() })?;
    let db = process::open_migrated(&settings).await?;
    let context = process::context(&settings, db.clone(), Clock::system())?;
    let window = Window::last(span, context.clock.now());
    let how = if args.dry_run { How::DryRun } else { How::ByHand };
    let progress = Progress::of("asking Stripe");
    let report = jobs::reconcile(&context, window, how, &|report| {
        let Report { events_listed, subscriptions_listed, .. } = report;
        progress.says(format!("asking Stripe: {events_listed} events, {subscriptions_listed} subscriptions"));
    })
    .await;
    drop(progress);
    let report = report?;
    db.close().await;
    if args.json {
        output::json(&report)?;
    } else {
        show(&report)?;
    }
    anyhow::ensure!(report.refused.is_empty(), "not everything could be looked at: {}", report.refused.join("; "));
    Ok(())
}

fn show(report: &Report) -> anyhow::Result<()> {
    output::line(format_args!(
        "{} of {} events since {} never came",
        report.events_missing,
        report.events_listed,
        time(Some(report.since))
    ))?;
    let mut table = output::table(&["event", "type", "created (UTC)", "account", "object"]);
    for event in &report.missing {
        table.add_row(vec![
            event.id.clone(),
            event.kind.clone(),
            time(event.created),
            or_dash(event.account.as_deref()),
            or_dash(event.object_id.as_deref()),
        ]);
    }
    output::print(&table, "every event is here")?;
    output::line(format_args!(
        "\n{} of {} subscriptions differ",
        report.subscriptions_differing, report.subscriptions_listed
    ))?;
    let mut table = output::table(&["subscription", "customer", "workspace", "field", "here", "at Stripe"]);
    for subscription in &report.differing {
        let row = |field: &str, here: &str, stripe: &str| {
            [
                &subscription.id,
                &or_dash(subscription.customer.as_deref()),
                &or_dash(subscription.workspace_id.as_deref()),
            ]
            .into_iter()
            .map(Cell::new)
            .chain([field, here, stripe].map(Cell::new))
            .collect::<Vec<_>>()
        };
        if subscription.unknown_to_stripe {
            table.add_row(row("-", "open", "unknown"));
        }
        for difference in &subscription.differences {
            table.add_row(row(&difference.field, &text(&difference.here), &text(&difference.stripe)));
        }
    }
    output::print(&table, "every subscription is as it is at Stripe")?;
    let told = (report.missing.len() + report.differing.len()) as u64;
    let found = report.events_missing + report.subscriptions_differing;
    if found > told {
        output::line(format_args!("and {} more", found - told))?;
    }
    if report.dry_run {
        output::line("\nNothing was changed: this was a dry run.")?;
    } else if report.drifted() {
        output::line(
            "\nThe events are in the inbox, for a worker to process; what Stripe says of the subscriptions counts from now on.",
        )?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn history(json: bool) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    let db = process::open_migrated(&settings).await?;
    let passes: Vec<Reconciliation> = store::list_reconciliations(&db, 50).await?;
    if json {
        return output::json(&passes);
    }
    let mut table = output::table(&[
        "finished (UTC)",
        "took",
        "events since (UTC)",
        "until (UTC)",
        "never came",
        "subscriptions",
        "differ",
        "left out",
    ]);
    for pass in passes {
        let left_out: Vec<&str> =
            pass.found["refused"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let took = (pass.finished_at - pass.started_at).num_milliseconds() as f64 / 1000.0;
        table.add_row(vec![
            time(Some(pass.finished_at)),
            format!("{took:.1} s"),
            time(Some(pass.since)),
            time(Some(pass.until)),
            format!("{} of {}", pass.events_missing, pass.events_listed),
            pass.subscriptions_listed.to_string(),
            pass.subscriptions_differing.to_string(),
            if left_out.is_empty() { "-".to_owned() } else { left_out.join("; ") },
        ]);
    }
    output::print(&table, "nothing was ever reconciled: set STRIPE_API_KEY, and a worker does it each hour")
}
