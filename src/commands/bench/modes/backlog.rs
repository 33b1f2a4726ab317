//! Processing a backlog: from the start of the workers until the last event is processed, with one worker process, with two,
//! and with one again, each with a new backlog of the same size. Two are compared with what one did just before and just
//! after them, for the database grows meanwhile; and the first backlog, into an empty database, is compared with nothing.

use comfy_table::Table;
use serde::Serialize;

use super::super::processes::Process;
use super::super::report::{STOLEN, or_dash, stolen, times};
use super::super::watch::Watch;
use super::{Bench, EVENTS_ALONE};
use crate::output;

/// Worker processes of the runs.
const WORKERS: [u32; 6] = [1, 1, 2, 1, 2, 1];

#[derive(Serialize)]
pub(in super::super) struct Figures {
    events: u32,
    workspaces: u32,
    /// Of one worker, the mean.
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
    stolen_percent: Option<f64>,
    /// Of two workers: to the mean of the runs before and after.
    to_one: Option<f64>,
    /// Of the worker that had most.
    worker_peak_memory_mib: Option<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let mut runs = Vec::new();
    for count in WORKERS {
        bench.backlog(bench.args.events as usize).await?;
        let watch = Watch::start();
        let mut workers: Vec<Process> =
            (0..count).map(|_| bench.scratch.start("worker", &EVENTS_ALONE)).collect::<anyhow::Result<_>>()?;
        bench.scratch.drained(&mut workers, bench.args.events as usize).await?;
        let took = watch.took();
        runs.push(Run {
            workers: count,
            processed_per_second: took.per_second(bench.args.events.into()),
            processed_to_yardstick: None,
            stolen_percent: took.stolen_percent,
            to_one: None,
            worker_peak_memory_mib: workers.iter().filter_map(Process::peak_memory_mib).reduce(f64::max),
        });
        super::stop_all(workers).await?;
    }
    let rates: Vec<f64> = runs.iter().map(|run| run.processed_per_second).collect();
    for (run, around) in runs.iter_mut().skip(1).zip(rates.windows(3)) {
        run.to_one = (run.workers == 2).then(|| around[1] * 2.0 / (around[0] + around[2]));
    }
    let ones = runs.iter().filter(|run| run.workers == 1).map(|run| run.processed_per_second);
    let (one, two_to_one) = (mean(ones), mean(runs.iter().filter_map(|run| run.to_one)));
    let (events, workspaces) = (bench.args.events, bench.workspaces);
    Ok(Figures { events, workspaces, processed_per_second: one, two_to_one, runs })
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
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
            STOLEN,
            "to one worker before and after",
            "peak memory of a worker (MiB)",
        ]);
        for run in &self.runs {
            table.add_row(vec![
                run.workers.to_string(),
                self.events.to_string(),
                or_dash(Some(run.processed_per_second)),
                times(run.processed_to_yardstick),
                stolen(run.stolen_percent),
                times(run.to_one),
                or_dash(run.worker_peak_memory_mib),
            ]);
        }
        vec![table]
    }
}
