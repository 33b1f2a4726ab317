//! Processing a backlog: from the start of the workers until the last event is processed, with one worker process and then,
//! with another backlog of the same size, with two.

use std::time::Instant;

use comfy_table::Table;
use serde::Serialize;

use super::super::processes::Process;
use super::super::report::{or_dash, times};
use super::{Bench, EVENTS_ALONE};
use crate::output;

/// Worker processes of the runs.
const WORKERS: [u32; 2] = [1, 2];

#[derive(Serialize)]
pub(in super::super) struct Figures {
    events: u32,
    workspaces: u32,
    /// Of one worker.
    processed_per_second: f64,
    /// Two workers to one.
    two_to_one: f64,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    workers: u32,
    processed_per_second: f64,
    processed_to_yardstick: Option<f64>,
    /// Of the worker that had most.
    worker_peak_memory_mib: Option<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let mut runs = Vec::new();
    for count in WORKERS {
        bench.backlog(bench.args.events as usize).await?;
        let started = Instant::now();
        let mut workers: Vec<Process> =
            (0..count).map(|_| bench.scratch.start("worker", &EVENTS_ALONE)).collect::<anyhow::Result<_>>()?;
        bench.scratch.drained(&mut workers, bench.args.events as usize).await?;
        let took = started.elapsed();
        runs.push(Run {
            workers: count,
            processed_per_second: f64::from(bench.args.events) / took.as_secs_f64(),
            processed_to_yardstick: None,
            worker_peak_memory_mib: workers.iter().filter_map(Process::peak_memory_mib).reduce(f64::max),
        });
        super::stop_all(workers).await?;
    }
    let rates: Vec<f64> = runs.iter().map(|run| run.processed_per_second).collect();
    Ok(Figures {
        events: bench.args.events,
        workspaces: bench.workspaces,
        processed_per_second: rates.first().copied().unwrap_or_default(),
        two_to_one: rates.last().copied().unwrap_or_default() / rates.first().copied().unwrap_or(1.0),
        runs,
    })
}

impl Figures {
    pub(super) fn relate(&mut self, yardstick: Option<f64>) {
        for run in &mut self.runs {
            run.processed_to_yardstick = yardstick.map(|yardstick| run.processed_per_second / yardstick);
        }
    }

    pub(super) fn tables(&self) -> Vec<Table> {
        let mut table = output::table(&[
            "worker processes",
            "events",
            "processed (events/s)",
            "to the yardstick",
            "to one worker",
            "peak memory of a worker (MiB)",
        ]);
        for run in &self.runs {
            table.add_row(vec![
                run.workers.to_string(),
                self.events.to_string(),
                or_dash(Some(run.processed_per_second)),
                times(run.processed_to_yardstick),
                times(Some(run.processed_per_second / self.processed_per_second)),
                or_dash(run.worker_peak_memory_mib),
            ]);
        }
        vec![table]
    }
}
