//! Mails a second to a mail server on the same machine: from the start of a worker for the queue `mail` alone until the
//! last mail is written down as sent.

use comfy_table::Table;
use serde::Serialize;

use super::super::load::Load;
use super::super::report::{STOLEN, or_dash, row, stolen};
use super::super::watch::Watch;
use super::sink::Sink;
use super::{Bench, EVENTS_ALONE};

/// Of the worker, each with a connection of its own.
const AT_ONCE: &str = "8";
/// One event, one mail.
const KIND: &[&str] = &["checkout.session.completed"];

#[derive(Serialize)]
pub(in super::super) struct Figures {
    workspaces: u32,
    mails: u64,
    connections: u64,
    mails_per_second: f64,
    stolen_percent: Option<f64>,
    worker_peak_memory_mib: Option<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let events = bench.args.events as usize;
    let sink = Sink::open().await?;
    let smtp_url = format!("smtp://{}", sink.address);
    let load = Load::of(KIND, events, bench.workspaces).signed(&bench.secrets);
    let (web, address) = bench.scratch.serve("web", &[]).await?;
    bench.post(&load, address, bench.args.most_connections()).await?;
    let mut workers = vec![bench.scratch.start("worker", &EVENTS_ALONE)?];
    bench.scratch.drained(&mut workers, events).await?;
    workers.push(web);
    super::stop_all(workers).await?;

    let watch = Watch::start();
    let options = ["--queues", "mail", "--concurrency", AT_ONCE];
    let mut worker = bench.scratch.start_with("worker", &options, &[("SMTP_URL", &smtp_url)])?;
    bench.scratch.mailed(&mut worker, events).await?;
    let took = watch.took();
    let mails = sink.mails();
    anyhow::ensure!(mails == events as u64, "{mails} mails came of {events} events");
    let worker_peak_memory_mib = worker.peak_memory_mib();
    worker.stop().await?;
    Ok(Figures {
        workspaces: bench.workspaces,
        mails,
        connections: sink.connections(),
        mails_per_second: took.per_second(mails as f64),
        stolen_percent: took.stolen_percent,
        worker_peak_memory_mib,
    })
}

impl Figures {
    pub(super) fn tables(&self) -> Vec<Table> {
        let cell = |heading: &str, value: String| (heading.to_owned(), value);
        vec![row(vec![
            cell("mails", self.mails.to_string()),
            cell("connections", self.connections.to_string()),
            cell("sent (mails/s)", or_dash(Some(self.mails_per_second))),
            cell(STOLEN, stolen(self.stolen_percent)),
            cell("peak memory of worker (MiB)", or_dash(self.worker_peak_memory_mib)),
        ])]
    }
}
