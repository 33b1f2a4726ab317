//! Bringing a database to this version's schema: our tables and the queue's.

use apalis_postgres::PostgresStorage;
use apalis_sqlite::SqliteStorage;
use billing::store::{self, Db, Engine, MigrateError, SchemaState};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, SqlitePool};

use crate::tuning;

/// Migrates everything, one process at a time; safe to run twice and from several places at once. The queue's own
/// set-up is not used: on SQLite it turns `synchronous` off, on PostgreSQL it would put its extensions into our schema.
///
/// Gives what was there before. Nothing is asked before the lock is held: two processes that make one SQLite file at the same
/// moment are in each other's way, and SQLite does not let either wait.
pub async fn migrate(db: &Db, schema: &str) -> Result<SchemaState, MigrateError> {
    let lock = store::lock_migrations(db).await?;
    let before = store::schema_state(db).await?;
    match db {
        Engine::Postgres(pool) => {
            store::migrate(db, schema).await?;
            let options = (*pool.connect_options()).clone().options([("search_path", "public")]);
            let public = PgPoolOptions::new().max_connections(2).connect_with(options).await?;
            let done = PostgresStorage::migrations().set_ignore_missing(true).run(&public).await;
            let tuned = public.execute(tuning::POSTGRES).await;
            public.close().await;
            done?;
            tuned?;
        }
        Engine::Sqlite(file) => {
            // A migration may change or sort a whole table, which need not fit into memory.
            file.writer.execute("pragma temp_store = file").await?;
            let done = on_sqlite(db, schema, &file.writer).await;
            file.writer.execute("pragma temp_store = memory").await?;
            done?;
        }
    }
    drop(lock);
    Ok(before)
}

async fn on_sqlite(db: &Db, schema: &str, writer: &SqlitePool) -> Result<(), MigrateError> {
    store::migrate(db, schema).await?;
    SqliteStorage::migrations().set_ignore_missing(true).run(writer).await?;
    writer.execute(tuning::SQLITE).await?;
    Ok(())
}
