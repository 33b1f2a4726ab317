//! How long a part of a run took, and how much of the processor was not there meanwhile: the host of a virtual machine lends
//! its cores to others as it likes, and a figure that was measured while it did is of the host and not of the program.

use std::time::{Duration, Instant};

/// Runs from its making.
pub(super) struct Watch {
    started: Instant,
    ticks: Option<Ticks>,
}

/// What a watch says in the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Took {
    pub(super) time: Duration,
    /// Of all cores together, to a tenth; `None` where the kernel does not tell.
    pub(super) stolen_percent: Option<f64>,
}

impl Watch {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), ticks: Ticks::now() }
    }

    pub(super) fn took(&self) -> Took {
        let stolen_percent = self.ticks.zip(Ticks::now()).and_then(|(before, now)| before.stolen_percent_until(now));
        Took { time: self.started.elapsed(), stolen_percent }
    }
}

impl Took {
    pub(super) fn per_second(self, count: f64) -> f64 {
        count / self.time.as_secs_f64()
    }
}

/// What the processor's time was spent on since the machine was started, in the kernel's ticks.
#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::read(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// Of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and what is counted twice.
    fn read(stat: &str) -> Option<Self> {
        let times = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
        let times: Vec<u64> = times.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { all: times.iter().sum(), stolen: *times.get(7)? })
    }

    /// `None` where no time has passed.
    fn stolen_percent_until(self, later: Self) -> Option<f64> {
        let all = later.all.checked_sub(self.all).filter(|all| *all > 0)?;
        let stolen = later.stolen.checked_sub(self.stolen)?;
        Some((stolen as f64 * 1000.0 / all as f64).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stolen_is_of_the_time_between() {
        let read = |stat| Ticks::read(stat).unwrap();
        let before = read("cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
        assert_eq!((before.all, before.stolen), (1000, 35), "what is counted twice is left out");
        let later = read("cpu  180 0 60 900 10 0 5 45 9 0\n");
        assert_eq!(before.stolen_percent_until(later), Some(5.0));
        assert_eq!(before.stolen_percent_until(before), None);
        for none in ["", "cpu  1 2 3", "cpu  a 0 50 800 10 0 5 35", "intr 1 2 3 4 5 6 7 8"] {
            assert!(Ticks::read(none).is_none(), "{none}");
        }
    }
}
