//! `emails list | show | retry | suppressed`: what is written to people, and what became of it.

use anyhow::Context as _;
use billing::rules::Mail;
use billing::store::{self, EmailFilter, EmailRow};

use crate::cli::Usage;
use crate::output::{self, or_dash, time};
use crate::process;
use crate::settings::{Needs, Settings, Stage};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The newest mails first
    List {
        /// queued, sent, skipped or dead
        #[arg(long, value_parser = ["queued", "sent", "skipped", "dead"])]
        status: Option<String>,
        /// Such as `payment_failed`
        #[arg(long, value_parser = Mail::ALL.map(Mail::as_str))]
        template: Option<String>,
        #[arg(long)]
        workspace: Option<String>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[arg(long)]
        json: bool,
    },
    /// One mail with what it is about
    Show {
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// Gives dead mails all their attempts again; what is not true any more is skipped
    Retry {
        /// The mails' ids
        ids: Vec<String>,
        /// All dead mails
        #[arg(long, conflicts_with = "ids")]
        all_dead: bool,
        #[arg(long)]
        json: bool,
    },
    /// The addresses that get no mail, because their server has refused them for good
    Suppressed {
        /// Lets mail go to this address again
        #[arg(long, value_name = "ADDRESS")]
        lift: Vec<String>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    let db = process::open_migrated(&settings).await?;
    match command {
        Command::List { status, template, workspace, limit, json } => {
            let filter = EmailFilter { status, template, workspace_id: workspace, limit };
            let rows = store::list_emails(&db, &filter).await?;
            if json { output::json(&rows) } else { list(&rows) }
        }
        Command::Show { id, json } => {
            let row = store::find_email(&db, &id).await?.with_context(|| format!("there is no mail {id:?}"))?;
            if json { output::json(&row) } else { show(&row) }
        }
        Command::Retry { ids, all_dead, json } => {
            if ids.is_empty() && !all_dead {
                return Err(Usage("name the mails, or --all-dead".to_owned()).into());
            }
            let retried = jobs::retry_emails(&db, (!all_dead).then_some(ids.as_slice())).await?;
            if json {
                output::json(&serde_json::json!({"retried": retried}))?;
            } else {
                output::line(format_args!("{} mails retried", retried.len()))?;
            }
            anyhow::ensure!(
                all_dead || retried.len() == ids.len(),
                "{} of the mails do not exist or are not dead",
                ids.len() - retried.len()
            );
            Ok(())
        }
        Command::Suppressed { lift, limit, json } => {
            let mut tx = db.begin().await?;
            for address in &lift {
                let lifted = store::lift_suppression(&mut tx, address).await?;
                anyhow::ensure!(lifted, "{address:?} is not suppressed; nothing was lifted");
            }
            tx.commit().await?;
            let rows = store::list_suppressions(&db, limit).await?;
            if json {
                return output::json(&rows);
            }
            let mut table = output::table(&["address", "since (UTC)", "mail", "the server said"]);
            for row in rows {
                table.add_row(vec![
                    row.address,
                    time(Some(row.created_at)),
                    or_dash(row.email_id.as_deref()),
                    row.reason,
                ]);
            }
            output::print(&table, "no address is suppressed")
        }
    }
}

fn some(text: &str) -> String {
    or_dash(Some(text).filter(|text| !text.is_empty()))
}

fn list(rows: &[EmailRow]) -> anyhow::Result<()> {
    let headings = [
        "mail",
        "workspace",
        "template",
        "to",
        "locale",
        "status",
        "attempts",
        "created (UTC)",
        "sent (UTC)",
        "reason",
    ];
    let mut table = output::table(&headings);
    for row in rows {
        table.add_row(vec![
            (&row.id).into(),
            (&row.workspace_id).into(),
            (&row.template).into(),
            some(&row.recipient).into(),
            some(&row.locale).into(),
            output::status(&row.status),
            row.attempts.into(),
            time(Some(row.created_at)).into(),
            time(row.sent_at).into(),
            or_dash(row.last_error.as_deref()).into(),
        ]);
    }
    output::print(&table, "no mails")
}

fn show(row: &EmailRow) -> anyhow::Result<()> {
    let mut table = output::table(&["field", "value"]);
    table.add_row(vec!["mail".into(), comfy_table::Cell::new(&row.id)]);
    table.add_row(vec!["status".into(), output::status(&row.status)]);
    for (field, value) in [
        ("workspace", row.workspace_id.clone()),
        ("template", row.template.clone()),
        ("to", some(&row.recipient)),
        ("locale", some(&row.locale)),
        ("dedupe key", row.dedupe_key.clone()),
        ("attempts", row.attempts.to_string()),
        ("created", time(Some(row.created_at))),
        ("sent", time(row.sent_at)),
        ("reason", or_dash(row.last_error.as_deref())),
    ] {
        table.add_row(vec![field, value.as_str()]);
    }
    output::print(&table, "")?;
    output::json(&row.data.0)
}
