//! What the queue's tables need besides the library's own migrations, so that no statement on them looks through jobs that
//! are long done.

use sqlx::{PgPool, Postgres, Transaction};

/// Every job is written three times and deleted: the dead rows are swept after a thousand of them, not after a fifth of
/// the table, and an update finds room on its own page. An analysis, of every minute then, samples a tenth of what it would.
///
/// The queue's fetch is the library's, word for word, but in two statements whose plans are kept: to plan it at each call was
/// most of what it cost, 0.4 of 0.55 ms, and of all that a small batch costs the database more than anything else. The first
/// can only go by the index of what waits, the second only by the key, however few jobs there were when they were planned;
/// and whoever calls it with a text of another collation is served by that index, too.
///
/// Two of the queue's indexes stand there twice under two names. And its trigger tells of each row by itself, which costs
/// as much as writing the row; who writes many tells once, and says so in the rows: see `queue`. A row of anybody else is
/// told of as ever. Together a third of what a job costs is left: 12 µs instead of 35.
///
/// The index of jobs by their worker only has those that are at work, which is what dead workers are looked for with. The
/// whole one is taken to find a job that is acknowledged, among all that its worker has ever done. Two more have those that
/// are done and those that are dead, for the gauges and the pruning, and one those that are none of ours; no statement of the
/// library's can take them instead of the key.
pub(crate) const POSTGRES: &str = "alter table apalis.jobs set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
    alter table apalis.jobs alter job set statistics 0, alter metadata set statistics 0, alter last_result set statistics 0;
    do $$ declare c record; begin
        for c in select attname from pg_attribute
                 where attrelid = 'apalis.jobs'::regclass and attnum > 0 and coalesce(attstattarget, -1) = -1 loop
            execute format('alter table apalis.jobs alter %I set statistics 10', c.attname);
        end loop;
    end $$;
    create or replace function apalis.get_jobs(worker_id text, v_job_type text, v_job_count integer default 5)
        returns setof apalis.jobs language plpgsql
        set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
    declare taken text[];
    begin
        taken := array(
            select id from apalis.jobs
            where (status = 'Pending' or (status = 'Failed' and attempts < max_attempts))
              and run_at < now() and job_type = v_job_type collate \"default\"
            order by priority desc, run_at limit v_job_count for update skip locked);
        if taken <> '{}' then
            return query update apalis.jobs set status = 'Queued', lock_by = worker_id, lock_at = now()
                         where id = any(taken) returning jobs.*;
        end if;
    end $$;
    drop index if exists apalis.unique_job_id;
    drop index if exists apalis.lidx;
    create index if not exists jobs_at_work on apalis.jobs (lock_by) where status = 'Running' or status = 'Queued';
    drop index if exists apalis.idx_apalis_jobs_lock_by;
    create index if not exists jobs_done on apalis.jobs (done_at) where status = 'Done';
    create index if not exists jobs_dead on apalis.jobs (done_at) where status = 'Killed' or status = 'Failed' and attempts >= max_attempts;
    create index if not exists jobs_foreign on apalis.jobs (id) where id !~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$';
    do $$ begin
        if not exists (select 1 from pg_trigger where tgname = 'notify_workers' and tgrelid = 'apalis.jobs'::regclass
                       and tgqual is not null) then
            drop trigger if exists notify_workers on apalis.jobs;
            create trigger notify_workers after insert on apalis.jobs for each row
                when (new.metadata is null or not exist(new.metadata, 'told'))
                execute function apalis.notify_new_jobs();
        end if;
    end $$";

