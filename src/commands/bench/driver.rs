//! How requests are sent: in a closed loop, where each connection waits for its answer before it sends again, and in an
//! open one, where they arrive at a fixed rate whatever the answers do.
//!
//! In the open loop a latency counts from the moment at which the request was to be sent, not from when a connection was
//! free for it: a receiver that stalls would otherwise hide all the requests that had to wait meanwhile. The timer's
//! millisecond is part of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::disks::{DiskStill, Disks};
use super::watch::{Took, Watch};
use crate::progress::Progress;

/// Requests that may be under way in the open loop; beyond it they wait, and their latency says so.
const OPEN_CONNECTIONS: usize = 128;
/// Fewer where little arrives: each connection is used so often, and the server does not close it meanwhile.
const USED_PER_SECOND: f64 = 2.0;
/// An open loop ends so long after its last arrival, answered or not.
const OVERTIME: Duration = Duration::from_secs(30);

/// What is sent.
pub(super) trait Requests: Send + Sync + 'static {
    /// How many there are.
    fn count(&self) -> usize;

    /// Writes the whole request with this index behind what `into` holds.
    fn write(&self, index: usize, into: &mut Vec<u8>);
}

/// What a closed loop came to: every request was answered 200.
pub(super) struct Closed {
    pub(super) latencies: Vec<Duration>,
    pub(super) took: Took,
}

impl Closed {
    pub(super) fn per_second(&self) -> f64 {
        self.took.per_second(self.latencies.len() as f64)
    }
}

/// Sends everything over so many connections, each request as soon as the one before it is answered.
///
/// # Errors
/// Something was answered otherwise than with 200, or not at all.
pub(super) async fn closed<R: Requests>(
    requests: &Arc<R>,
    to: SocketAddr,
    connections: usize,
    progress: &Arc<Progress>,
) -> anyhow::Result<Closed> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    let watch = Watch::start();
    for _ in 0..connections {
        let (requests, next, progress) = (requests.clone(), next.clone(), progress.clone());
        senders.spawn(async move {
            let mut connection = Connection::to(to).await?;
            let (mut latencies, mut request) = (Vec::new(), Vec::new());
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= requests.count() {
                    return anyhow::Ok(latencies);
                }
                request.clear();
                requests.write(index, &mut request);
                let sent = Instant::now();
                let status =
                    connection.ask(&request).await.with_context(|| format!("request {index} was not answered"))?;
                latencies.push(sent.elapsed());
                anyhow::ensure!(status == 200, "request {index} was answered {status}");
                progress.add(1);
            }
        });
    }
    let mut latencies = Vec::with_capacity(requests.count());
    while let Some(sent) = senders.join_next().await {
        latencies.extend(sent??);
    }
    Ok(Closed { latencies, took: watch.took() })
}

/// When which request is to be sent.
#[derive(Clone, Copy)]
pub(super) struct Timetable {
    start: Instant,
    per_second: f64,
}

impl Timetable {
    /// One that begins now.
    pub(super) fn from_now(per_second: f64) -> Self {
        Self { start: Instant::now(), per_second }
    }

    pub(super) fn of(&self, index: usize) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / self.per_second)
    }
}

/// What an open loop came to.
#[derive(Default)]
pub(super) struct Open {
    /// Of what was answered 200, from the moment at which it was to be sent.
    pub(super) latencies: Vec<Duration>,
    /// Answered otherwise.
    pub(super) refused: u64,
    /// Not sent before the end.
    pub(super) unsent: u64,
    pub(super) took: Took,
    pub(super) disk_still: Option<DiskStill>,
}

/// Sends everything when the timetable says so.
///
/// # Errors
/// A connection broke.
pub(super) async fn open<R: Requests>(
    requests: &Arc<R>,
    to: SocketAddr,
    timetable: Timetable,
    progress: &Arc<Progress>,
) -> anyhow::Result<Open> {
    let next = Arc::new(AtomicUsize::new(0));
    let end = timetable.of(requests.count()) + OVERTIME;
    let mut senders = JoinSet::new();
    let (watch, disks) = (Watch::start(), Disks::watch());
    let connections = (timetable.per_second / USED_PER_SECOND).ceil() as usize;
    for _ in 0..connections.clamp(1, OPEN_CONNECTIONS) {
        let (requests, next, progress) = (requests.clone(), next.clone(), progress.clone());
        senders.spawn(async move {
            let mut connection = Connection::to(to).await?;
            let (mut open, mut request) = (Open::default(), Vec::new());
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= requests.count() {
                    return anyhow::Ok(open);
                }
                if Instant::now() > end {
                    open.unsent += 1;
                    continue;
                }
                request.clear();
                requests.write(index, &mut request);
                let at = timetable.of(index);
                tokio::time::sleep_until(at.into()).await;
                let status =
                    connection.ask(&request).await.with_context(|| format!("request {index} was not answered"))?;
                if status == 200 {
                    open.latencies.push(at.elapsed());
                } else {
                    open.refused += 1;
                }
                progress.add(1);
            }
        });
    }
    let mut all = Open::default();
    while let Some(sent) = senders.join_next().await {
        let sent = sent??;
        all.latencies.extend(sent.latencies);
        all.refused += sent.refused;
        all.unsent += sent.unsent;
    }
    (all.took, all.disk_still) = (watch.took(), disks.still());
    Ok(all)
}
