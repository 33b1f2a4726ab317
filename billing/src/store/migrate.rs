//! Bringing a database to this version's schema, and telling whether it is there.

use std::fs::File;
use std::path::PathBuf;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::{Executor, Postgres};

use super::sqlite_file::beside;
use super::statement::fetch;
use super::{Db, Engine};
use crate::chaos;

static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");

/// Our own record of what was applied: the queue keeps another one in the default table.
const APPLIED: &str = "billing_migrations";
/// Any number, as long as it is ours: the advisory lock that lets one process migrate at a time.
const LOCK: i64 = 0x0062_696c_6c69_6e67;

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the migration failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the lock file {path} cannot be locked: {source}")]
    Lock { path: PathBuf, source: std::io::Error },
}

/// Held while migrating, so that several processes may start at once. Released when dropped.
pub enum MigrationLock {
    /// A connection of its own; closing it gives the lock back.
    Postgres(PoolConnection<Postgres>),
    /// A file beside the database: closing a handle of the database file itself would drop SQLite's own locks.
    Sqlite(File),
}

impl Drop for MigrationLock {
    fn drop(&mut self) {
        if let Self::Postgres(connection) = self {
            connection.close_on_drop();
        }
    }
}

/// Waits until nobody else migrates this database.
pub async fn lock_migrations(db: &Db) -> Result<MigrationLock, MigrateError> {
    match db {
        Engine::Postgres(pool) => {
            let mut connection = pool.acquire().await?;
            // As long as somebody else takes.
            connection.execute("set lock_timeout = 0").await?;
            sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await?;
            Ok(MigrationLock::Postgres(connection))
        }
        Engine::Sqlite(file) => {
            let path = beside(&file.path, "-migrate");
            let failed = |source| MigrateError::Lock { path: path.clone(), source };
            let lock = File::create(&path).map_err(failed)?;
            let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
                .await
                .map_err(|error| failed(std::io::Error::other(error)))?
                .map_err(failed)?;
            Ok(MigrationLock::Sqlite(lock))
        }
    }
}

/// Applies what is missing of the tables of billing, in `schema` on PostgreSQL. Safe to run twice; hold the lock.
pub async fn migrate(db: &Db, schema: &str) -> Result<(), MigrateError> {
    match db {
        Engine::Postgres(pool) => {
            let create = format!("create schema if not exists {schema}");
            pool.execute(sqlx::AssertSqlSafe(create)).await?;
            ours(&POSTGRES).await?.run(pool).await?;
        }
        Engine::Sqlite(file) => ours(&SQLITE).await?.run(&file.writer).await?,
    }
    Ok(())
}

/// What this version knows. An older one may be put back in a newer one's place: what is beyond it stays, as it only adds.
async fn ours(migrations: &Migrator) -> Result<Migrator, sqlx::migrate::MigrateError> {
    let mut all = migrations.migrations.to_vec();
    if let Some(folder) = chaos::further_migrations() {
        all.extend_from_slice(&Migrator::new(folder).await?.migrations);
    }
    let mut ours = Migrator::with_migrations(all);
    ours.set_ignore_missing(true).dangerous_set_table_name(APPLIED);
    Ok(ours)
}

/// How the database's schema stands to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    Current,
    /// Nothing is there yet.
    Missing,
    Behind {
        found: i64,
        wanted: i64,
    },
    /// A newer program has migrated it.
    Ahead {
        found: i64,
        wanted: i64,
    },
}

impl std::fmt::Display for SchemaState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Current => write!(f, "the schema is current"),
            Self::Missing => write!(f, "the schema is missing; run `billingd migrate`"),
            Self::Behind { found, wanted } => {
                write!(f, "the schema is at version {found} and has to be at {wanted}; run `billingd migrate`")
            }
            Self::Ahead { found, wanted } => {
                write!(
                    f,
                    "the schema is at version {found}, made by a newer billingd than this one, which knows {wanted}"
                )
            }
        }
    }
}

/// Reads the schema's version. A schema ahead of us still fits: migrations only add.
pub async fn schema_state(db: &Db) -> sqlx::Result<SchemaState> {
    let migrations = match db {
        Engine::Postgres(_) => &POSTGRES,
        Engine::Sqlite(_) => &SQLITE,
    };
    let wanted = ours(migrations).await?.iter().map(|migration| migration.version).max().unwrap_or(0);
    let exists = match db {
        Engine::Postgres(_) => {
            "select cast(count(*) as bigint) from pg_class where oid = to_regclass('billing_migrations')"
        }
        Engine::Sqlite(_) => "select count(*) from sqlite_master where name = 'billing_migrations'",
    };
    let (exists,): (i64,) = fetch!(one, db, exists)?;
    if exists == 0 {
        return Ok(SchemaState::Missing);
    }
    let (found,): (i64,) = fetch!(one, db, "select coalesce(max(version), 0) from billing_migrations")?;
    Ok(match found.cmp(&wanted) {
        std::cmp::Ordering::Equal => SchemaState::Current,
        std::cmp::Ordering::Less => SchemaState::Behind { found, wanted },
        std::cmp::Ordering::Greater => SchemaState::Ahead { found, wanted },
    })
}
