//! When to look for the next job.
//!
//! A worker that begins a batch as soon as anything waits does many small ones at half of the load that it can take, each with
//! its twenty round trips, and is as busy as under all of it. So after a batch that found several events and left none, the
//! next job is looked for a moment later, until when more have come together. After one that found a single event, or more
//! than it could take, the next is looked for at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A moment. With three lanes, which take turns, an event waits for three of them at most, and those under way.
const MOMENT: Duration = Duration::from_millis(15);
/// What comes together at one time without any load: the events of one payment, say.
const SEVERAL: usize = 4;

/// Whether events come so fast that they should gather, as the last batch of this process saw it.
#[derive(Debug, Default)]
pub struct Gathering(AtomicBool);

impl Gathering {
    /// After a batch of so many `events`; `more` waited than it took.
    pub(super) fn after(&self, events: usize, more: bool) {
        self.0.store(events >= SEVERAL && !more, Ordering::Relaxed);
    }

    /// How long to wait before the next job is looked for.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.0.load(Ordering::Relaxed).then_some(MOMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_gather_who_came_several_at_a_time_and_left_nothing() {
        let gathering = Gathering::default();
        assert_eq!(gathering.pause(), None);
        for (events, more, gathers) in
            [(SEVERAL, false, true), (320, true, false), (40, false, true), (1, false, false)]
        {
            gathering.after(events, more);
            assert_eq!(gathering.pause().is_some(), gathers, "{events} events, more: {more}");
        }
    }
}
