//! `dev`: everything in one process on SQLite, without any settings, telling each event in a line.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use billing::store::{self, EmailFilter, EmailRow, EventFilter, EventRow};
use billing::{Clock, Db};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::commands::run::ending;
use crate::outbox::Outbox;
use crate::output;
use crate::process::{self, Beside, Shutdown};
use crate::settings::{DEVELOPMENT_JWT_SECRET, DEVELOPMENT_SECRET, Hidden, Needs, Settings, Stage};
use crate::telemetry;

/// How often the lines on the screen catch up with the inbox.
const FEED: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args) -> anyhow::Result<()> {
    let mut settings = Settings::load(Stage::Development, Needs::default())?;
    quiet(&mut settings);
    telemetry::start_logs(&settings);
    let metrics = telemetry::start_metrics()?;
    let shutdown = Shutdown::on_signals()?;
    let listener = process::listen(&settings)?;
    let address = listener.local_addr()?;
    output::line(format_args!("billingd dev listens on http://{address}"))?;
    output::line(format_args!("  webhook   http://{address}/webhooks/stripe"))?;
    if settings.signs_for_development() {
        output::line(format_args!(
            "  secret    {DEVELOPMENT_SECRET} (the development value; STRIPE_WEBHOOK_SECRET is not set)"
        ))?;
    }
    output::line(format_args!(
        "  API       http://{address}/v1/workspaces/ID/billing, tokens by JWT_SECRET, else {DEVELOPMENT_JWT_SECRET}"
    ))?;
    let prices =
        settings.policy.catalogue.plans().iter().map(|plan| format!("{} = {}", plan.id, plan.prices.join(", ")));
    output::line(format_args!("  prices    {}", prices.collect::<Vec<_>>().join(" · ")))?;
    let outbox = outbox(&settings, address);
    if outbox.is_some() {
        output::line(format_args!("  mail      http://{address}/outbox (files in ./outbox)"))?;
    }
    output::line(
        "try: billingd workspaces put acme --owner-email owner@example.com, then billingd trigger invoice.paid --workspace acme",
    )?;
    let db = process::open_for_jobs(&settings, 8)?;
    let clock = Clock::system();
    jobs::migrate(&db, &settings.database_schema).await?;
    let feed = tokio::spawn({
        let (feed, shutdown) =
            (feed(db.clone(), clock.clone(), outbox.map(|outbox| (outbox, address))), shutdown.clone());
        async move {
            let unread = feed.await;
            shutdown.set();
            unread
        }
    });
    let result = stack(&settings, db, clock, listener, metrics, shutdown).await;
    feed.abort();
    // Only if it was not aborted is there something to say.
    feed.await.unwrap_or(result)
}

/// What happens is told on the screen in lines of its own; the log only says what is wrong.
pub(crate) fn quiet(settings: &mut Settings) {
    if settings.log_filter.starts_with("info,") {
        "warn,jobs=error".clone_into(&mut settings.log_filter);
    }
    settings.smtp_url.get_or_insert_with(|| Hidden("file://outbox".to_owned()));
}

/// The pages of the mails. `None`: mail goes to a server, or others than this machine could look.
fn outbox(settings: &Settings, address: SocketAddr) -> Option<Outbox> {
    let url = settings.smtp_url.as_ref().filter(|_| address.ip().is_loopback())?;
    Outbox::of(&url.0)
}

/// The receiver and the workers of one process, until the shutdown.
pub(crate) async fn stack(
    settings: &Settings,
    db: Db,
    clock: Clock,
    listener: TcpListener,
    metrics: PrometheusHandle,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let context = process::context(settings, db.clone(), clock.clone())?;
    let beside = Beside { api: true, outbox: outbox(settings, listener.local_addr()?) };
    let web = process::serve(settings, db.clone(), clock, listener, metrics, beside, shutdown.clone());
    let work = process::work_in_a_task(settings.clone(), context, process::all_queues(), shutdown.clone());
    let (web, work) = tokio::join!(ending(web, &shutdown), ending(work, &shutdown));
    process::close(&db).await;
    web.and(work)
}

/// Tells each finished event and each finished mail in a line, for as long as somebody reads them.
async fn feed(db: Db, clock: Clock, outbox: Option<(Outbox, SocketAddr)>) -> anyhow::Result<()> {
    let mut mailed: HashSet<(String, String)> = HashSet::new();
    let mut told: HashSet<(String, i64)> = HashSet::new();
    let since = clock.now();
    loop {
        tokio::time::sleep(FEED).await;
        let filter = EventFilter { since: Some(since), limit: 200, ..EventFilter::default() };
        // A database that does not answer is told of by the workers.
        let Ok(rows) = store::list_events(&db, &filter).await else { continue };
        for row in rows.iter().rev().filter(|row| row.processed_at.is_some()) {
            if told.insert((row.id.clone(), row.attempts)) {
                output::line(line(&db, row).await)?;
            }
        }
        let filter = EmailFilter { limit: 200, ..EmailFilter::default() };
        let Ok(mails) = store::list_emails(&db, &filter).await else { continue };
        for mail in mails.iter().rev().filter(|mail| mail.created_at >= since && mail.status != "queued") {
            if mailed.insert((mail.id.clone(), mail.status.clone())) {
                output::line(mail_line(mail, outbox.as_ref()))?;
            }
        }
        if mailed.len() > 10_000 {
            mailed = mails.into_iter().map(|mail| (mail.id, mail.status)).collect();
        }
        // Only the newest 200 are ever looked at again.
        if told.len() > 10_000 {
            told = rows.iter().map(|row| (row.id.clone(), row.attempts)).collect();
        }
    }
}

/// `12:00:01  sent       payment_failed                      ann@example.com  http://127.0.0.1:4242/outbox/…`
fn mail_line(mail: &EmailRow, outbox: Option<&(Outbox, SocketAddr)>) -> String {
    let at = mail.sent_at.unwrap_or(mail.created_at).format("%H:%M:%S");
    let shown = outbox.and_then(|(outbox, address)| {
        let file = outbox.file_of(&mail.template, &mail.dedupe_key).filter(|_| mail.status == "sent")?;
        Some(format!("http://{address}/outbox/{file}"))
    });
    let tail = shown.or_else(|| mail.last_error.clone()).unwrap_or_default();
    format!("{at}  {:<9}  {:<34}  {}  {tail}", mail.status, mail.template, mail.recipient)
}

/// `12:00:01  processed  invoice.paid  evt_…  acme: active, pro, 10 credits`
async fn line(db: &Db, row: &EventRow) -> String {
    let workspace = match &row.workspace_id {
        Some(id) => store::find_workspace(db, id).await.ok().flatten(),
        None => None,
    };
    let tail = match (workspace, &row.last_error) {
        (_, Some(reason)) => reason.clone(),
        (Some(workspace), None) => format!(
            "{}: {}, {}, {} credits",
            workspace.id,
            workspace.subscription_status,
            workspace.subscription_plan.as_deref().unwrap_or("no plan"),
            workspace.credits
        ),
        (None, None) => "no workspace is linked yet; it counts from the moment one is".to_owned(),
    };
    let at = row.processed_at.map(|at| at.format("%H:%M:%S").to_string()).unwrap_or_default();
    format!("{at}  {:<9}  {:<34}  {}  {tail}", row.status, row.kind, row.id)
}
