//! Tests that run on both engines, each on a database of its own: a file that is thrown away, or a PostgreSQL database
//! that is made in the server at `TEST_DATABASE_URL` and dropped afterwards, whatever came of the test.
//!
//! The integration tests include this file, too; so it names nothing but its parent module.

use std::future::Future;
use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tokio::task::LocalSet;

use super::{Db, PoolSizes, lock_migrations, migrate};

/// Where the tables live on PostgreSQL.
pub(crate) const SCHEMA: &str = "billing";
/// Enough for the tests that race, few enough for a server that runs many tests at once.
const SIZES: PoolSizes = PoolSizes { connections: 4, acquire_timeout: Duration::from_secs(30) };

/// Writes one test for each engine: `on_both! { async fn it_works(db: Db) { … } }` makes `it_works::on_sqlite` and
/// `it_works::on_postgres`.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($db:ident: Db) $body:block)*) => {
        $($(#[$meta])* mod $name {
            use super::*;

            async fn test($db: Db) $body

            #[tokio::test]
            async fn on_sqlite() {
                testing::on_sqlite(test).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                testing::on_postgres(test).await;
            }
        })*
    };
}
pub(crate) use on_both;

/// Runs a test on a fresh, migrated SQLite file.
pub(crate) async fn on_sqlite<F: Future<Output = ()> + 'static>(test: impl FnOnce(Db) -> F) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", dir.path().join("billing.db").display());
    run(&url, test).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs a test on a fresh, migrated PostgreSQL database.
///
/// # Panics
/// `TEST_DATABASE_URL` is not set: a test that is skipped in silence tests nothing.
pub(crate) async fn on_postgres<F: Future<Output = ()> + 'static>(test: impl FnOnce(Db) -> F) {
    #[expect(clippy::disallowed_methods, reason = "the one setting of the tests; it has no place in the program's")]
    let server = std::env::var("TEST_DATABASE_URL").expect("set TEST_DATABASE_URL or run scripts/test");
    let name = format!("billing_test_{}", ulid::Ulid::generate().to_string().to_lowercase());
    let (address, parameters) = match server.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (server.as_str(), String::new()),
    };
    let (host, _) = address.rsplit_once('/').expect("TEST_DATABASE_URL names a database");
    let mut admin = PgConnection::connect(&server).await.expect("the server at TEST_DATABASE_URL answers");
    // A language's collation, where the server has it: no rule may lean on the order of text in the database.
    let create = |like: &str| sqlx::AssertSqlSafe(format!("create database {name} template template0 {like}"));
    if admin.execute(create("locale_provider icu icu_locale 'en-US'")).await.is_err() {
        admin.execute(create("")).await.expect("a database can be made");
    }

    let outcome = run(&format!("{host}/{name}{parameters}"), test).await;
    let drop = format!("drop database if exists {name} with (force)");
    admin.execute(sqlx::AssertSqlSafe(drop)).await.expect("the database can be dropped");
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs the test in a task of its own, so that its panic does not keep the database from being dropped.
async fn run<F: Future<Output = ()> + 'static>(
    url: &str,
    test: impl FnOnce(Db) -> F,
) -> Result<(), Box<dyn std::any::Any + Send>> {
    let db = Db::open(url, SCHEMA, SIZES).expect("the database's URL");
    let lock = lock_migrations(&db).await.expect("the migration lock");
    migrate(&db, SCHEMA).await.expect("the migration");
    drop(lock);
    let tasks = LocalSet::new();
    let task = tasks.spawn_local(test(db.clone()));
    let outcome = tasks.run_until(task).await;
    db.close().await;
    outcome.map_err(tokio::task::JoinError::into_panic)
}
