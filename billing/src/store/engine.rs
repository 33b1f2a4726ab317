//! Two engines behind one shape: `Db` is a place to read from, `Tx` is a transaction that writes.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::postgres_pool::{ENDS_BY_ITSELF, PoolSizes, postgres_pool};
use super::sqlite_file::{SqliteFile, WriterCache};
use super::statement::fetch;
use super::turns::LanePlace;

/// A handle of one of the two engines: a pool, a transaction, or a borrowed connection.
#[derive(Clone, Debug)]
pub enum Engine<P, S> {
    Postgres(P),
    Sqlite(S),
}

pub type Db = Engine<PgPool, SqliteFile>;
pub type Tx = Engine<Transaction<'static, Postgres>, Transaction<'static, Sqlite>>;

/// So much of what a connection writes into PostgreSQL's tables is left to the kernel, which otherwise lets it lie for half a
/// minute and then writes it all at once: commits, which wait for the same disk, took 0.4 s then. PostgreSQL has set this for
/// the processes of its own that write.
const WRITTEN_BACK_AFTER: &str = "256kB";

impl Db {
    /// Opens the database at `url` (`sqlite://path` or `postgres://…`) without connecting yet, so that a process starts
    /// while its database is down; `schema` is where the tables live on PostgreSQL.
    pub fn open(url: &str, schema: &str, sizes: PoolSizes) -> sqlx::Result<Self> {
        Self::open_with(url, schema, sizes, WriterCache::Usual)
    }

    /// The same for a process that works on jobs: on SQLite the connection that writes keeps 6 MiB more in memory.
    pub fn open_for_jobs(url: &str, schema: &str, sizes: PoolSizes) -> sqlx::Result<Self> {
        Self::open_with(url, schema, sizes, WriterCache::ForJobs)
    }

    fn open_with(url: &str, schema: &str, sizes: PoolSizes, cache: WriterCache) -> sqlx::Result<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url)?
                .options([("search_path", format!("{schema},public"))])
                .options([("backend_flush_after", WRITTEN_BACK_AFTER)])
                .options(ENDS_BY_ITSELF)
                .application_name("billingd");
            return Ok(Self::Postgres(postgres_pool(options, sizes)));
        }
        SqliteFile::open(url, sizes, cache).map(Self::Sqlite)
    }

    /// Begins a transaction that will write. On SQLite it takes the write lock now, so that it cannot fail halfway.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        Ok(match self {
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
            Self::Sqlite(file) => Tx::Sqlite(file.writer.begin_with("begin immediate").await?),
        })
    }

    /// Begins a transaction that is repeated should a crash of the machine forget it. On SQLite its commit does not wait for the
    /// disk; who has the writer next does again. On PostgreSQL the transaction says so itself (`begin_processing`).
    pub(super) async fn begin_unsynced(&self) -> sqlx::Result<Tx> {
        match self {
            Self::Postgres(_) => self.begin().await,
            Self::Sqlite(file) => file.begin_unsynced().await.map(Tx::Sqlite),
        }
    }

    /// On SQLite, waits until no other job of this process works at the backlog; on PostgreSQL the lane is part of the
    /// transaction.
    pub async fn lane_place(&self) -> Option<LanePlace> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite(file) => Some(file.lane.place().await),
        }
    }

    /// `postgres` or `sqlite`.
    pub fn engine_name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Answers whether the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        let _one: (i64,) = fetch!(one, self, "select cast(1 as bigint)")?;
        Ok(())
    }

    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(file) => {
                file.reader.close().await;
                file.writer.close().await;
            }
        }
    }

    pub(crate) fn executor(&self) -> Engine<&PgPool, &SqlitePool> {
        match self {
            Self::Postgres(pool) => Engine::Postgres(pool),
            Self::Sqlite(file) => Engine::Sqlite(&file.reader),
        }
    }
}

impl Tx {
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Postgres(tx) => tx.commit().await,
            Self::Sqlite(tx) => tx.commit().await,
        }
    }

    pub(crate) fn executor(&mut self) -> Engine<&mut PgConnection, &mut SqliteConnection> {
        match self {
            Self::Postgres(tx) => Engine::Postgres(&mut *tx),
            Self::Sqlite(tx) => Engine::Sqlite(&mut *tx),
        }
    }
}
