//! What can be measured, one file each.

mod all;
mod backlog;
mod billing_read;
mod end_to_end;
mod ingest;
mod mail;
mod sink;
mod sweep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use billing::stripe::Secrets;
use comfy_table::Table;
use serde::Serialize;

use super::Args;
use super::disks::{DiskStill, Disks};
use super::driver::{Closed, closed};
use super::latencies::Latencies;
use super::load::{Load, Signed};
use super::processes::Process;
use super::scratch::Scratch;
use super::seed::Directory;
use crate::progress::Progress;

/// Of a worker that processes events and sends nothing: processed means that the state is written and the effects are
/// queued. Sending mail is another measurement.
const EVENTS_ALONE: [&str; 2] = ["--queues", "events"];
/// The connections that are measured unless others are asked for.
const CONNECTIONS: [u16; 3] = [1, 16, 64];
/// Single events, for the way from POST to processed; fewer where there are few events at all.
const SINGLES: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// Accepting events, processing them as a backlog, and single events from POST to processed
    All,
    /// Accepting events: in a closed loop over 1, 16 and 64 connections, then at a fixed rate
    Ingest,
    /// Processing a backlog, with one worker process and then with two
    Process,
    /// From POST to processed: idle, and at half of what receiver and worker manage together
    EndToEnd,
    /// Sending mails, one for each event
    Mail,
    /// Ending the trials that are due, one of 20 workspaces
    Sweep,
    /// GET /v1/workspaces/{id}/billing over 1, 16 and 64 connections
    BillingRead,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::EndToEnd => "end-to-end",
            Self::Mail => "mail",
            Self::Sweep => "sweep",
            Self::BillingRead => "billing-read",
        }
    }

    /// How many there are unless another number is asked for.
    pub(super) fn workspaces(self) -> u32 {
        if self == Self::Sweep { 1_000_000 } else { 2_000 }
    }

    pub(super) fn directory(self) -> Directory {
        if matches!(self, Self::Sweep | Self::BillingRead) { Directory::Alive } else { Directory::Blank }
    }

    pub(super) async fn measure(self, bench: &Bench<'_>) -> anyhow::Result<Figures> {
        Ok(match self {
            Self::All => Figures::All(all::measure(bench).await?),
            Self::Ingest => Figures::Ingest(ingest::measure(bench).await?),
            Self::Process => Figures::Process(backlog::measure(bench).await?),
            Self::EndToEnd => Figures::EndToEnd(end_to_end::measure(bench).await?),
            Self::Mail => Figures::Mail(mail::measure(bench).await?),
            Self::Sweep => Figures::Sweep(sweep::measure(bench).await?),
            Self::BillingRead => Figures::BillingRead(billing_read::measure(bench).await?),
        })
    }
}

/// What was measured.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Figures {
    All(all::Figures),
    Ingest(ingest::Figures),
    Process(backlog::Figures),
    EndToEnd(end_to_end::Figures),
    Mail(mail::Figures),
    Sweep(sweep::Figures),
    BillingRead(billing_read::Figures),
}

impl Figures {
    /// Fills in how often the yardstick it is.
    pub(super) fn relate(&mut self, yardstick: Option<f64>) {
        match self {
            Self::All(figures) => figures.relate(yardstick),
            Self::Ingest(figures) => figures.relate(yardstick),
            Self::Process(figures) => figures.relate(yardstick),
            Self::EndToEnd(_) | Self::Mail(_) | Self::Sweep(_) | Self::BillingRead(_) => {}
        }
    }

    pub(super) fn tables(&self) -> Vec<Table> {
        match self {
            Self::All(figures) => figures.tables(),
            Self::Ingest(figures) => figures.tables(),
            Self::Process(figures) => figures.tables(),
            Self::EndToEnd(figures) => figures.tables(),
            Self::Mail(figures) => figures.tables(),
            Self::Sweep(figures) => figures.tables(),
            Self::BillingRead(figures) => figures.tables(),
        }
    }
}

/// What every mode works with.
pub(super) struct Bench<'a> {
    pub(super) args: &'a Args,
    pub(super) scratch: &'a Scratch,
    pub(super) secrets: Secrets,
    /// Workspaces that the load is spread over.
    pub(super) workspaces: u32,
}

impl Bench<'_> {
    /// New events, signed.
    fn load(&self, events: usize) -> Arc<Signed> {
        Load::mixed(events, self.workspaces).signed(&self.secrets)
    }

    /// The connections to measure with.
    fn connections(&self) -> Vec<u16> {
        self.args.concurrency.map_or(CONNECTIONS.to_vec(), |only| vec![only])
    }

    /// Posts everything over so many connections.
    async fn post(&self, load: &Arc<Signed>, to: SocketAddr, connections: u16) -> anyhow::Result<Closed> {
        let what = format!("accepting over {connections} connections");
        let progress = Arc::new(Progress::counting(what, load.events.len() as u64));
        closed(load, to, connections.into(), &progress).await
    }

    /// Puts so many events into the inbox, to be processed later.
    async fn backlog(&self, events: usize) -> anyhow::Result<()> {
        let load = self.load(events);
        let (web, address) = self.scratch.serve("web", &[]).await?;
        self.post(&load, address, self.args.most_connections()).await?;
        web.stop().await
    }

    /// Single events, one after the other, from POST to processed.
    async fn singles(&self, to: SocketAddr) -> anyhow::Result<Singles> {
        let count = SINGLES.min(self.args.events as usize / 5);
        let progress = Progress::counting("single events from POST to processed", count as u64);
        let quiet = Arc::new(Progress::none());
        let mut latencies = Vec::with_capacity(count);
        let disks = Disks::watch();
        for single in Load::mixed(count, self.workspaces).into_singles() {
            let single = single.signed(&self.secrets);
            let started = Instant::now();
            closed(&single, to, 1, &quiet).await?;
            for event in &single.events {
                self.scratch.finished(&event.id).await?;
            }
            latencies.push(started.elapsed());
            progress.add(1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Singles { end_to_end_idle_ms: Latencies::of(latencies), idle_disk_still: disks.still() })
    }
}

/// What single events came to.
#[derive(Serialize)]
struct Singles {
    end_to_end_idle_ms: Latencies,
    idle_disk_still: Option<DiskStill>,
}

impl Singles {
    fn cells(&self) -> Vec<(String, String)> {
        let mut cells: Vec<_> =
            Latencies::headings("idle, POST to processed").into_iter().zip(self.end_to_end_idle_ms.cells()).collect();
        cells.extend(DiskStill::cells(self.idle_disk_still));
        cells
    }
}

async fn stop_all(processes: Vec<Process>) -> anyhow::Result<()> {
    for process in processes {
        process.stop().await?;
    }
    Ok(())
}
