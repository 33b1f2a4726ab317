//! Accepting events. In the closed loop each connection waits for its answer, which tells the most that is accepted; in the
//! open one events arrive at a fixed rate, as Stripe's do, which tells what they wait.

use std::sync::Arc;

use comfy_table::Table;
use serde::Serialize;

use super::super::disks::DiskStill;
use super::super::driver::{Open, Timetable, open};
use super::super::latencies::Latencies;
use super::super::report::{STOLEN, or_dash, row, stolen, times};
use super::Bench;
use crate::output;
use crate::progress::Progress;

#[derive(Serialize)]
pub(in super::super) struct Figures {
    workspaces: u32,
    closed: Vec<Level>,
    open: AtRate,
    web_peak_memory_mib: Option<f64>,
}

/// The closed loop over so many connections.
#[derive(Serialize)]
struct Level {
    connections: u16,
    events: u32,
    accepted_per_second: f64,
    accepted_to_yardstick: Option<f64>,
    stolen_percent: Option<f64>,
    accept_ms: Latencies,
}

/// The open loop.
#[derive(Serialize)]
pub(super) struct AtRate {
    /// Arrivals.
    pub(super) rate_per_second: f64,
    pub(super) events: usize,
    pub(super) accepted_per_second: f64,
    pub(super) stolen_percent: Option<f64>,
    disk_still: Option<DiskStill>,
    /// From the moment at which an event was to be sent.
    pub(super) accept_ms: Latencies,
    /// Answered otherwise than with 200.
    pub(super) refused: u64,
    /// Not sent before the run ended.
    pub(super) unsent: u64,
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let (web, address) = bench.scratch.serve("web", &[]).await?;
    let mut closed = Vec::new();
    for connections in bench.connections() {
        let load = bench.load(bench.args.events as usize);
        let accepted = bench.post(&load, address, connections).await?;
        closed.push(Level {
            connections,
            events: bench.args.events,
            accepted_per_second: accepted.per_second(),
            accepted_to_yardstick: None,
            stolen_percent: accepted.took.stolen_percent,
            accept_ms: Latencies::of(accepted.latencies),
        });
    }
    let most = closed.last().map_or(0.0, |level| level.accepted_per_second);
    let rate = bench.args.rate.map_or(most / 2.0, f64::from);
    let load = bench.load(bench.args.arrivals(rate));
    let what = format!("accepting {rate:.0} events a second");
    let progress = Arc::new(Progress::counting(what, load.events.len() as u64));
    let sent = open(&load, address, Timetable::from_now(rate), &progress).await?;
    drop(progress);
    let web_peak_memory_mib = web.peak_memory_mib();
    web.stop().await?;
    Ok(Figures {
        workspaces: bench.workspaces,
        closed,
        open: AtRate::of(rate, load.events.len(), sent),
        web_peak_memory_mib,
    })
}

impl Figures {
    pub(super) fn relate(&mut self, yardstick: Option<f64>) {
        for level in &mut self.closed {
            level.accepted_to_yardstick = yardstick.map(|yardstick| level.accepted_per_second / yardstick);
        }
    }

    pub(super) fn tables(&self) -> Vec<Table> {
        let [p50, p99, max] = Latencies::headings("answered");
        let mut closed = output::table(&[
            "connections",
            "events",
            "accepted (events/s)",
            "to the yardstick",
            STOLEN,
            &p50,
            &p99,
            &max,
        ]);
        for level in &self.closed {
            let mut cells = vec![
                level.connections.to_string(),
                level.events.to_string(),
                or_dash(Some(level.accepted_per_second)),
                times(level.accepted_to_yardstick),
                stolen(level.stolen_percent),
            ];
            cells.extend(level.accept_ms.cells());
            closed.add_row(cells);
        }
        let mut open = self.open.cells();
        open.push(("peak memory of web (MiB)".to_owned(), or_dash(self.web_peak_memory_mib)));
        vec![closed, row(open)]
    }
}

impl AtRate {
    pub(super) fn of(rate_per_second: f64, events: usize, sent: Open) -> Self {
        Self {
            rate_per_second,
            events,
            accepted_per_second: sent.took.per_second(sent.latencies.len() as f64),
            stolen_percent: sent.took.stolen_percent,
            disk_still: sent.disk_still,
            refused: sent.refused,
            unsent: sent.unsent,
            accept_ms: Latencies::of(sent.latencies),
        }
    }

    pub(super) fn cells(&self) -> Vec<(String, String)> {
        let mut cells = vec![
            ("arrivals (events/s)".to_owned(), or_dash(Some(self.rate_per_second))),
            ("events".to_owned(), self.events.to_string()),
            ("accepted (events/s)".to_owned(), or_dash(Some(self.accepted_per_second))),
            (STOLEN.to_owned(), stolen(self.stolen_percent)),
            ("refused".to_owned(), self.refused.to_string()),
            ("unsent".to_owned(), self.unsent.to_string()),
        ];
        cells.extend(DiskStill::cells(self.disk_still));
        cells.extend(Latencies::headings("answered").into_iter().zip(self.accept_ms.cells()));
        cells
    }
}
