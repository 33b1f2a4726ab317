//! The worker process: Apalis with its traps closed, the schedules and the rescue.
//!
//! One job is fetched at a time per slot, because a worker with prefetched jobs beats no heart; a job is a batch of
//! events, so this costs nothing. Names are unique per start and restart; any poll error restarts the worker.

mod attempt;
mod legible;

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::*;
use apalis_core::backend::ext::poll_strategy::PollWith;
use apalis_core::backend::finalize::Durable;
use apalis_core::backend::persistence::TaskPersistLayer;
use apalis_core::backend::{BackendConfig, WireFormatBackend};
use apalis_postgres::PostgresStorage;
use apalis_sqlite::{JsonCodec, SqliteStorage};
use billing::store::{Engine, PoolSizes, postgres_pool};
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::queue::{postgres_name, sqlite_name};
use crate::schedule::Ticker;
use crate::wake::Signal;
use crate::{Context, Queue, foreign, set_back};
use attempt::AttemptLayer;
use legible::Legible;

/// A worker that has not been heard of for `HEARTBEAT × MISSED` = 20 s is dead, and another beat later at most its jobs
/// run elsewhere.
const HEARTBEAT: Duration = Duration::from_secs(5);
const MISSED: usize = 4;
/// How long a worker waits before it starts again after an error, such as a database that is gone.
const RESTART: Duration = Duration::from_millis(500);
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

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("the workers failed: {0}")]
    Monitor(String),
}

impl Host {
    /// Works until `shutdown`, then finishes what runs and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), HostError> {
        let signal = Signal::default();
        let watch = tokio::spawn(signal.clone().watch(self.context.db.clone(), self.schema.clone()));
        let restarted = Arc::new(Notify::new());
        let upkeep = tokio::spawn(upkeep(self.context.clone(), restarted.clone()));
        let mut monitor = Monitor::new()
            .should_restart(move |worker, error| {
                tracing::warn!(worker = worker.name(), %error, "a worker starts again");
                restarted.notify_one();
                // The callback cannot wait in any other way.
                std::thread::sleep(RESTART);
                true
            })
            .shutdown_timeout(self.grace);
        for (queue, concurrency) in &self.queues {
            monitor = self.register(monitor, *queue, *concurrency, &signal);
        }
        let result = monitor
            .run_with_signal(async {
                shutdown.await;
                Ok(())
            })
            .await;
        watch.abort();
        upkeep.abort();
        result.map_err(|error| HostError::Monitor(error.to_string()))
    }

    fn register(&self, monitor: Monitor, queue: Queue, concurrency: usize, signal: &Signal) -> Monitor {
        let signal = signal.clone();
        match &self.context.db {
            Engine::Postgres(pool) => {
                let pool = pool_of_queue(pool);
                let config = apalis_postgres::Config::default()
                    .queue(postgres_name(&self.schema, queue))
                    .batch_size(1)
                    .heartbeat_interval(HEARTBEAT)
                    .missed_heartbeats(MISSED);
                self.register_on(monitor, queue, concurrency, move || {
                    let storage = PostgresStorage::new(&pool).with_config(config.clone());
                    Legible(PollWith::new(storage, signal.wake(queue)))
                })
            }
            Engine::Sqlite(file) => {
                let pool = file.writer.clone();
                let config = apalis_sqlite::Config::default()
                    .queue(sqlite_name(queue))
                    .batch_size(1)
                    .heartbeat_interval(HEARTBEAT)
                    .missed_heartbeats(MISSED);
                self.register_on(monitor, queue, concurrency, move || {
                    let storage = SqliteStorage::new(&pool).with_config(config.clone());
                    Legible(PollWith::new(storage, signal.wake(queue)))
                })
            }
        }
    }

    fn register_on<B: Storage>(
        &self,
        monitor: Monitor,
        queue: Queue,
        concurrency: usize,
        storage: impl Fn() -> B + Send + Sync + 'static,
    ) -> Monitor {
        let context = self.context.clone();
        monitor.register(move |restart| {
            let name = format!("{}-{}-{}-{restart}", queue.as_str(), std::process::id(), billing::clock::new_id());
            let runner = context.clone();
            WorkerBuilder::new(name)
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
/// were when a plan was made: plans are kept, and one that reads the whole table takes 20 ms a job after 20,000 of them.
pub(crate) fn pool_of_queue(pool: &PgPool) -> PgPool {
    let off = ["synchronous_commit", "enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"];
    let options = (*pool.connect_options()).clone().options(off.map(|name| (name, "off")));
    postgres_pool(options, PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(30) })
}

/// The schedules, the rescue and the pruning, for as long as the worker lives. A failure is logged and tried again.
async fn upkeep(context: Context, restarted: Arc<Notify>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut rescue = tokio::time::interval(RESCUE_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let mut ticker = Ticker::default();
    let failed = |what: &str, error: sqlx::Error| tracing::warn!(%error, "{what} failed and will be tried again");
    loop {
        tokio::select! {
            _ = second.tick() => ticker.tick(&context).await.unwrap_or_else(|error| failed("a schedule", error)),
            // Perhaps over a row that cannot be read.
            () = restarted.notified() => {
                foreign::put_aside(&context.db).await.map_or_else(|error| failed("the search for foreign jobs", error), drop);
            }
            _ = rescue.tick() => {
                foreign::put_aside(&context.db).await.map_or_else(|error| failed("the search for foreign jobs", error), drop);
                set_back::bring_back(&context.db).await.map_or_else(|error| failed("the search for jobs of the future", error), drop);
                crate::rescue(&context).await.map_or_else(|error| failed("the rescue", error), drop);
            }
            _ = prune.tick() => {
                crate::prune(&context.db).await.map_or_else(|error| failed("the pruning", error), drop);
            }
        }
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
