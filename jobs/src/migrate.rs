//! Bringing a database to this version's schema: our tables and the queue's.

use apalis_postgres::PostgresStorage;
use apalis_sqlite::SqliteStorage;
use billing::store::{self, Db, Engine, MigrateError};
use sqlx::Executor;
use sqlx::postgres::PgPoolOptions;

/// Every job is written three times and deleted: the dead rows are swept after a thousand of them, not after a fifth of
/// the table, and an update finds room on its own page. And the queue's fetch, which is planned without knowing that it
/// wants one job, reads that job by its id instead of the whole table: 0.2 ms instead of 2.4 beside 16,000 waiting jobs.
const UPKEEP: &str = "alter table apalis.jobs set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
    alter function apalis.get_jobs(text, text, integer) set enable_hashjoin = off;
    alter function apalis.get_jobs(text, text, integer) set enable_mergejoin = off;
    alter function apalis.get_jobs(text, text, integer) set enable_seqscan = off";

/// Migrates everything, one process at a time; safe to run twice and from several places at once. The queue's own
/// set-up is not used: on SQLite it turns `synchronous` off, on PostgreSQL it would put its extensions into our schema.
pub async fn migrate(db: &Db, schema: &str) -> Result<(), MigrateError> {
    let lock = store::lock_migrations(db).await?;
    store::migrate(db, schema).await?;
    match db {
        Engine::Postgres(pool) => {
            let options = (*pool.connect_options()).clone().options([("search_path", "public")]);
            let public = PgPoolOptions::new().max_connections(2).connect_with(options).await?;
            let done = PostgresStorage::migrations().run(&public).await;
            let tuned = public.execute(UPKEEP).await;
            public.close().await;
            done?;
            tuned?;
        }
        Engine::Sqlite(file) => {
            SqliteStorage::migrations().run(&file.writer).await?;
            crate::prune::analyze(db).await?;
        }
    }
    drop(lock);
    Ok(())
}
