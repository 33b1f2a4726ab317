//! Turns: which process writes to the SQLite file next, and which works at its backlog.
//!
//! Left to themselves, writers of several processes poll for SQLite's lock with pauses of up to 100 ms, and one that writes
//! all the time keeps the others out. Here they stand in line for it, with nothing in their hands, and the kernel wakes the
//! next. Two files that are locked make the line: who wants to write takes the head of the line, waits there for the turn,
//! and leaves the head to the next once it has it; so nobody has two turns in a row while another waits.
//!
//! The workers stand in a second line of that kind, for all batches of a job: a process that finds the file changed by another
//! reads again every page that it had in memory, so it is cheaper if one of them works for a while, and then the next.
//!
//! It is a courtesy and no guard, that is still SQLite's lock: who cannot stand in line, or has stood for long behind a
//! process that is perhaps stopped, goes beside it. The kernel ends the turn of a process that dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, oneshot};

use super::sqlite_file::beside;

/// Nothing that is written takes as long by far.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nor do the batches of a job.
const PATIENCE_FOR_LANE: Duration = Duration::from_secs(10);

/// A process's place in the line of one file; one of its connections has the turn at a time.
#[derive(Debug)]
pub(super) struct Turns {
    line: Arc<Line>,
    /// The lock, while it is our turn.
    held: Mutex<Option<File>>,
    patience: Duration,
}

#[derive(Debug)]
struct Line {
    head: PathBuf,
    turn: PathBuf,
    /// Whether a thread of this process stands in line. One at most: should it stand there for one who went, the next goes
    /// beside the line at once.
    standing: AtomicBool,
}

impl Turns {
    /// The line for the file at `database`, which has two small files beside it.
    pub(super) fn of(database: &Path) -> Self {
        Self::between(beside(database, "-head"), beside(database, "-turn"), PATIENCE)
    }

    fn between(head: PathBuf, turn: PathBuf, patience: Duration) -> Self {
        let line = Line { head, turn, standing: AtomicBool::new(false) };
        Self { line: Arc::new(line), held: Mutex::new(None), patience }
    }

    /// Waits for the turn; when its patience is over it goes on without. Having it already, as after a connection that broke,
    /// is fine.
    pub(super) async fn take(&self) {
        if self.lock().is_some() {
            return;
        }
        let turn = match self.line.at_once() {
            Ok(Some(turn)) => Ok(turn),
            Ok(None) if self.line.standing.swap(true, Ordering::AcqRel) => return,
            Ok(None) => self.stand().await,
            Err(error) => Err(error),
        };
        match turn {
            Ok(turn) => *self.lock() = Some(turn),
            Err(error) => tracing::debug!(%error, "going on without waiting for a turn"),
        }
    }

    /// Leaves the turn to the next.
    pub(super) fn leave(&self) {
        drop(self.lock().take());
    }

    /// Stands in line in a thread of its own, since the kernel cannot be waited for in any other way; a thread that has
    /// nobody to give the turn to any more leaves it at once.
    async fn stand(&self) -> io::Result<File> {
        let (give, given) = oneshot::channel();
        let line = Arc::clone(&self.line);
        let spawned = std::thread::Builder::new().name("turn".to_owned()).spawn(move || {
            let turn = line.wait();
            line.standing.store(false, Ordering::Release);
            drop(give.send(turn));
        });
        if let Err(error) = spawned {
            self.line.standing.store(false, Ordering::Release);
            return Err(error);
        }
        match tokio::time::timeout(self.patience, given).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => Err(io::Error::other("the thread that waited is gone")),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// A file is as good after a panic as before.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one lane of a SQLite file, in which one job works at a time.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    turns: Arc<Turns>,
    /// Which job of this process works or stands in line.
    one: Arc<tokio::sync::Mutex<()>>,
}

/// The one place of a process in the line for the lane; its other jobs wait until it is dropped.
#[derive(Debug)]
pub struct LanePlace {
    turns: Arc<Turns>,
    one: OwnedMutexGuard<()>,
    waited: bool,
}

/// A job's turn in the lane; others stand in line until it is dropped.
#[derive(Debug)]
pub struct LaneTurn {
    turns: Arc<Turns>,
    _one: OwnedMutexGuard<()>,
}

impl Lane {
    pub(super) fn of(database: &Path) -> Self {
        let turns = Turns::between(beside(database, "-next"), beside(database, "-lane"), PATIENCE_FOR_LANE);
        Self { turns: Arc::new(turns), one: Arc::default() }
    }

