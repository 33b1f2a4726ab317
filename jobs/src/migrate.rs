//! Bringing a database to this version's schema: our tables and the queue's.

use apalis_postgres::PostgresStorage;
use apalis_sqlite::SqliteStorage;
use billing::store::{self, Db, Engine, MigrateError};
use sqlx::Executor;
use sqlx::postgres::PgPoolOptions;

/// Every job is written three times and deleted: the dead rows are swept after a thousand of them, not after a fifth of
/// the table, and an update finds room on its own page. And the queue's fetch, which is planned without knowing that it
/// wants one job, reads that job by its id instead of the whole table: 0.2 ms instead of 2.4 beside 16,000 waiting jobs.
///
/// Two of the queue's indexes stand there twice under two names. And its trigger tells of each row by itself, which costs
/// as much as writing the row; who writes many tells once, and says so in the rows: see `queue`. A row of anybody else is
/// told of as ever. Together a third of what a job costs is left: 12 µs instead of 35.
///
/// The index of jobs by their worker only has those that are at work, which is what dead workers are looked for with. The
/// whole one is taken to find a job that is acknowledged, among all that its worker has ever done.
const UPKEEP: &str = "alter table apalis.jobs set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
    alter table apalis.jobs alter job set statistics 0, alter metadata set statistics 0, alter last_result set statistics 0;
    alter function apalis.get_jobs(text, text, integer) set enable_hashjoin = off;
    alter function apalis.get_jobs(text, text, integer) set enable_mergejoin = off;
    alter function apalis.get_jobs(text, text, integer) set enable_seqscan = off;
    drop index if exists apalis.unique_job_id;
    drop index if exists apalis.lidx;
    create index if not exists jobs_at_work on apalis.jobs (lock_by) where status = 'Running' or status = 'Queued';
    drop index if exists apalis.idx_apalis_jobs_lock_by;
    do $$ begin
        if not exists (select 1 from pg_trigger where tgname = 'notify_workers' and tgrelid = 'apalis.jobs'::regclass
                       and tgqual is not null) then
            drop trigger if exists notify_workers on apalis.jobs;
            create trigger notify_workers after insert on apalis.jobs for each row
                when (new.metadata is null or not exist(new.metadata, 'told'))
                execute function apalis.notify_new_jobs();
        end if;
    end $$";

/// With this index SQLite finds a job that is acknowledged among all that its worker has ever done, instead of by its id:
/// 20 ms instead of 0.6 after 10,000 jobs. Nothing that runs often looks for jobs by their worker alone.
const HINDRANCE: &str = "drop index if exists LIdx";

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
            file.writer.execute(HINDRANCE).await?;
            crate::prune::analyze(db).await?;
        }
    }
    drop(lock);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use billing::store::PoolSizes;

    use super::*;

    /// As the queue's library takes a job, writes down that jobs are done, and looks for those of dead workers.
    const POSTGRES: [(&str, &str); 3] = [
        ("update apalis.jobs set status = 'Running' where (status = 'Pending' or status = 'Queued') and id = any('{a,b}')", "jobs_pkey"),
        ("with j as (select value ->> 'task_id' as task_id from jsonb_array_elements('[]'::jsonb) as value),
               locked as (select jobs.id from apalis.jobs join j on j.task_id = jobs.id where jobs.lock_by = 'worker' for update)
          update apalis.jobs set status = 'Done' from j join locked on locked.id = j.task_id where jobs.id = locked.id", "jobs_pkey"),
        ("select jobs.id from apalis.jobs join apalis.workers on jobs.lock_by = workers.id
          where (jobs.status = 'Running' or jobs.status = 'Queued') and workers.last_seen < now()", "jobs_at_work"),
    ];

    /// On a connection as the workers have them, and with a table that is almost empty.
    #[tokio::test]
    async fn a_job_is_found_by_its_id_on_postgresql() {
        #[expect(clippy::disallowed_methods, reason = "the one setting of the tests; it has no place in the program's")]
        let url = std::env::var("TEST_DATABASE_URL").expect("set TEST_DATABASE_URL or run scripts/test");
        let sizes = PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(10) };
        let schema = format!("billing_{}", billing::clock::new_id().to_lowercase());
        let db = Db::open(&url, &schema, sizes).unwrap();
        migrate(&db, &schema).await.unwrap();
        let Engine::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
        let workers = crate::host::pool_of_queue(pool);
        for (statement, index) in POSTGRES {
            let sql = sqlx::AssertSqlSafe(format!("explain {statement}"));
            let plan: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&workers).await.unwrap();
            let of_jobs: Vec<&String> =
                plan.iter().map(|(line,)| line).filter(|line| line.contains(" on jobs")).collect();
            assert!(of_jobs.iter().all(|line| !line.contains("Seq Scan") && !line.contains("lock_by")), "{plan:?}");
            assert!(plan.iter().any(|(line,)| line.contains(index)), "{plan:?}");
        }
        pool.execute(sqlx::AssertSqlSafe(format!("drop schema {schema} cascade"))).await.unwrap();
    }

    /// As the queue's library writes it down that jobs are done.
    const ACK: &str = "explain query plan
        with j as (select value ->> 'task_id' as task_id from json_each('[]'))
        update Jobs set status = 'Done' from j where Jobs.id = j.task_id and Jobs.lock_by = 'worker'";

    #[tokio::test]
    async fn a_job_is_acknowledged_by_its_id_however_many_are_done() {
        let path = std::env::temp_dir().join(format!("billingd-{}.db", billing::clock::new_id()));
        let sizes = PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(10) };
        let db = Db::open(&format!("sqlite://{}", path.display()), "billing", sizes).unwrap();
        migrate(&db, "billing").await.unwrap();
        migrate(&db, "billing").await.unwrap();
        let Engine::Sqlite(file) = &db else { unreachable!("it is a file") };
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(ACK).fetch_all(&file.writer).await.unwrap();
        db.close().await;
        for end in ["", "-wal", "-shm", "-migrate"] {
            std::fs::remove_file(format!("{}{end}", path.display())).ok();
        }
        assert!(plan.iter().any(|line| line.3.contains("Jobs USING") && line.3.contains("(id=?)")), "{plan:?}");
    }
}
