//! The worker process: Apalis with its traps closed, the schedules and the rescue.
//!
//! One job is fetched at a time per slot, because a worker with prefetched jobs beats no heart; a job is a batch of
//! events, so this costs nothing. What is fetched begins at once, so that it has begun is not written down: it would be a third
//! commit a job, for a word (`Running` instead of `Queued`) that means the same here. Names are unique per start and restart;
//! any poll error restarts the worker.
//!
//! The library stops badly: from the signal on it looks at its queues no more until the last job is done, and so lets go of
//! nothing that it was about to read or write just then: a connection, a row, on SQLite the file. The last jobs may be waiting
//! for just that, and others with them. Therefore the library hears of the signal only once no job runs.

mod attempt;
mod backend;

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::*;
use apalis_core::backend::finalize::Durable;
use apalis_core::backend::persistence::TaskPersistLayer;
use apalis_core::backend::{BackendConfig, WireFormatBackend};
use apalis_postgres::PostgresStorage;
use apalis_sqlite::{JsonCodec, SqliteStorage};
use billing::store::{Db, Engine, PoolSizes, postgres_pool};
use serde_json::Value;
use sqlx::PgPool;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

use crate::bounded::done_within;
use crate::queue::{postgres_name, sqlite_name};
use crate::schedule::Ticker;
use crate::tuning::OFF_BY_INDEX;
use crate::wake::Signal;
use crate::{Context, Queue, foreign, set_back};
use attempt::AttemptLayer;
pub(crate) use backend::Careful;

/// A worker that has not been heard of for `HEARTBEAT × MISSED` = 20 s is dead, and another beat later at most its jobs
/// run elsewhere.
const HEARTBEAT: Duration = Duration::from_secs(5);
const MISSED: usize = 4;
/// How long a worker waits before it starts again after an error, such as a database that is gone.
const RESTART: Duration = Duration::from_millis(500);
/// What is left to write down once no job runs: acknowledgements.
const CLOSING: Duration = Duration::from_secs(2);
const RESCUE_EVERY: Duration = Duration::from_secs(30);
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// What a worker process does and how long it may take to stop.
pub struct Host {
    pub context: Context,
    /// Where our tables are on PostgreSQL; part of the queues' names there.
    pub schema: String,
    /// The queues to work on, with the jobs at a time.
    pub queues: Vec<(Queue, usize)>,
    /// Running jobs have this long after the signal; what is cut off runs again elsewhere.
    pub grace: Duration,
}

/// What the workers of one process share.
struct Process {
    /// Part of the workers' names.
    id: String,
    signal: Signal,
}

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("the workers failed: {0}")]
    Monitor(String),
}

/// The library's callback cannot wait in any other way; what else this thread would do, another does meanwhile.
fn pause(duration: Duration) {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        tokio::task::block_in_place(|| std::thread::sleep(duration));
    } else {
        std::thread::sleep(duration);
    }
}

impl Host {
    /// Works until `shutdown`, then finishes what runs and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), HostError> {
        let process = Process { id: billing::clock::new_id(), signal: Signal::default() };
        let watch = tokio::spawn(process.signal.clone().watch(self.context.db.clone(), self.schema.clone()));
        let restarted = Arc::new(Notify::new());
        let upkeep = tokio::spawn(upkeep(self.context.clone(), restarted.clone()));
        let mut monitor = Monitor::new()
            .should_restart(move |worker, error| {
                tracing::warn!(worker = worker.name(), %error, "a worker starts again");
                restarted.notify_one();
                pause(RESTART);
                true
            })
            .shutdown_timeout(CLOSING);
        for (queue, concurrency) in &self.queues {
            monitor = self.register(monitor, *queue, *concurrency, &process);
        }
        let running = &self.context.running;
        let result = monitor
            .run_with_signal(async {
                shutdown.await;
                running.close();
                if tokio::time::timeout(self.grace, running.wait()).await.is_err() {
                    let jobs = running.len();
                    tracing::warn!(
                        jobs,
                        "jobs did not finish within the grace time, are cut off, and run again elsewhere"
                    );
                }
                Ok(())
            })
            .await;
        watch.abort();
        upkeep.abort();
        // What was cut off goes on until the process ends, and looks like what has not begun: all is left alone then.
        if running.is_empty()
            && let Err(reason) = done_within(CLOSING, give_back(&self.context.db, &process.id)).await
        {
            tracing::warn!(
                reason,
                "jobs that were fetched and not begun run elsewhere only when this worker is missed"
            );
        }
        result.map_err(|error| HostError::Monitor(error.to_string()))
    }

    fn register(&self, monitor: Monitor, queue: Queue, concurrency: usize, process: &Process) -> Monitor {
        let (signal, running) = (process.signal.clone(), self.context.running.clone());
        match &self.context.db {
            Engine::Postgres(pool) => {
                let pool = pool_of_queue(pool);
                let config = apalis_postgres::Config::default()
                    .queue(postgres_name(&self.schema, queue))
                    .batch_size(1)
                    .lock_tasks(false)
                    .heartbeat_interval(HEARTBEAT)
                    .missed_heartbeats(MISSED);
                self.register_on(monitor, queue, concurrency, process, move || {
                    let storage = PostgresStorage::new(&pool).with_config(config.clone());
                    Careful::new(storage, signal.wake(queue), &running)
                })
            }
            Engine::Sqlite(file) => {
                let pool = file.writer.clone();
                let config = apalis_sqlite::Config::default()
                    .queue(sqlite_name(queue))
                    .batch_size(1)
                    .lock_tasks(false)
                    .heartbeat_interval(HEARTBEAT)
                    .missed_heartbeats(MISSED);
                self.register_on(monitor, queue, concurrency, process, move || {
                    let storage = SqliteStorage::new(&pool).with_config(config.clone());
                    Careful::new(storage, signal.wake(queue), &running)
                })
            }
        }
    }

    fn register_on<B: Storage>(
        &self,
        monitor: Monitor,
        queue: Queue,
        concurrency: usize,
        process: &Process,
        storage: impl Fn() -> B + Send + Sync + 'static,
    ) -> Monitor {
        let context = self.context.clone();
        let name = format!("{}-{}-{}", queue.as_str(), std::process::id(), process.id);
        monitor.register(move |restart| {
            let runner = context.clone();
            WorkerBuilder::new(format!("{name}-{restart}"))
                .backend(storage())
                .concurrency(concurrency)
                .parallelize(tokio::spawn)
                .layer(AttemptLayer { context: context.clone(), queue })
                .build(move |value: Value| {
                    let context = runner.clone();
                    async move { crate::registry::run(&context, &value).await.map(drop).map_err(BoxDynError::from) }
                })
        })
    }
}

