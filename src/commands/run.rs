//! `web`, `serve` and `worker`: the processes of production.

use billing::Clock;
use jobs::Queue;

use crate::cli::Usage;
use crate::process::{self, Beside, Shutdown};
use crate::settings::{Needs, Settings, Stage};
use crate::telemetry;

/// Connections to the database, or readers of the file, of `web` and of `api`.
pub(crate) const WEB_CONNECTIONS: u32 = 6;
pub(crate) const API_CONNECTIONS: u32 = 8;

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Run the jobs in this process, too
    #[arg(long)]
    worker: bool,
}

#[derive(clap::Args)]
pub(crate) struct WorkerArgs {
    /// Which queues to work on: events, mail, maintenance
    #[arg(long, value_delimiter = ',', default_value = "events,mail,maintenance")]
    queues: Vec<String>,
    /// Jobs at a time in each queue [default: events 4, mail 8, maintenance 2]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,
}

pub(crate) async fn web() -> anyhow::Result<()> {
    receive(false, false).await
}

pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    receive(true, args.worker).await
}

pub(crate) async fn api() -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs { token_key: true, ..Needs::default() })?;
    telemetry::start_logs(&settings);
    let metrics = telemetry::start_metrics()?;
    let shutdown = Shutdown::on_signals()?;
    let db = process::open(&settings, API_CONNECTIONS)?;
    let listener = process::listen(&settings)?;
    process::serve_api(&settings, db.clone(), Clock::system(), listener, metrics, shutdown).await?;
    process::close(&db).await;
    Ok(())
}

async fn receive(api: bool, worker: bool) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs { webhook_secret: true, ..Needs::default() })?;
    telemetry::start_logs(&settings);
    let metrics = telemetry::start_metrics()?;
    let shutdown = Shutdown::on_signals()?;
    let clock = Clock::system();
    let db = if worker { process::open_for_jobs(&settings, 16)? } else { process::open(&settings, WEB_CONNECTIONS)? };
    let listener = process::listen(&settings)?;
    let web = process::serve(
        &settings,
        db.clone(),
        clock.clone(),
        listener,
        metrics,
        Beside { api, outbox: None },
        shutdown.clone(),
    );
    if worker {
        let context = process::context(&settings, db.clone(), clock)?;
        let work = process::work_in_a_task(settings.clone(), context, process::all_queues(), shutdown.clone());
        // Whichever part fails ends the other in good order.
        let (web, work) = tokio::join!(ending(web, &shutdown), ending(work, &shutdown));
        web.and(work)?;
    } else {
        web.await?;
    }
    process::close(&db).await;
    Ok(())
}

/// Runs a part of a process; when it ends, everything does.
pub(crate) async fn ending<T>(part: impl Future<Output = T>, shutdown: &Shutdown) -> T {
    let result = part.await;
    shutdown.set();
    result
}

pub(crate) async fn worker(args: WorkerArgs) -> anyhow::Result<()> {
    let mut queues = Vec::new();
    for name in &args.queues {
        let queue = Queue::parse(name.trim()).ok_or_else(|| {
            Usage(format!("there is no queue {name:?}; there are {}", Queue::ALL.map(Queue::as_str).join(", ")))
        })?;
        queues.push((queue, args.concurrency.map_or(queue.concurrency(), usize::from)));
    }
    let settings = Settings::load(Stage::Production, Needs::default())?;
    telemetry::start_logs(&settings);
    let metrics = telemetry::start_metrics()?;
    let shutdown = Shutdown::on_signals()?;
    let listener = settings.metrics_addr.map(|address| process::listen_on(address, "METRICS_ADDR")).transpose()?;
    let slots: usize = queues.iter().map(|(_, concurrency)| concurrency).sum();
    let db = process::open_for_jobs(&settings, u32::try_from(slots.min(16)).unwrap_or(16) + 2)?;
    let context = process::context(&settings, db.clone(), Clock::system())?;
    if let Some(listener) = listener {
        let work = process::work_in_a_task(settings, context, queues, shutdown.clone());
        let health = process::serve_health(db.clone(), listener, metrics, shutdown.clone());
        let (work, health) = tokio::join!(ending(work, &shutdown), ending(health, &shutdown));
        work.and(health)?;
    } else {
        process::work(&settings, context, queues, shutdown).await?;
    }
    process::close(&db).await;
    Ok(())
}
