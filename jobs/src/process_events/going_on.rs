//! Which lanes a job of this process goes on in.
//!
//! One in each, for two would only take turns; and in none where there are more lanes than it may be, for those of the others
//! would wait for a slot meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The lanes of one process; cheap to clone. In none a job goes on until it is told in how many.
#[derive(Clone, Debug, Default)]
pub struct GoingOn(Arc<Mutex<Lanes>>);

#[derive(Debug, Default)]
struct Lanes {
    /// In how many a job may go on.
    most: usize,
    /// Those that jobs of this process were of.
    met: BTreeSet<i16>,
    /// Those in which one goes on.
    taken: BTreeSet<i16>,
}

/// A job goes on in the lane until this is dropped.
#[derive(Debug)]
pub(super) struct InLane<'a> {
    all: &'a GoingOn,
    lane: i16,
}

impl GoingOn {
    /// A job may go on as long as there are no more lanes than these; 0: none, for the process is to stop.
    pub fn allow(&self, most: usize) {
        self.lanes().most = most;
    }

    /// `None`: another job goes on in the lane already, or none may.
    pub(super) fn in_lane(&self, lane: i16) -> Option<InLane<'_>> {
        let mut lanes = self.lanes();
        lanes.met.insert(lane);
        // Made only where it is the lane's: it gives the lane up when it is dropped.
        (lanes.few() && lanes.taken.insert(lane)).then(|| InLane { all: self, lane })
    }

    /// The lanes are as good after a panic as before.
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn few(&self) -> bool {
        self.met.len() <= self.most
    }
}

impl InLane<'_> {
    pub(super) fn may(&self) -> bool {
        self.all.lanes().few()
    }
}

impl Drop for InLane<'_> {
    fn drop(&mut self) {
        self.all.lanes().taken.remove(&self.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_goes_on_in_each_lane_while_there_are_few() {
        let going_on = GoingOn::default();
        assert!(going_on.in_lane(1).is_none(), "nobody has said that it may");
        going_on.allow(2);
        let first = going_on.in_lane(1).unwrap();
        assert!(going_on.in_lane(1).is_none() && going_on.in_lane(2).is_some_and(|second| second.may()));
        assert!(first.may());
        assert!(going_on.in_lane(3).is_none() && !first.may(), "there are three lanes, and one slot is for the third");
        going_on.allow(3);
        drop(first);
        let again = going_on.in_lane(1).unwrap();
        going_on.allow(0);
        assert!(!again.may() && going_on.in_lane(2).is_none());
    }
}