/// With the library's indexes by status and by worker, SQLite takes one of those to find a job by its id: to take it looked
/// through all that were ever taken, and to acknowledge it through all that its worker had done, 20 ms instead of 0.6 after
/// 10,000 jobs. And each of them is written for each job. In their place are those of PostgreSQL, and one of all that are not done.
pub(crate) const SQLITE: &str = "drop index if exists LIdx;
    drop index if exists idx_jobs_status_run_at;
    drop index if exists idx_jobs_job_type_status_run_at;
    drop index if exists idx_jobs_claimable;
    drop index if exists idx_jobs_running;
    drop index if exists idx_jobs_completed_done_at;
    create index if not exists jobs_at_work on Jobs (lock_by) where status = 'Running' or status = 'Queued';
    create index if not exists jobs_not_done on Jobs (status, run_at) where status <> 'Done';
    create index if not exists jobs_done on Jobs (done_at) where status = 'Done';
    create index if not exists jobs_dead on Jobs (done_at) where status = 'Killed' or status = 'Failed' and attempts >= max_attempts;
    create index if not exists jobs_foreign on Jobs (id)
        where length(id) <> 26 or id glob '*[^0-9A-HJKMNP-TV-Z]*' or id >= '8'";

/// What is off where statements go by index.
pub(crate) const OFF_BY_INDEX: [&str; 4] =
    ["enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"];

