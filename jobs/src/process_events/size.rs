//! How large a batch may be.
//!
//! An event that fails takes back what was done for all others of its batch, and would do so again in every batch until its
//! own job has run. So after a batch that failed the next is half as large, and after one that did not twice as large: what
//! waits around such an event is worked off in a few tries instead of one event at a time. And a batch whose bodies take much
//! memory is followed by a smaller one.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Events of a batch: those of a job, and what it takes along from the backlog.
const MOST: usize = 480;
/// Bytes of a batch's bodies. Most are a few KiB each; a receiver takes some of a hundred times that.
const BYTES_MOST: usize = 16 << 20;

/// The size of the next batch of this process.
#[derive(Debug)]
pub struct BatchSize(AtomicUsize);

impl Default for BatchSize {
    fn default() -> Self {
        Self(AtomicUsize::new(MOST))
    }
}

impl BatchSize {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// After a batch of `size` that was processed, with bodies of so many bytes. Of batches at the same time the last decides,
    /// which does no harm.
    pub(super) fn processed(&self, size: usize, bytes: usize) {
        if bytes > BYTES_MOST {
            self.shrink(size);
        } else if bytes <= BYTES_MOST / 2 {
            self.0.store(size.saturating_mul(2).min(MOST), Ordering::Relaxed);
        }
    }

    /// After a batch of `size` that failed.
    pub(super) fn shrink(&self, size: usize) {
        self.0.store((size / 2).max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_never_empty_and_never_larger_than_all() {
        let size = BatchSize::default();
        for _ in 0..20 {
            size.shrink(size.get());
        }
        assert_eq!(size.get(), 1);
        for _ in 0..20 {
            size.processed(size.get(), 0);
        }
        assert_eq!(size.get(), MOST);
    }

    #[test]
    fn large_bodies_make_small_batches() {
        let size = BatchSize::default();
        let after = |body: usize| {
            for _ in 0..20 {
                size.processed(size.get(), size.get() * body);
            }
            size.get()
        };
        let large = after(1 << 20);
        assert!((8..=16).contains(&large), "{large} of a MiB each");
        assert_eq!(after(4 << 10), MOST);
        assert_eq!(after(BYTES_MOST * 2), 1, "one is taken however large it is");
    }
}
