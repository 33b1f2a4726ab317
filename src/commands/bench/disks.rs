//! Whether a disk stood still. That of a virtual machine at times completes nothing of what it was asked for, be it a single
//! sync of 16 KiB, for a good part of a second, and every commit waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;

const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A disk that moves is never without an answer for so long.
const STANDS_STILL: Duration = Duration::from_millis(50);

/// How long a disk had something to do and completed nothing, of those of this machine that which did so for longest.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct DiskStill {
    /// Of the time, to a tenth.
    percent: f64,
    longest_ms: f64,
}

impl DiskStill {
    pub(super) fn cells(still: Option<Self>) -> Vec<(String, String)> {
        let cells = still.map_or_else(
            || ["-", "-"].map(str::to_owned),
            |still| [format!("{:.1}", still.percent), format!("{:.0}", still.longest_ms)],
        );
        ["the disk stood still (%)", "at most (ms)"].map(str::to_owned).into_iter().zip(cells).collect()
    }
}

/// Looks at the disks from its making, for as long as it lives.
pub(super) struct Disks {
    started: Instant,
    seen: Arc<Mutex<Seen>>,
    looking: JoinHandle<()>,
}

impl Disks {
    pub(super) fn watch() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let ours = Arc::clone(&seen);
        let looking = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let Ok(stats) = std::fs::read_to_string("/proc/diskstats") else { return };
                lock(&ours).look(&stats, Instant::now());
            }
        });
        Self { started: Instant::now(), seen, looking }
    }

    /// `None` where the kernel does not tell.
    pub(super) fn still(&self) -> Option<DiskStill> {
        lock(&self.seen).still(self.started.elapsed())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was seen of each disk.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, Disk>);

#[derive(Debug, Default)]
struct Disk {
    completed: u64,
    /// Since when it has something to do and has not completed anything.
    since: Option<Instant>,
    /// How long that is by now.
    still: Duration,
    total: Duration,
    longest: Duration,
}

impl Seen {
    /// What the kernel says of each disk: the third word of a line is its name, the fourth, eighth, fifteenth and nineteenth are the
    /// reads, writes, discards and flushes that it completed, the twelfth how many it is at.
    fn look(&mut self, stats: &str, now: Instant) {
        for line in stats.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
            let Some(name) = words.get(2) else { continue };
            let completed = [3, 7, 14, 18].map(number).iter().sum();
            let busy = number(11) > 0;
            let disk = self.0.entry((*name).to_owned()).or_insert_with(|| Disk { completed, ..Disk::default() });
            disk.look(completed, busy, now);
        }
    }

    fn still(&self, of: Duration) -> Option<DiskStill> {
        let worst = self.0.values().max_by_key(|disk| disk.total)?;
        let percent = worst.total.as_secs_f64() / of.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0;
        let longest_ms = (worst.longest.as_secs_f64() * 1000.0).round();
        Some(DiskStill { percent: (percent * 10.0).round() / 10.0, longest_ms })
    }
}

impl Disk {
    fn look(&mut self, completed: u64, busy: bool, now: Instant) {
        if completed != self.completed || !busy {
            self.completed = completed;
            self.since = busy.then_some(now);
            self.still = Duration::ZERO;
            return;
        }
        let still = now.saturating_duration_since(*self.since.get_or_insert(now));
        if still >= STANDS_STILL {
            let counted = if self.still < STANDS_STILL { Duration::ZERO } else { self.still };
            self.total += still.saturating_sub(counted);
            self.longest = self.longest.max(still);
        }
        self.still = still;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the kernel's, and one of a disk that nobody uses.
    fn stats(reads: u64, writes: u64, at: u64, flushes: u64) -> String {
        format!(
            " 253 0 vda {reads} 1 8 2 {writes} 1 16 9 {at} 40 50 0 0 0 0 {flushes} 3\n 254 0 zram0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    #[test]
    fn a_disk_stands_still_that_has_something_to_do_and_completes_nothing() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        assert!(seen.still(Duration::from_secs(1)).is_none(), "nothing is known");
        let at = |ms: u64| start + Duration::from_millis(ms);
        let idle = (0..10).map(|step| (step * 10, stats(5, 5, 0, 1)));
        let slow = (10..14).map(|step| (step * 10, stats(5, 5, 1, 1)));
        let moving = (14..40).map(|step| (step * 10, stats(5, 5 + step, 3, 1)));
        let still = (40..61).map(|step| (step * 10, stats(5, 50, 2, 1)));
        let again = (61..70).map(|step| (step * 10, stats(5, 50, 2, 2)));
        for (ms, stats) in idle.chain(slow).chain(moving).chain(still).chain(again) {
            seen.look(&stats, at(ms));
        }
        let found = seen.still(Duration::from_secs(2)).unwrap();
        // From 400 to 600, and from 610 to 690.
        assert_eq!((found.percent, found.longest_ms), (14.0, 200.0));
    }

    #[tokio::test]
    async fn what_the_kernel_says_can_be_read() {
        if let Ok(stats) = std::fs::read_to_string("/proc/diskstats") {
            let mut seen = Seen::default();
            seen.look(&stats, Instant::now());
            assert_eq!(seen.0.len(), stats.lines().count());
        }
    }
}
