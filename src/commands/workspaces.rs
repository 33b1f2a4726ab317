//! `workspaces put | show | list`: the directory, and what a workspace may use now.

mod mail;

use anyhow::Context as _;
use billing::apply::link_by_hand;
use billing::mail::check_address;
use billing::rules::entitlement::{Billing, billing_of};
use billing::store::{self, Member, WorkspaceRow};
use billing::{Clock, Db};
use chrono::TimeDelta;

use crate::cli::Usage;
use crate::output::{self, or_dash, time};
use crate::process;
use crate::settings::{Needs, Settings, Stage};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a workspace or changes what is named; safe to repeat
    Put(PutArgs),
    /// Plan, status, credits and limits of one workspace
    Show {
        id: String,
        /// One JSON document, the same as the billing API gives
        #[arg(long)]
        json: bool,
    },
    /// Who is written to about a workspace, and which mails it does not want
    Mail(mail::Args),
    /// The workspaces by id
    List {
        /// At most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// Only those after this id
        #[arg(long, default_value = "")]
        after: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
pub(crate) struct PutArgs {
    pub(crate) id: String,
    /// [default: the id, or what it was]
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[arg(long)]
    pub(crate) owner_email: Option<String>,
    #[arg(long)]
    pub(crate) owner_name: Option<String>,
    /// Language of the owner's mails, such as en or pt-BR
    #[arg(long)]
    pub(crate) locale: Option<String>,
    /// Links the Stripe customer; the first link of a customer stands
    #[arg(long)]
    pub(crate) stripe_customer: Option<String>,
    /// Length of a new workspace's trial; 0 is none [default: the setting `TRIAL_DAYS`]
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=3650))]
    pub(crate) trial_days: Option<i64>,
    #[arg(long)]
    pub(crate) json: bool,
}

impl PutArgs {
    /// Only the id, and nothing else named.
    pub(crate) fn of(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: None,
            owner_email: None,
            owner_name: None,
            locale: None,
            stripe_customer: None,
            trial_days: None,
            json: false,
        }
    }
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    let db = process::open_migrated(&settings).await?;
    let clock = Clock::system();
    match command {
        Command::Put(args) => {
            let as_json = args.json;
            let id = args.id.clone();
            put(&db, &settings, &clock, args).await?;
            show(&db, &settings, &clock, &id, as_json).await
        }
        Command::Show { id, json } => show(&db, &settings, &clock, &id, json).await,
        Command::Mail(args) => mail::run(&db, &clock, args).await,
        Command::List { limit, after, json } => {
            let rows = store::list_workspaces(&db, &after, limit).await?;
            let views: Vec<Billing> = rows.iter().map(|row| view(row, &settings, &clock)).collect();
            if json {
                return output::json(&views);
            }
            let mut table = output::table(&[
                "workspace",
                "name",
                "status",
                "plan",
                "effective",
                "period ends (UTC)",
                "credits",
                "owner",
            ]);
            for view in views {
                table.add_row(vec![
                    view.id.into(),
                    view.name.into(),
                    output::status(&view.subscription_status),
                    or_dash(view.subscription_plan.as_deref()).into(),
                    view.effective_plan.into(),
                    time(view.current_period_end).into(),
                    view.credits.into(),
                    or_dash(view.owner.as_ref().map(|owner| owner.email.as_str())).into(),
                ]);
            }
            output::print(&table, "no workspaces; `billingd workspaces put ID --owner-email …` makes one")
        }
    }
}

