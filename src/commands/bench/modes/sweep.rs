//! The sweep that ends trials: from the start of a worker, which sweeps at once, until no trial is due. The mails that it
//! queues are not sent meanwhile.
//!
//! Memory is flat when the peak is not much above what the worker had after the first tenth of the trials: the sweep works
//! in batches, and holds one of them.

use std::time::{Duration, Instant};

use comfy_table::Table;
use serde::Serialize;

use super::super::report::{STOLEN, or_dash, row, stolen};
use super::super::seed::ONE_DUE_OF;
use super::super::watch::Watch;
use super::Bench;
use crate::progress::Progress;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is counted what is left; it costs a few milliseconds of the database.
const COUNT_EVERY: Duration = Duration::from_millis(250);
/// The sweep of a million workspaces takes seconds.
const PATIENCE: Duration = Duration::from_secs(1800);

const LEFT: &str = "select count(*) from workspaces where trial_expired_at is null
                    and trial_ends_at < (select max(created_at) from workspaces where id = 'bench-0')";
const ANY_LEFT: &str = "select count(*) from (select id from workspaces where trial_expired_at is null
                        and trial_ends_at < (select max(created_at) from workspaces where id = 'bench-0') limit 1) as first";

#[derive(Serialize)]
pub(in super::super) struct Figures {
    workspaces: u64,
    due: u64,
    sweep_seconds: f64,
    trials_per_second: f64,
    stolen_percent: Option<f64>,
    /// `null` where the sweep was over before anybody looked.
    worker_memory_at_a_tenth_mib: Option<f64>,
    worker_peak_memory_mib: Option<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let scratch = bench.scratch;
    let due = scratch.count(LEFT).await?;
    let workspaces = scratch.count("select count(*) from workspaces").await?;
    let expected = workspaces.div_ceil(ONE_DUE_OF);
    anyhow::ensure!(due == expected, "{due} trials are due, not {expected}");

    let progress = Progress::counting("ending trials", due);
    let watch = Watch::start();
    let mut worker = scratch.start("worker", &["--queues", "maintenance"])?;
    let (mut counted, mut at_a_tenth) = (Instant::now(), None);
    let mut peak = None;
    let none = async || {
        worker.alive()?;
        peak = worker.peak_memory_mib().or(peak);
        if counted.elapsed() >= COUNT_EVERY {
            let left = scratch.count(LEFT).await?;
            progress.set(due.saturating_sub(left));
            if at_a_tenth.is_none() && left > 0 && (due - left) * 10 >= due {
                at_a_tenth = worker.memory_mib();
            }
            counted = Instant::now();
        }
        Ok(scratch.count(ANY_LEFT).await? == 0)
    };
    scratch.until("no trial is due", PATIENCE, none, LOOK_EVERY).await?;
    let took = watch.took();
    drop(progress);
    let mails = scratch.count("select count(*) from emails where template = 'trial_expired'").await?;
    let told = scratch.count("select count(*) from audit_events where kind = 'trial_expired'").await?;
    anyhow::ensure!((mails, told) == (due, due), "of {due} trials came {mails} mails and {told} audit entries");
    worker.stop().await?;
    Ok(Figures {
        workspaces,
        due,
        sweep_seconds: took.time.as_secs_f64(),
        trials_per_second: took.per_second(due as f64),
        stolen_percent: took.stolen_percent,
        worker_memory_at_a_tenth_mib: at_a_tenth,
        worker_peak_memory_mib: peak,
    })
}

impl Figures {
    pub(super) fn tables(&self) -> Vec<Table> {
        let cell = |heading: &str, value: String| (heading.to_owned(), value);
        vec![row(vec![
            cell("workspaces", self.workspaces.to_string()),
            cell("trials due", self.due.to_string()),
            cell("swept in (s)", format!("{:.1}", self.sweep_seconds)),
            cell("ended (trials/s)", or_dash(Some(self.trials_per_second))),
            cell(STOLEN, stolen(self.stolen_percent)),
            cell("memory of worker at a tenth (MiB)", or_dash(self.worker_memory_at_a_tenth_mib)),
            cell("peak memory of worker (MiB)", or_dash(self.worker_peak_memory_mib)),
        ])]
    }
}
