//! The short form: accepting, processing a backlog, and single events, in one run.

use comfy_table::Table;
use serde::Serialize;

use super::super::latencies::Latencies;
use super::super::report::{STOLEN, or_dash, row, stolen, times};
use super::super::watch::Watch;
use super::{Bench, EVENTS_ALONE, Singles};

#[derive(Serialize)]
pub(in super::super) struct Figures {
    events: u32,
    concurrency: u16,
    workspaces: u32,
    accepted_per_second: f64,
    accepted_to_yardstick: Option<f64>,
    accepted_stolen_percent: Option<f64>,
    accept_ms: Latencies,
    processed_per_second: f64,
    processed_to_yardstick: Option<f64>,
    processed_stolen_percent: Option<f64>,
    #[serde(flatten)]
    singles: Singles,
    web_peak_memory_mib: Option<f64>,
    worker_peak_memory_mib: Option<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let events = bench.args.events as usize;
    let concurrency = bench.args.most_connections();
    let load = bench.load(events);
    let (web, address) = bench.scratch.serve("web", &[]).await?;
    let accepted = bench.post(&load, address, concurrency).await?;
    drop(load);
    let web_peak_memory_mib = web.peak_memory_mib();

    let watch = Watch::start();
    let mut workers = vec![bench.scratch.start("worker", &EVENTS_ALONE)?];
    bench.scratch.drained(&mut workers, events).await?;
    let processed = watch.took();
    let worker_peak_memory_mib = workers.first().and_then(super::Process::peak_memory_mib);

    let singles = bench.singles(address).await?;
    workers.push(web);
    super::stop_all(workers).await?;
    Ok(Figures {
        events: bench.args.events,
        concurrency,
        workspaces: bench.workspaces,
        accepted_per_second: accepted.per_second(),
        accepted_to_yardstick: None,
        accepted_stolen_percent: accepted.took.stolen_percent,
        accept_ms: Latencies::of(accepted.latencies),
        processed_per_second: processed.per_second(events as f64),
        processed_to_yardstick: None,
        processed_stolen_percent: processed.stolen_percent,
        singles,
        web_peak_memory_mib,
        worker_peak_memory_mib,
    })
}

impl Figures {
    pub(super) fn relate(&mut self, yardstick: Option<f64>) {
        self.accepted_to_yardstick = yardstick.map(|yardstick| self.accepted_per_second / yardstick);
        self.processed_to_yardstick = yardstick.map(|yardstick| self.processed_per_second / yardstick);
    }

    pub(super) fn tables(&self) -> Vec<Table> {
        let cell = |heading: &str, value: String| (heading.to_owned(), value);
        let mut accepting = vec![
            cell("events", self.events.to_string()),
            cell("connections", self.concurrency.to_string()),
            cell("accepted (events/s)", or_dash(Some(self.accepted_per_second))),
            cell("to the yardstick", times(self.accepted_to_yardstick)),
            cell(STOLEN, stolen(self.accepted_stolen_percent)),
        ];
        accepting.extend(Latencies::headings("answered").into_iter().zip(self.accept_ms.cells()));
        accepting.push(cell("peak memory of web (MiB)", or_dash(self.web_peak_memory_mib)));
        let mut processing = vec![
            cell("processed (events/s)", or_dash(Some(self.processed_per_second))),
            cell("to the yardstick", times(self.processed_to_yardstick)),
            cell(STOLEN, stolen(self.processed_stolen_percent)),
            cell("peak memory of worker (MiB)", or_dash(self.worker_peak_memory_mib)),
        ];
        processing.extend(self.singles.cells());
        vec![row(accepting), row(processing)]
    }
}