/// A transaction whose statements find their few jobs by index, whatever the planner thinks of a table that has just grown.
pub(crate) async fn by_index(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut tx = pool.begin().await?;
    let off = "select set_config(name, 'off', true) from unnest($1::text[]) as name";
    sqlx::query(off).bind(OFF_BY_INDEX).execute(&mut *tx).await?;
    Ok(tx)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use billing::store::{Db, Engine, PoolSizes};
    use sqlx::{Executor, PgConnection, PgPool, Postgres, Transaction};

    use super::by_index;
    use crate::migrate;

    /// What is pruned, with the index that has it.
    const PRUNED: [(&str, &str); 2] = [("Done", "jobs_done"), ("Killed", "jobs_dead")];

    /// As the queue's library takes a job, writes down that jobs are done, and looks for those of dead workers.
    const BY_KEY: [(&str, &str); 3] = [
        ("update apalis.jobs set status = 'Queued' where id = any('{a,b}')", "jobs_pkey"),
        (
            "with j as (select value ->> 'task_id' as task_id from jsonb_array_elements('[]'::jsonb) as value),
               locked as (select jobs.id from apalis.jobs join j on j.task_id = jobs.id where jobs.lock_by = 'worker'
                          order by jobs.id for update)
          update apalis.jobs set status = 'Done' from j join locked on locked.id = j.task_id where jobs.id = locked.id",
            "jobs_pkey",
        ),
        (
            "select jobs.id from apalis.jobs join apalis.workers on jobs.lock_by = workers.id
          where (jobs.status = 'Running' or jobs.status = 'Queued') and workers.last_seen < now()",
            "jobs_at_work",
        ),
    ];

    /// A table like that of the jobs, which nobody has analyzed.
    const UNCOUNTED: &str = "create temp table jobs (like apalis.jobs) on commit drop;
        do $$ declare index text; begin
            for index in select indexdef from pg_indexes where schemaname = 'apalis' and tablename = 'jobs' loop
                execute replace(index, ' ON apalis.jobs', ' ON pg_temp.jobs');
            end loop;
        end $$";
    /// Jobs that wait in it.
    const FILL: &str = "insert into pg_temp.jobs (id, job_type, job, status, attempts, max_attempts, run_at)
            select lpad(i::text, 26, '0'), current_schema() || '.mail', '{}', 'Pending', 0, 1, now() from generate_series(1, 20000) as i";

    /// Whether the statement takes the index, and none by which it would look through all jobs.
    async fn check(connection: &mut PgConnection, statement: &str, index: &str) {
        let sql = sqlx::AssertSqlSafe(format!("explain {statement}"));
        let plan: Vec<(String,)> = sqlx::query_as(sql).fetch_all(connection).await.unwrap();
        let of_jobs: Vec<&String> = plan.iter().map(|(line,)| line).filter(|line| line.contains(" on jobs")).collect();
        let mut all_of_them = ["Seq Scan", "lock_by", "fetch_partial"].into_iter().filter(|word| !index.contains(word));
        assert!(!all_of_them.any(|word| of_jobs.iter().any(|line| line.contains(word))), "{plan:?}");
        assert!(plan.iter().any(|(line,)| line.contains(index)), "{plan:?}");
    }

    /// What a worker has prepared and often executed before there were jobs, when there are.
    async fn check_when_grown(mut tx: Transaction<'static, Postgres>) {
        tx.execute(UNCOUNTED).await.unwrap();
        let acknowledge =
            BY_KEY[1].0.replace("apalis.jobs", "pg_temp.jobs").replace("'[]'", "$1").replace("'worker'", "$2");
        let prepare = format!("prepare acknowledge (jsonb, text) as {acknowledge}");
        tx.execute(sqlx::AssertSqlSafe(prepare)).await.unwrap();
        for _ in 0..10 {
            tx.execute("execute acknowledge ('[]', 'worker')").await.unwrap();
        }
        tx.execute(FILL).await.unwrap();
        let sql = "explain execute acknowledge ('[]', 'worker')";
        let plan: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&mut *tx).await.unwrap();
        let by_key = |pair: &&[(String,)]| pair[0].0.contains(" on jobs") && pair[1].0.contains("Index Cond: (id =");
        // To lock it, to change it; and the update itself.
        let of_jobs = plan.iter().filter(|(line,)| line.contains(" on jobs")).count();
        assert_eq!((plan.windows(2).filter(by_key).count(), of_jobs), (2, 3), "{plan:?}");
    }

    /// A migrated schema of its own, which the test drops.
    async fn postgres() -> (PgPool, String) {
        #[expect(clippy::disallowed_methods, reason = "the one setting of the tests; it has no place in the program's")]
        let url = std::env::var("TEST_DATABASE_URL").expect("set TEST_DATABASE_URL or run scripts/test");
        let sizes = PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(10) };
        let schema = format!("billing_{}", billing::clock::new_id().to_lowercase());
        let db = Db::open(&url, &schema, sizes).unwrap();
        migrate(&db, &schema).await.unwrap();
        let Engine::Postgres(pool) = db else { unreachable!("it is PostgreSQL") };
        (pool, schema)
    }

    /// On a connection as the workers have them, and with a table that is almost empty.
    #[tokio::test]
    async fn a_job_is_found_by_its_id_on_postgresql() {
        let (pool, schema) = postgres().await;
        let workers = crate::host::pool_of_queue(&pool);
        let prune = PRUNED.map(|(status, index)| (crate::prune::on_postgres(status, 1).replace("$1", "1"), index));
        let withdraw = (crate::queue::WITHDRAW_POSTGRES.replace("$1", "'[]'"), "jobs_pkey");
        let by_key = BY_KEY.map(|(statement, index)| (statement.to_owned(), index));
        let mut connection = workers.acquire().await.unwrap();
        for (statement, index) in by_key.into_iter().chain(prune).chain([withdraw]) {
            check(&mut connection, &statement, index).await;
        }
        drop(connection);
        check_when_grown(workers.begin().await.unwrap()).await;
        let mut tx = by_index(&pool).await.unwrap();
        tx.execute(UNCOUNTED).await.unwrap();
        tx.execute(FILL).await.unwrap();
        let put_aside = crate::foreign::PUT_ASIDE_POSTGRES.replace("$1", "'why'").replace("$2", "1000");
        // All that wait, but in the index alone.
        let bring_back = crate::set_back::BRING_BACK_POSTGRES.replace("$1", "60").replace("$2", "1000");
        for (statement, index) in [(put_aside, "jobs_foreign"), (bring_back, "idx_apalis_jobs_fetch_partial")] {
            check(&mut tx, &statement.replace("apalis.jobs", "pg_temp.jobs"), index).await;
        }
        drop(tx);
        pool.execute(sqlx::AssertSqlSafe(format!("drop schema {schema} cascade"))).await.unwrap();
    }

    /// By plans that were made when nothing waited.
    #[tokio::test]
    async fn to_take_a_job_touches_no_other_on_postgresql() {
        let (pool, schema) = postgres().await;
        // Undone at the end: the table is everybody's.
        let mut tx = pool.begin().await.unwrap();
        tx.execute("insert into apalis.workers (id, worker_type, storage_name, last_seen) values (current_schema(), 'mail', 'x', now())")
            .await
            .unwrap();
        let take =
            "select id, status, lock_by from apalis.get_jobs(current_schema()::text, current_schema() || '.mail', 1)";
        for _ in 0..10 {
            assert_eq!(tx.execute(take).await.unwrap().rows_affected(), 0);
        }
        tx.execute(
            "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
             select right(current_schema(), 20) || lpad(i::text, 6, '0'), current_schema() || '.mail', '{}',
                    case when i % 4 = 0 then 'Done' when i % 4 = 1 then 'Failed' else 'Pending' end, i % 3, 2,
                    now() + make_interval(secs => 100 - i), 0
             from generate_series(1, 4000) as i",
        )
        .await
        .unwrap();
        let touched = "select idx_tup_fetch from pg_stat_xact_all_tables where relid = 'apalis.jobs'::regclass";
        let (before,): (i64,) = sqlx::query_as(touched).fetch_one(&mut *tx).await.unwrap();
        for oldest in [3999, 3998, 3997, 3995] {
            let taken: Vec<(String, String, String)> = sqlx::query_as(take).fetch_all(&mut *tx).await.unwrap();
            assert!(
                matches!(&taken[..], [(id, status, by)] if id.ends_with(&oldest.to_string()) && status == "Queued" && *by == schema),
                "{taken:?}"
            );
        }
        let (after,): (i64,) = sqlx::query_as(touched).fetch_one(&mut *tx).await.unwrap();
        assert!(after - before < 40, "{} rows", after - before);
        drop(tx);
        pool.execute(sqlx::AssertSqlSafe(format!("drop schema {schema} cascade"))).await.unwrap();
    }

    /// The same, and what we ask of the queue ourselves at every batch, every few seconds or every few minutes.
    const LITE: [(&str, &str); 8] = [
        ("with j as (select value ->> 'task_id' as task_id from json_each('[]'))
          update Jobs set status = 'Done' from j where Jobs.id = j.task_id and Jobs.lock_by = 'worker'", "(id=?)"),
        ("select rowid from Jobs where job_type = 'mail' and status = 'Pending' and lock_by is null and (run_at is null or run_at <= 9)
          order by priority desc, run_at asc, id asc limit 1", "idx_jobs_pending"),
        ("update Jobs set status = 'Pending' where id in (select Jobs.id from Jobs inner join Workers on lock_by = Workers.id
            where (status = \"Running\" or status = \"Queued\") and Workers.worker_type = 'mail')", "jobs_at_work"),
        (crate::queue::WITHDRAW_SQLITE, "(id=?)"),
        (crate::wake::WAITING_SQLITE, "idx_jobs_pending"),
        ("select 1 from Jobs where status <> 'Done' and status in ('Pending', 'Failed')", "jobs_not_done"),
        (crate::foreign::FOREIGN_SQLITE, "jobs_foreign"),
        ("select count(*) from Jobs indexed by jobs_not_done where status <> 'Done' group by job_type", "jobs_not_done"),
    ];

    #[tokio::test]
    async fn a_job_is_found_by_its_key_on_sqlite() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(10) };
        let url = format!("sqlite://{}", dir.path().join("x.db").display());
        let db = Db::open(&url, "billing", sizes).unwrap();
        migrate(&db, "billing").await.unwrap();
        migrate(&db, "billing").await.unwrap();
        let Engine::Sqlite(file) = &db else { unreachable!("it is a file") };
        let prune = PRUNED.map(|(status, index)| (crate::prune::on_sqlite(status, 1), index));
        for (statement, index) in LITE.map(|(statement, index)| (statement.to_owned(), index)).into_iter().chain(prune)
        {
            let sql = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql).fetch_all(&file.writer).await.unwrap();
            let whole = |line: &str| line.starts_with("SCAN Jobs") && !line.contains("USING INDEX");
            assert!(!plan.iter().any(|line| whole(&line.3)), "{statement}: {plan:?}");
            assert!(plan.iter().any(|line| line.3.contains(index)), "{statement}: {plan:?}");
        }
        db.close().await;
    }
}