/// The connections with which the queue fetches and acknowledges jobs.
///
/// A lost fetch or acknowledgement only makes a job run again, which finds its work done; so a crash may forget them, and they
/// need not wait for the disk. What a job writes itself is not affected. And jobs are found by their keys, however few there
/// were when the worker started: a plan that was made then and kept takes the index by id from end to end, 5 ms a job after
/// 20,000 of them. To plan an acknowledgement takes 0.2 ms.
pub(crate) fn pool_of_queue(pool: &PgPool) -> PgPool {
    let off = OFF_BY_INDEX.into_iter().chain(["synchronous_commit"]).map(|name| (name, "off"));
    let options = (*pool.connect_options()).clone().options(off.chain([("plan_cache_mode", "force_custom_plan")]));
    postgres_pool(options, PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(30) })
}

/// Jobs that this process had fetched when it was told to stop and has not begun, or whose end it could not write down any more;
/// those find their work done. None of them may run.
async fn give_back(db: &Db, process: &str) -> sqlx::Result<()> {
    let mine = format!("%-{process}-%");
    match db {
        Engine::Postgres(pool) => {
            let sql = "update apalis.jobs set status = 'Pending', lock_by = null, lock_at = null
                       where status = 'Queued' and lock_by like $1";
            sqlx::query(sql).bind(mine).execute(pool).await.map(drop)
        }
        Engine::Sqlite(file) => {
            let sql = "update Jobs set status = 'Pending', lock_by = null, lock_at = null
                       where status = 'Queued' and lock_by like $1";
            sqlx::query(sql).bind(mine).execute(&file.writer).await.map(drop)
        }
    }
}

/// The schedules, the rescue and the pruning, for as long as the worker lives. A failure is logged and tried again.
async fn upkeep(context: Context, restarted: Arc<Notify>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut rescue = tokio::time::interval(RESCUE_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let mut ticker = Ticker::default();
    let db = &context.db;
    loop {
        tokio::select! {
            _ = second.tick() => see_to("a schedule", ticker.tick(&context)).await,
            // Perhaps over a row that cannot be read.
            () = restarted.notified() => see_to("the search for foreign jobs", foreign::put_aside(db)).await,
            _ = rescue.tick() => {
                see_to("the search for foreign jobs", foreign::put_aside(db)).await;
                see_to("the search for jobs of the future", set_back::bring_back(db)).await;
                see_to("the rescue", crate::rescue(&context)).await;
            }
            _ = prune.tick() => see_to("the pruning", crate::prune(db)).await,
        }
    }
}

/// What waits for a lock of somebody else's, or panics, keeps the rest of the upkeep waiting no longer than this.
const UPKEEP_MOST: Duration = Duration::from_secs(30);

async fn see_to<T>(what: &str, work: impl Future<Output = sqlx::Result<T>>) {
    if let Err(reason) = done_within(UPKEEP_MOST, work).await {
        tracing::warn!(reason, "{what} failed and will be tried again");
    }
}

/// What both engines' storages have in common; naming it makes one registration serve both.
trait Storage:
    Backend<Task = Task<Vec<u8>>>
    + BackendConfig<Args = Value, Kind = Durable, Layer = TaskPersistLayer<JsonCodec<Value>, Value>>
    + WireFormatBackend<Codec = JsonCodec<Vec<u8>>, Compact = Vec<u8>>
    + Send
    + Unpin
    + 'static
{
}

impl<B> Storage for B where
    B: Backend<Task = Task<Vec<u8>>>
        + BackendConfig<Args = Value, Kind = Durable, Layer = TaskPersistLayer<JsonCodec<Value>, Value>>
        + WireFormatBackend<Codec = JsonCodec<Vec<u8>>, Compact = Vec<u8>>
        + Send
        + Unpin
        + 'static
{
}
