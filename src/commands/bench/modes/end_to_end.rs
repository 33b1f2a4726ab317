//! From POST to processed, with receiver and worker running: idle, one event at a time; and at half of the capacity.
//!
//! The capacity is what both manage together: so many events are posted in a closed loop, and the clock runs from the first
//! POST until the last event is processed. Half of it is then posted in an open loop, once what that left to be written is
//! written: it would all reach the disk half a minute later, in the middle of the other.
//!
//! An event counts as processed when another connection sees it so, that is when its transaction is committed; its column
//! `processed_at` is older, for it is when that transaction began. At half load a sample of the events is looked for every
//! two milliseconds, which the figures include, and the time counts from the moment at which an event was to be sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comfy_table::Table;
use serde::Serialize;

use super::super::driver::{Timetable, open};
use super::super::latencies::Latencies;
use super::super::load::Signed;
use super::super::report::{STOLEN, or_dash, row, stolen};
use super::super::scratch::Scratch;
use super::super::watch::Watch;
use super::ingest::AtRate;
use super::{Bench, EVENTS_ALONE, Singles};
use crate::progress::Progress;

/// Of the events at half load, so many a second are looked for.
const SAMPLES_PER_SECOND: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Events that one look asks for.
const LOOKED_FOR: usize = 200;
/// After the last arrival; then what is not processed is missing.
const OVERTIME: Duration = Duration::from_secs(60);

#[derive(Serialize)]
pub(in super::super) struct Figures {
    workspaces: u32,
    #[serde(flatten)]
    singles: Singles,
    capacity_per_second: f64,
    capacity_stolen_percent: Option<f64>,
    half_load: AtRate,
    end_to_end_half_load_ms: Latencies,
    /// How many events that is of.
    samples: usize,
    web_peak_memory_mib: Option<f64>,
    worker_peak_memory_mib: Option<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let (web, address) = bench.scratch.serve("web", &[]).await?;
    let mut workers = vec![bench.scratch.start("worker", &EVENTS_ALONE)?];
    let singles = bench.singles(address).await?;

    let events = bench.args.events as usize;
    let load = bench.load(events);
    let watch = Watch::start();
    bench.post(&load, address, bench.args.most_connections()).await?;
    bench.scratch.drained(&mut workers, events).await?;
    let capacity = watch.took();
    let capacity_per_second = capacity.per_second(events as f64);

    let rate = bench.args.rate.map_or(capacity_per_second / 2.0, f64::from);
    let load = bench.load(bench.args.arrivals(rate));
    bench.scratch.write_out().await?;
    let progress = Arc::new(Progress::counting(format!("{rate:.0} events a second"), load.events.len() as u64));
    let timetable = Timetable::from_now(rate);
    let (sent, seen) =
        tokio::join!(open(&load, address, timetable, &progress), seen(bench.scratch, &load, timetable, rate));
    drop(progress);
    let (sent, seen) = (sent?, seen?);
    bench.scratch.drained(&mut workers, events).await?;
    let worker_peak_memory_mib = workers.first().and_then(super::Process::peak_memory_mib);
    let web_peak_memory_mib = web.peak_memory_mib();
    workers.push(web);
    super::stop_all(workers).await?;
    Ok(Figures {
        workspaces: bench.workspaces,
        singles,
        capacity_per_second,
        capacity_stolen_percent: capacity.stolen_percent,
        samples: seen.len(),
        end_to_end_half_load_ms: Latencies::of(seen),
        half_load: AtRate::of(rate, load.events.len(), sent),
        web_peak_memory_mib,
        worker_peak_memory_mib,
    })
}

/// How long after they were to be sent samples of the load were seen to be processed.
///
/// # Errors
/// One of them was not, long after the last arrival.
async fn seen(scratch: &Scratch, load: &Signed, timetable: Timetable, rate: f64) -> anyhow::Result<Vec<Duration>> {
    // Odd, and no multiple of the five types of the load: all of them are among the samples.
    let mut stride = (rate / SAMPLES_PER_SECOND).ceil().max(1.0) as usize;
    while stride.is_multiple_of(2) && stride > 1 || stride.is_multiple_of(5) {
        stride += 1;
    }
    let all = || (0..load.events.len()).step_by(stride);
    let mut coming: VecDeque<usize> = all().collect();
    let mut waiting: Vec<usize> = Vec::new();
    let mut seen = Vec::with_capacity(coming.len());
    let end = timetable.of(load.events.len()) + OVERTIME;
    while !(coming.is_empty() && waiting.is_empty()) {
        anyhow::ensure!(Instant::now() < end, "{} events are not processed in time", waiting.len());
        while let Some(index) = coming.pop_front_if(|index| timetable.of(*index) <= Instant::now()) {
            waiting.push(index);
        }
        let ids: Vec<&str> = waiting
            .iter()
            .take(LOOKED_FOR)
            .filter_map(|index| load.events.get(*index))
            .map(|event| event.id.as_str())
            .collect();
        if !ids.is_empty() {
            let finished = scratch.finished_of(&ids).await?;
            let now = Instant::now();
            waiting.retain(|index| {
                let done = load.events.get(*index).is_some_and(|event| finished.contains(&event.id));
                if done {
                    seen.push(now.saturating_duration_since(timetable.of(*index)));
                }
                !done
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(seen)
}

impl Figures {
    pub(super) fn tables(&self) -> Vec<Table> {
        let mut idle = self.singles.cells();
        idle.extend([
            ("capacity (events/s)".to_owned(), or_dash(Some(self.capacity_per_second))),
            (STOLEN.to_owned(), stolen(self.capacity_stolen_percent)),
            ("peak memory of web (MiB)".to_owned(), or_dash(self.web_peak_memory_mib)),
            ("peak memory of worker (MiB)".to_owned(), or_dash(self.worker_peak_memory_mib)),
        ]);
        let mut half = self.half_load.cells();
        half.extend(Latencies::headings("POST to processed").into_iter().zip(self.end_to_end_half_load_ms.cells()));
        half.push(("samples".to_owned(), self.samples.to_string()));
        vec![row(idle), row(half)]
    }
}
