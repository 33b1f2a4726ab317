//! `demo`: a whole customer's story, played against the real program over real HTTP, and checked.
//!
//! The program under the story is the production code on a fresh SQLite file; only its clock is moved by hand. It starts
//! eighty days ago, so that months pass in seconds.

mod story;

use std::time::Duration;

use anyhow::Context as _;
use billing::rules::entitlement::Billing;
use billing::store;
use billing::{Catalogue, Clock, Db};
use chrono::{DateTime, TimeDelta};
use tokio::net::TcpListener;

use crate::commands::dev;
use crate::commands::workspaces::{self, PutArgs};
use crate::maker::{Maker, Prices};
use crate::output::{self, or_dash, time};
use crate::process::{self, Shutdown};
use crate::sender::Sender;
use crate::settings::{Hidden, Needs, Settings, Stage};
use crate::telemetry;
use story::{Expected, STEPS, Step};

/// How long a step may take to show; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const WORKSPACE: &str = "acme";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stay up afterwards, for a look around
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut settings = Settings::load(Stage::Development, Needs::default())?;
    settings.database_url = Hidden(format!("sqlite://{}", folder.path().join("demo.db").display()));
    settings.smtp_url = Some(Hidden(format!("file://{}", folder.path().join("outbox").display())));
    settings.stripe_api_key = None;
    settings.policy.livemode = None;
    settings.listen = ([127, 0, 0, 1], 0).into();
    let price = |name: &str| Some(format!("price_{name}"));
    settings.policy.catalogue = Catalogue::standard(price("hobby"), price("pro"), price("credits_10"));
    dev::quiet(&mut settings);
    telemetry::start_logs(&settings);

    let metrics = telemetry::start_metrics()?;
    let shutdown = Shutdown::on_signals()?;
    let clock = Clock::manual(Clock::system().now() - TimeDelta::days(80));
    let listener = TcpListener::bind(settings.listen).await?;
    let url = format!("http://{}/webhooks/stripe", listener.local_addr()?);
    let db = process::open_for_jobs(&settings, 8)?;
    jobs::migrate(&db, &settings.database_schema).await?;
    let stack = tokio::spawn({
        let (settings, db, clock, shutdown) = (settings.clone(), db.clone(), clock.clone(), shutdown.clone());
        async move { dev::stack(&settings, db, clock, listener, metrics, shutdown).await }
    });

    let secrets = settings.webhook_secrets.clone().context("there is no secret to sign with")?;
    let demo = Demo {
        maker: Maker::new(WORKSPACE, None, Prices::of(&settings.policy.catalogue)),
        sender: Sender::new(&url, secrets)?,
        start: clock.now().timestamp(),
        settings,
        db,
        clock,
    };
    let tell = async {
        output::line(format_args!("a customer's story, signed and posted to {url}\n"))?;
        demo.play().await?;
        demo.show().await?;
        if args.keep {
            let files = folder.path().display();
            output::line(format_args!("\nstill up at {url}; its files are in {files}; Ctrl-C ends it"))?;
        }
        anyhow::Ok(())
    };
    let told = tokio::select! {
        told = tell => told,
        () = shutdown.wait() => Err(anyhow::anyhow!("stopped before the end")),
    };
    if args.keep && told.is_ok() {
        shutdown.wait().await;
    }
    shutdown.set();
    stack.await??;
    told
}

struct Demo {
    maker: Maker,
    sender: Sender,
    /// Unix seconds at which the story begins.
    start: i64,
    settings: Settings,
    db: Db,
    clock: Clock,
}

impl Demo {
    async fn play(&self) -> anyhow::Result<()> {
        let put = PutArgs {
            name: Some("Acme Inc.".to_owned()),
            owner_email: Some("ann@example.com".to_owned()),
            owner_name: Some("Ann Owner".to_owned()),
            locale: Some("en".to_owned()),
            ..PutArgs::of(WORKSPACE)
        };
        workspaces::put(&self.db, &self.settings, &self.clock, put).await?;
        let mut mails = Vec::new();
        for step in STEPS {
            mails.extend_from_slice(step.mails);
            self.step(step, &mails).await.with_context(|| format!("day {}: {}", step.day, step.tells))?;
        }
        Ok(())
    }

    /// Plays one day. `mails` is what must have been sent by its end.
    async fn step(&self, step: &Step, mails: &[&str]) -> anyhow::Result<()> {
        let at = self.start + step.day * 86_400;
        self.clock.advance(TimeDelta::seconds(at - self.clock.now().timestamp()));
        for event in (step.events)(&self.maker, self.start) {
            let answer = self.sender.post(&event.to_string(), at).await?;
            anyhow::ensure!(answer.status == 200, "{} was answered {} {}", event["type"], answer.status, answer.body);
        }
        let mut last = None;
        let shown = self
            .wait("the state is what the story must give", async || {
                let view = self.view().await?;
                let sent = store::emails_of(&self.db, WORKSPACE, 100).await?;
                let sent: Vec<&str> =
                    sent.iter().filter(|mail| mail.status == "sent").map(|mail| mail.template.as_str()).collect();
                let fits = step.then.fits(&view)
                    && sent == mails
                    && store::oldest_unfinished(&self.db, DateTime::UNIX_EPOCH).await?.is_none();
                last = Some(format!("{}, mails {sent:?}", Expected::state_of(&view)));
                Ok(fits.then_some(view))
            })
            .await;
        let view = shown
            .with_context(|| format!("expected {}, mails {mails:?}; found {}", step.then, last.unwrap_or_default()))?;
        output::line(format_args!("  day {:>2}  {:<58} {}", step.day, step.tells, Expected::state_of(&view)))?;
        Ok(())
    }

    async fn view(&self) -> anyhow::Result<Billing> {
        let row = store::find_workspace(&self.db, WORKSPACE).await?.context("the workspace is gone")?;
        Ok(workspaces::view(&row, &self.settings, &self.clock))
    }

    async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = look().await? {
                    return anyhow::Ok(found);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        found.await.with_context(|| format!("waited in vain until {what}"))?
    }

    /// The timeline, the ledger, the mails and the final state.
    async fn show(&self) -> anyhow::Result<()> {
        output::line("\nwhat happened")?;
        let mut table = output::table(&["when (UTC)", "what", "cause", "told by"]);
        for entry in store::history(&self.db, WORKSPACE, 100).await? {
            table.add_row(vec![
                time(Some(entry.occurred_at)),
                entry.kind,
                entry.cause,
                or_dash(entry.stripe_event_id.as_deref()),
            ]);
        }
        output::print(&table, "nothing")?;
        output::line("\ncredits")?;
        let mut table = output::table(&["when (UTC)", "credits", "balance", "reason", "source"]);
        for entry in store::ledger_of(&self.db, WORKSPACE, 100).await? {
            let (delta, balance) = (format!("{:+}", entry.delta), entry.balance_after.to_string());
            table.add_row(vec![time(Some(entry.created_at)), delta, balance, entry.reason, entry.source_id]);
        }
        output::print(&table, "none")?;
        output::line("\nmails")?;
        let mut table = output::table(&["when (UTC)", "template", "to", "status"]);
        for mail in store::emails_of(&self.db, WORKSPACE, 100).await? {
            table.add_row(vec![
                time(mail.sent_at.or(Some(mail.created_at))).into(),
                mail.template.into(),
                mail.recipient.into(),
                output::status(&mail.status),
            ]);
        }
        output::print(&table, "none")?;
        output::line("\nthe workspace in the end")?;
        output::print(&workspaces::sheet(&self.view().await?), "")
    }
}