/// Makes or changes a workspace, links its customer, and lets what waited for it count.
pub(crate) async fn put(db: &Db, settings: &Settings, clock: &Clock, args: PutArgs) -> anyhow::Result<()> {
    let printable = |text: &str, what: &str| match text {
        "" => Err(Usage(format!("{what} is empty"))),
        text if text.len() > 255 || text.chars().any(char::is_control) => {
            Err(Usage(format!("{what} is longer than 255 bytes or holds control characters")))
        }
        _ => Ok(()),
    };
    printable(&args.id, "the workspace's id")?;
    for (text, what) in [(&args.name, "--name"), (&args.owner_name, "--owner-name"), (&args.locale, "--locale")] {
        text.as_deref().map_or(Ok(()), |text| printable(text, what))?;
    }
    if let Some(email) = &args.owner_email {
        check_address(email).map_err(|reason| Usage(format!("{email:?} is no e-mail address: {reason}")))?;
    } else if args.owner_name.is_some() || args.locale.is_some() {
        return Err(Usage("--owner-name and --locale are about the owner: name --owner-email, too".to_owned()).into());
    }
    if args
        .stripe_customer
        .as_ref()
        .is_some_and(|id| !id.starts_with("cus_") || !id.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(Usage("--stripe-customer has to be a customer's id, cus_…".to_owned()).into());
    }

    let now = clock.now();
    let known = store::find_workspace(db, &args.id).await?;
    let name = args.name.or_else(|| known.as_ref().map(|row| row.name.clone())).unwrap_or_else(|| args.id.clone());
    let days = args.trial_days.unwrap_or(settings.trial_days);
    let trial_ends_at = (days > 0).then(|| now + TimeDelta::days(days));
    let mut tx = db.begin().await?;
    store::put_workspace(&mut tx, &args.id, &name, trial_ends_at, now).await?;
    if let Some(email) = &args.owner_email {
        let member = Member { email, name: args.owner_name.as_deref(), locale: args.locale.as_deref() };
        store::put_owner(&mut tx, &args.id, &member, &billing::clock::new_id(), now).await?;
    }
    if let Some(customer) = &args.stripe_customer {
        link_by_hand(&mut tx, &args.id, customer, now).await?;
    }
    jobs::welcome(&mut tx, &args.id, settings.policy.spent_refund, now).await?;
    tx.commit().await?;
    Ok(())
}

/// What the workspace may use now.
pub(crate) fn view(row: &WorkspaceRow, settings: &Settings, clock: &Clock) -> Billing {
    billing_of(row.subject(), row.state(), &settings.policy.catalogue, &settings.policy.rules, clock.now())
}

async fn show(db: &Db, settings: &Settings, clock: &Clock, id: &str, as_json: bool) -> anyhow::Result<()> {
    let row = store::find_workspace(db, id)
        .await?
        .with_context(|| format!("there is no workspace {id:?}; `billingd workspaces list` shows them"))?;
    let view = view(&row, settings, clock);
    if as_json {
        return output::json(&view);
    }
    let mut table = sheet(&view);
    let mail = mail::view(db, id).await?;
    let shown = |one: &store::Recipient| match one.suppressed {
        Some(_) => format!("{} (suppressed)", one.address),
        None => one.address.clone(),
    };
    let to = mail.recipients.iter().map(shown).collect::<Vec<_>>().join(", ");
    table.add_row(vec!["mail goes to", if to.is_empty() { "-" } else { &to }]);
    if !mail.opted_out.is_empty() {
        table.add_row(vec!["mail not wanted", &mail.opted_out.join(", ")]);
    }
    output::print(&table, "")
}

/// A workspace as a table of its fields.
pub(crate) fn sheet(view: &Billing) -> comfy_table::Table {
    let mut table = output::table(&["field", "value"]);
    let owner = view.owner.as_ref().map(|owner| format!("{} ({})", owner.email, owner.locale));
    let limits = view.limits.iter().map(|(name, limit)| match limit {
        -1 => format!("{name}: unlimited"),
        limit => format!("{name}: {limit}"),
    });
    let trial = match (view.trial.ends_at, view.trial.active) {
        (None, _) => "none".to_owned(),
        (ends_at, true) => format!("until {} ({} days left)", time(ends_at), view.trial.days_remaining),
        (ends_at, false) => format!("ended {}", time(ends_at)),
    };
    let rows = [
        ("workspace", format!("{} ({})", view.id, view.name)),
        ("owner", or_dash(owner.as_deref())),
        ("effective plan", view.effective_plan.clone()),
        ("subscription plan", or_dash(view.subscription_plan.as_deref())),
        ("subscription", or_dash(view.subscription_id.as_deref())),
        ("stripe customer", or_dash(view.stripe_customer_id.as_deref())),
        ("current period ends", time(view.current_period_end)),
        ("cancel at period end", view.cancel_at_period_end.to_string()),
        ("last paid", time(view.date_paid)),
        ("trial", trial),
        ("credits", view.credits.to_string()),
        ("limits", limits.collect::<Vec<_>>().join(", ")),
        ("fresh as of", time(view.fresh_as_of)),
    ];
    table.add_row(vec!["status".into(), output::status(&view.subscription_status)]);
    for (field, value) in rows {
        table.add_row(vec![field, value.as_str()]);
    }
    table
}
