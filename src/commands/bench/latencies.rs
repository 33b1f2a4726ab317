//! Percentiles of how long things took.

use std::time::Duration;

use serde::Serialize;

/// Percentiles in milliseconds, to a hundredth.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latencies {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Latencies {
    /// Headings of [`Self::cells`], for a table whose latencies are of `what`.
    pub(super) fn headings(what: &str) -> [String; 3] {
        ["p50", "p99", "max"].map(|part| format!("{what} {part} (ms)"))
    }

    /// All zero where nothing was measured.
    pub(super) fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: f64| {
            let index = (all.len().saturating_sub(1) as f64 * part).round() as usize;
            all.get(index).map_or(0.0, |latency| (latency.as_secs_f64() * 100_000.0).round() / 100.0)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }

    pub(super) fn cells(self) -> [String; 3] {
        [self.p50, self.p99, self.max].map(|ms| format!("{ms:.1}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_whole() {
        let latencies = Latencies::of((0..=100).rev().map(Duration::from_millis).collect());
        let found = (latencies.p50, latencies.p90, latencies.p99, latencies.max);
        assert_eq!(found, (50.0, 90.0, 99.0, 100.0));
        assert!(Latencies::of(Vec::new()).max.abs() < f64::EPSILON);
    }
}
