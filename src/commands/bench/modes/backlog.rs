//! Processing a backlog: from the start of the workers until the last event is processed, with one worker process, then with
//! two, and with one again, each with a new backlog of the same size. Two are compared with what one did before and after
//! them, for the database has grown meanwhile.

use std::time::Instant;

use comfy_table::Table;
use serde::Serialize;

use super::super::processes::Process;
use super::super::report::{or_dash, times};
use super::{Bench, EVENTS_ALONE};
use crate::output;

/// Worker processes of the runs.
const WORKERS: [u32; 3] = [1, 2, 1];

#[derive(Serialize)]
pub(in super::super) struct Figures {
    events: u32,
    workspaces: u32,
    /// Of one worker, the mean of both runs.
    processed_per_second: f64,
    /// Two workers to one, the mean.
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
    let rate_of = |workers: u32| {
        let rates = || runs.iter().filter(|run| run.workers == workers).map(|run| run.processed_per_second);
        rates().sum::<f64>() / rates().count() as f64
    };
    let (one, two) = (rate_of(1), rate_of(2));
    let (events, workspaces) = (bench.args.events, bench.workspaces);
    Ok(Figures { events, workspaces, processed_per_second: one, two_to_one: two / one, runs })
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
