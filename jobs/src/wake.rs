//! When a worker looks into the queue: at once when a job is told of, and every tick for those that were due later.
//!
//! The library's own interval and listener lose their wake-up when idle; here the waker is always registered, because
//! both sources are polled until they are pending. And a question to the queue that is under way when a job is told of may
//! have missed it, but the library spends the wake-up on going on with it: so where no job follows, it is asked once more.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use billing::store::{Db, Engine, PoolSizes, SqliteFile, postgres_pool};
use futures::StreamExt;
use futures::channel::mpsc::{Receiver, Sender, channel};
use sqlx::postgres::PgListener;
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use crate::Queue;
use crate::queue::{postgres_name, sqlite_name};

/// Retries and later jobs are found within this.
const TICK: Duration = Duration::from_millis(250);
/// How long after being told of a job to look once more, where none has come: by then what was under way is answered.
const AGAIN: Duration = Duration::from_millis(10);
/// How often it is looked whether a SQLite file has been written to.
const SQLITE_TICK: Duration = Duration::from_millis(5);
/// Those of the queues that have a job for somebody, or one at work, which is acknowledged when the queue is looked into; one
/// that is due later is found by the tick, too.
pub(crate) const WAITING_SQLITE: &str = "select value from json_each($1)
    where exists (select 1 from Jobs where job_type = value and status = 'Pending' and lock_by is null)
       or exists (select 1 from Jobs indexed by jobs_at_work where job_type = value and (status = 'Running' or status = 'Queued'))";
/// How long to wait before listening again after the connection is lost.
const RELISTEN: Duration = Duration::from_secs(1);
/// After so long without a word PostgreSQL is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(10);

/// Tells workers of new jobs.
#[derive(Clone, Default)]
pub(crate) struct Signal(Arc<Mutex<HashMap<Queue, Vec<Sender<()>>>>>);

impl Signal {
    fn listen(&self, queue: Queue) -> Receiver<()> {
        // One slot is enough: a wake-up that has not been taken yet stands for all that follow.
        let (sender, receiver) = channel(0);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(queue).or_default().push(sender);
        receiver
    }

    fn fire(&self, queue: Queue) {
        if let Some(senders) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&queue) {
            senders.retain_mut(|sender| !sender.try_send(()).is_err_and(|error| error.is_disconnected()));
        }
    }

    /// Watches the database for new jobs, for ever.
    pub(crate) async fn watch(self, db: Db, schema: String) {
        loop {
            let lost = match &db {
                Engine::Postgres(pool) => self.watch_postgres(pool, &schema).await,
                Engine::Sqlite(file) => self.watch_sqlite(file).await,
            };
            if let Err(error) = lost {
                tracing::debug!(%error, "not told of new jobs for the moment; the tick finds them");
            }
            tokio::time::sleep(RELISTEN).await;
        }
    }

    async fn watch_postgres(&self, pool: &sqlx::PgPool, schema: &str) -> sqlx::Result<()> {
        // A pool of its own: where nobody answers, the listener keeps its place until the kernel gives up.
        let sizes = PoolSizes { connections: 1, acquire_timeout: SILENCE };
        let own = postgres_pool((*pool.connect_options()).clone(), sizes);
        let mut listener = PgListener::connect_with(&own).await?;
        in_time(listener.listen("apalis::job::insert")).await?;
        let names = Queue::ALL.map(|queue| (queue, format!("\"{}\"", postgres_name(schema, queue))));
        loop {
            // `None`: the connection was lost and made anew, and something may have been missed.
            let Ok(told) = tokio::time::timeout(SILENCE, listener.try_recv()).await else {
                in_time(sqlx::query("select 1").execute(&mut listener)).await?;
                continue;
            };
            let told = told?;
            for (queue, name) in &names {
                if told.as_ref().is_none_or(|told| told.payload().contains(name.as_str())) {
                    self.fire(*queue);
                }
            }
        }
    }

    /// SQLite counts the commits of other connections; one connection that is kept sees the count move.
    async fn watch_sqlite(&self, file: &SqliteFile) -> sqlx::Result<()> {
        let mut connection = file.reader.acquire().await?;
        let names = serde_json::json!(Queue::ALL.map(sqlite_name)).to_string();
        let (mut known, mut pace) = (-1, Pace::default());
        let mut tick = tokio::time::interval(SQLITE_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !pace.asks(file.written_at()) {
                continue;
            }
            let (version,): (i64,) = sqlx::query_as("pragma data_version").fetch_one(&mut *connection).await?;
            if version != known {
                known = version;
                // Most commits bring a queue nothing, and to look into it means to write.
                let waiting: Vec<(String,)> =
                    sqlx::query_as(WAITING_SQLITE).bind(&names).fetch_all(&mut *connection).await?;
                for queue in Queue::ALL {
                    if waiting.iter().any(|(name,)| name == sqlite_name(queue)) {
                        self.fire(queue);
                    }
                }
            }
        }
    }

    /// What wakes one worker.
    pub(crate) fn wake(&self, queue: Queue) -> Wake {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Wake { tick, told: self.listen(queue), again: None }
    }
}

