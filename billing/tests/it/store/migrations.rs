//! The schema: made once, however many start at once, and its state told.

use billing::store::{Db, Engine, PoolSizes, SchemaState, lock_migrations, migrate, schema_state};
use tokio::task::JoinSet;

use super::given::execute;
use crate::testing::{self, SCHEMA, on_both};

/// A database without any table: on PostgreSQL the schema is dropped, on SQLite it is another file.
async fn emptied(db: &Db) -> Db {
    match db {
        Engine::Postgres(_) => {
            execute(db, "drop schema billing cascade").await;
            db.clone()
        }
        Engine::Sqlite(file) => {
            let url = format!("sqlite://{}", file.path.with_file_name("empty.db").display());
            let sizes = PoolSizes { connections: 2, acquire_timeout: std::time::Duration::from_secs(10) };
            Db::open(&url, SCHEMA, sizes).unwrap()
        }
    }
}

on_both! {
    async fn several_migrate_at_once_and_again(db: Db) {
        let db = emptied(&db).await;
        assert_eq!(schema_state(&db).await.unwrap(), SchemaState::Missing);
        for _ in 0..2 {
            let mut processes = JoinSet::new();
            for _ in 0..3 {
                let db = db.clone();
                processes.spawn_local(async move {
                    let _lock = lock_migrations(&db).await.unwrap();
                    migrate(&db, SCHEMA).await.unwrap();
                });
            }
            processes.join_all().await;
            assert_eq!(schema_state(&db).await.unwrap(), SchemaState::Current);
        }
        db.ping().await.unwrap();
    }

    async fn an_older_version_that_is_put_back_leaves_what_a_newer_one_has_migrated(db: Db) {
        execute(
            &db,
            "insert into billing_migrations (version, description, success, checksum, execution_time)
             select version + 9000, description, success, checksum, execution_time from billing_migrations where version = 1",
        )
        .await;
        migrate(&db, SCHEMA).await.unwrap();
        let state = schema_state(&db).await.unwrap();
        assert!(matches!(state, SchemaState::Ahead { found: 9001, .. }), "{state}");
    }

    async fn a_newer_and_an_older_schema_are_told_apart(db: Db) {
        execute(&db, "update billing_migrations set version = version + 100").await;
        let state = schema_state(&db).await.unwrap();
        assert!(matches!(state, SchemaState::Ahead { found, wanted } if found == wanted + 100), "{state}");
        execute(&db, "delete from billing_migrations").await;
        assert!(matches!(schema_state(&db).await.unwrap(), SchemaState::Behind { found: 0, .. }));
    }
}

/// Many times a minute they are changed, and every minute analyzed, beside what waits to be processed.
#[tokio::test]
async fn an_analysis_of_what_grows_samples_no_more_than_it_needs() {
    testing::on_postgres(|db: Db| async move {
        let Db::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
        let sql = "select attrelid::regclass::text, max(coalesce(attstattarget, -1)), min(coalesce(attstattarget, -1)) from pg_attribute
                   where attrelid = any('{stripe_events,stripe_objects,credit_ledger,audit_events,emails}'::regclass[]) and attnum > 0
                   group by attrelid order by 2 desc, 3";
        let targets: Vec<(String, i32, i32)> = sqlx::query_as(sql).fetch_all(pool).await.unwrap();
        assert_eq!(targets.len(), 5, "{targets:?}");
        assert!(targets.iter().all(|(_, most, least)| *most == 10 && *least >= 0), "{targets:?}");
    })
    .await;
}

#[test]
fn a_database_in_memory_is_refused() {
    let sizes = PoolSizes { connections: 2, acquire_timeout: std::time::Duration::from_secs(1) };
    assert!(Db::open("sqlite::memory:", SCHEMA, sizes).is_err());
}

/// Whatever the collation of the database, which may change with an upgrade of the system and make indexes wrong.
#[tokio::test]
async fn ids_are_compared_byte_by_byte() {
    testing::on_postgres(|db: Db| async move {
        let Engine::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
        let sql = "select c.table_name || '.' || c.column_name from information_schema.columns c
                   join information_schema.tables t using (table_schema, table_name)
                   where table_schema = current_schema() and t.table_type = 'BASE TABLE' and c.data_type = 'text'
                     and c.table_name <> '_sqlx_migrations' and c.collation_name is distinct from 'C'
                     and (c.column_name ~ '(^|_)id$' or c.column_name in ('owner', 'kind', 'cause', 'reason', 'dedupe_key'))";
        let others: Vec<(String,)> = sqlx::query_as(sql).fetch_all(pool).await.unwrap();
        assert_eq!(others, [("mail_suppressions.reason".to_owned(),)], "a server's reply is no word of ours");
    })
    .await;
}

#[tokio::test]
async fn what_connections_write_is_written_back_soon() {
    testing::on_postgres(|db: Db| async move {
        let Engine::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
        let (after,): (String,) = sqlx::query_as("show backend_flush_after").fetch_one(pool).await.unwrap();
        assert_eq!(after, "256kB");
    })
    .await;
}