    pub(super) async fn place(&self) -> LanePlace {
        let (one, waited) = match Arc::clone(&self.one).try_lock_owned() {
            Ok(one) => (one, false),
            Err(_) => (Arc::clone(&self.one).lock_owned().await, true),
        };
        LanePlace { turns: Arc::clone(&self.turns), one, waited }
    }
}

impl LanePlace {
    /// Whether another job of this process had it first.
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// Waits until no other process has the turn.
    pub async fn turn(self) -> LaneTurn {
        self.turns.take().await;
        LaneTurn { turns: self.turns, _one: self.one }
    }
}

impl Drop for LaneTurn {
    fn drop(&mut self) {
        self.turns.leave();
    }
}

impl Line {
    /// The turn, if nobody has it or waits for it.
    fn at_once(&self) -> io::Result<Option<File>> {
        let (head, turn) = (open(&self.head)?, open(&self.turn)?);
        Ok((head.try_lock().is_ok() && turn.try_lock().is_ok()).then_some(turn))
    }

    fn wait(&self) -> io::Result<File> {
        let (head, turn) = (open(&self.head)?, open(&self.turn)?);
        head.lock()?;
        turn.lock()?;
        Ok(turn)
    }
}

/// Opened anew for each turn: a lock belongs to what was opened, so one that nobody waits for any more goes with it.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> (tempfile::TempDir, Turns, Turns) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        (dir, Turns::of(&path), Turns::of(&path))
    }

    fn has(turns: &Turns) -> bool {
        turns.lock().is_some()
    }

    /// Without the head of the line, who leaves the turn would have it again before the other has woken up.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_has_two_turns_in_a_row_while_another_waits() {
        let (_dir, one, other) = two();
        one.take().await;
        let other = Arc::new(other);
        let waiting = tokio::spawn({
            let other = Arc::clone(&other);
            async move { other.take().await }
        });
        while !other.line.standing.load(Ordering::Acquire) || open(&other.line.head).unwrap().try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        one.leave();
        let again = tokio::spawn(async move {
            one.take().await;
            one
        });
        waiting.await.unwrap();
        assert!(has(&other));
        other.leave();
        assert!(has(&again.await.unwrap()));
    }

    #[tokio::test]
    async fn who_has_waited_for_long_goes_on_and_does_not_wait_again_behind_the_same() {
        let (_dir, stopped, mut other) = two();
        stopped.take().await;
        other.patience = Duration::from_millis(1);
        other.take().await;
        assert!(!has(&other));
        other.patience = Duration::MAX;
        other.take().await;
        assert!(!has(&other));
        stopped.leave();
        // The thread that still stands in line has nobody to give the turn to.
        while stopped.line.at_once().unwrap().is_none() {
            std::thread::yield_now();
        }
    }

    /// Whether somebody stands in line when he has been asked once.
    async fn waits(turn: &mut (impl Future<Output = LaneTurn> + Unpin)) -> bool {
        tokio::select! {
            biased;
            _ = turn => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test]
    async fn of_the_jobs_of_two_processes_one_works_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let (lane, other) = (Lane::of(&path), Lane::of(&path));
        let turn = async |lane: &Lane| lane.place().await.turn().await;
        let first = turn(&lane).await;
        let (mut same, mut elsewhere) = (Box::pin(turn(&lane)), Box::pin(turn(&other)));
        assert!(waits(&mut same).await && waits(&mut elsewhere).await);
        drop(first);
        let elsewhere = elsewhere.await;
        assert!(has(&elsewhere.turns) && !has(&lane.turns));
        assert!(waits(&mut same).await);
        drop(elsewhere);
        assert!(has(&same.await.turns));
    }

    #[tokio::test]
    async fn where_no_file_can_be_made_everybody_writes() {
        let turns = Turns::of(Path::new("/nowhere/x.db"));
        turns.take().await;
        assert!(!has(&turns));
        turns.leave();
    }
}