async fn in_time<T>(answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(SILENCE, answer).await.map_err(|_| std::io::Error::from(ErrorKind::TimedOut))?
}

/// At which ticks a SQLite file is asked whether it has changed, which wakes a thread; most of the time nobody has written.
#[derive(Default)]
struct Pace {
    written_at: Option<SystemTime>,
    /// Since it was written.
    ticks: u32,
}

impl Pace {
    /// Whether to ask now: it has been written since the last tick, or 1, 2, 4, 8 .. ticks ago. What is written is seen by
    /// others once it is on the disk, mostly a moment later, but that can take a second; and the file's time is that of the
    /// kernel's own last tick, so what follows within that does not move it.
    fn asks(&mut self, written_at: Option<SystemTime>) -> bool {
        if written_at.is_none() || written_at != self.written_at {
            *self = Self { written_at, ticks: 0 };
            return true;
        }
        self.ticks = self.ticks.saturating_add(1);
        self.ticks.is_power_of_two()
    }
}

pub(crate) struct Wake {
    tick: Interval,
    told: Receiver<()>,
    /// Until a job comes, or the time to look once more.
    again: Option<Pin<Box<Sleep>>>,
}

impl Wake {
    /// Whether the queue is to be looked into; whoever polls is woken when it is.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut fired = false;
        while self.tick.poll_tick(cx).is_ready() {
            fired = true;
        }
        while let Poll::Ready(Some(())) = self.told.poll_next_unpin(cx) {
            fired = true;
            self.again = Some(Box::pin(tokio::time::sleep(AGAIN)));
        }
        if self.again.as_mut().is_some_and(|again| again.as_mut().poll(cx).is_ready()) {
            self.again = None;
            fired = true;
        }
        fired
    }

    /// A job came: who was given one asks for the next without being told.
    pub(crate) fn came(&mut self) {
        self.again = None;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use apalis::prelude::{Backend, Task, WorkerContext};
    use tokio::time::Instant;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::host::Careful;
    use crate::queue::{Options, enqueue};
    use crate::{ProcessEvents, migrate};

    /// How long a question takes.
    const ANSWER: Duration = Duration::from_millis(3);

    type Job = Task<Vec<u8>>;

    /// A queue that is asked as the library asks: the answer is of when the question began, and while it is under way a
    /// wake-up only goes on with it.
    #[derive(Default)]
    struct Slow {
        jobs: Arc<Mutex<Vec<Job>>>,
        /// The answer to the question that is under way, and when it comes.
        asked: Option<(Option<Job>, Pin<Box<Sleep>>)>,
        questions: Arc<AtomicUsize>,
    }

    impl Backend for Slow {
        type Task = Job;
        type Error = Infallible;

        fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Job, Infallible>>> {
            let (_, answered) = self.asked.get_or_insert_with(|| {
                self.questions.fetch_add(1, Ordering::Relaxed);
                (self.jobs.lock().unwrap().pop(), Box::pin(tokio::time::sleep(ANSWER)))
            });
            std::task::ready!(answered.as_mut().poll(cx));
            let (job, _) = self.asked.take().unwrap();
            job.map_or(Poll::Pending, |job| Poll::Ready(Some(Ok(job))))
        }

        fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The clock of the test stands still but for what is waited for.
    #[tokio::test(start_paused = true)]
    async fn a_job_told_of_while_the_queue_is_asked_does_not_wait_for_the_tick() {
        let (signal, slow) = (Signal::default(), Slow::default());
        let jobs = Arc::clone(&slow.jobs);
        let mut backend = Careful::new(slow, signal.wake(Queue::Events), &TaskTracker::new());
        let worker = WorkerContext::new("worker");
        // The first tick asks, in vain.
        assert!(poll_fn(|cx| Poll::Ready(backend.poll_next(cx, &worker).is_pending())).await);
        jobs.lock().unwrap().push(Task::new(b"7".to_vec()));
        signal.fire(Queue::Events);
        let told = Instant::now();
        assert_eq!(poll_fn(|cx| backend.poll_next(cx, &worker)).await.unwrap().unwrap().args, b"7");
        assert!(told.elapsed() < TICK / 2, "{:?}", told.elapsed());
    }

    /// The worker is woken for much else: a job of its own begins or ends, a slot is free.
    #[tokio::test(start_paused = true)]
    async fn the_queue_is_asked_when_told_and_after_a_job_and_not_whenever_the_worker_is_woken() {
        let (signal, slow) = (Signal::default(), Slow::default());
        let (jobs, questions) = (Arc::clone(&slow.jobs), Arc::clone(&slow.questions));
        let asked = || questions.swap(0, Ordering::Relaxed);
        let mut backend = Careful::new(slow, signal.wake(Queue::Events), &TaskTracker::new());
        let worker = WorkerContext::new("worker");
        let answered = async |backend: &mut Careful<Slow>| {
            tokio::time::timeout(TICK / 2, poll_fn(|cx| backend.poll_next(cx, &worker))).await.is_ok()
        };
        assert!(!answered(&mut backend).await);
        assert_eq!(asked(), 1, "the first tick");
        jobs.lock().unwrap().push(Task::new(b"7".to_vec()));
        signal.fire(Queue::Events);
        assert!(answered(&mut backend).await);
        let mut woken = Context::from_waker(Waker::noop());
        assert!(backend.poll_next(&mut woken, &worker).is_pending());
        tokio::time::advance(ANSWER).await;
        for _ in 0..5 {
            assert!(backend.poll_next(&mut woken, &worker).is_pending());
        }
        assert_eq!(asked(), 2, "for the job, and whether there is another");
    }

    #[test]
    fn a_file_is_asked_when_it_has_been_written_and_less_and_less_after_that() {
        let mut pace = Pace::default();
        let mut asked = |written_at| (0..20).filter(|_| pace.asks(written_at)).collect::<Vec<u32>>();
        for second in 0..2 {
            let written_at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            assert_eq!(asked(Some(written_at)), [0, 1, 2, 4, 8, 16]);
        }
        assert_eq!(asked(None).len(), 20, "where the time cannot be told");
    }

    #[tokio::test]
    async fn what_another_process_writes_into_a_file_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("x.db").display());
        let sizes = PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(10) };
        let [ours, theirs] = [(); 2].map(|()| Db::open(&url, "billing", sizes).unwrap());
        migrate(&ours, "billing").await.unwrap();
        let signal = Signal::default();
        let mut told = signal.listen(Queue::Events);
        let watching = tokio::spawn(signal.watch(ours, "billing".to_owned()));
        for id in ["evt_1", "evt_2", "evt_3"] {
            let mut tx = theirs.begin().await.unwrap();
            let job = ProcessEvents { event_ids: vec![id.to_owned()], lane: 0 };
            enqueue(&mut tx, &job, &Options::default()).await.unwrap();
            tx.commit().await.unwrap();
            tokio::time::timeout(Duration::from_secs(20), told.next()).await.unwrap().unwrap();
        }
        watching.abort();
    }
}
