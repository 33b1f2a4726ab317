//! What a batch reads from PostgreSQL beside all that is finished. A plan that goes through it gives the right result, only
//! later and later; and it is made while there is little, and kept.

use std::collections::BTreeMap;

use billing::store::{self, Db};
use chrono::{DateTime, TimeDelta};
use jobs::receive::Incoming;
use jobs::{Context, Job, ProcessEvents};

use crate::harness::{On, Site, eventually};
use crate::in_process::{self, receive};

/// Purchases of a batch, of four events each.
const PURCHASES: usize = 5;

async fn on_one_connection() -> (Site, Context) {
    let site = Site::new(On::Postgres).await;
    let context = in_process::context(&site, 1);
    (site, context)
}

async fn purchases(context: &Context, name: &str) -> Vec<Incoming> {
    in_process::purchases(context, name, PURCHASES).await
}

/// Receives events and processes them in one batch.
async fn process(context: &Context, batch: Vec<Incoming>) {
    let event_ids = receive(context, batch).await;
    ProcessEvents { event_ids, lane: 0 }.run(context).await.unwrap();
    context.clock.advance(TimeDelta::seconds(1));
}

async fn batch(context: &Context, name: &str) {
    process(context, purchases(context, name).await).await;
}

/// Rows and entries of indexes that were read since the database was made, by table and index. There is one connection, so it
/// has told all.
async fn read(context: &Context) -> BTreeMap<String, i64> {
    let Db::Postgres(pool) = &context.db else { unreachable!("it is PostgreSQL") };
    sqlx::query("select pg_stat_force_next_flush()").execute(pool).await.unwrap();
    let sql = "select cast(relname as text), seq_tup_read from pg_stat_user_tables
               union all select cast(indexrelname as text), idx_tup_read from pg_stat_user_indexes";
    let read: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(pool).await.unwrap();
    read.into_iter().collect()
}

/// What was read since then, where it was.
async fn read_since(context: &Context, before: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let mut read = read(context).await;
    for (name, count) in &mut read {
        *count -= before.get(name).copied().unwrap_or_default();
    }
    read.retain(|_, count| *count != 0);
    read
}

#[tokio::test]
async fn a_batch_reads_no_more_beside_all_that_is_finished() {
    let (_site, context) = on_one_connection().await;
    // So often that the plans of these statements are kept.
    for number in 0..10 {
        batch(&context, &format!("plan_{number}")).await;
    }
    let measured = async |name: &str| {
        let batch = purchases(&context, name).await;
        let before = read(&context).await;
        process(&context, batch).await;
        read_since(&context, &before).await
    };
    let beside_few = measured("few").await;
    for number in 0..100 {
        batch(&context, &format!("more_{number}")).await;
    }
    let beside_many = measured("many").await;
    let all = |read: &BTreeMap<String, i64>| read.values().sum::<i64>();
    assert!(all(&beside_many) < all(&beside_few) + 200, "{beside_few:?}, beside 2,000 events {beside_many:?}");
    context.db.close().await;
}

/// The gauges look every second for this: so they never pass more than what a second has finished.
#[tokio::test]
async fn who_looks_for_the_oldest_unfinished_event_skips_what_was_passed_before() {
    let (site, context) = on_one_connection().await;
    for number in 0..10 {
        batch(&context, &format!("done_{number}")).await;
    }
    // What was finished is over for good once no transaction, of another test, is as old as that.
    let old = site.query("select pg_current_xact_id()::xid::text").await.remove(0);
    let older = format!(
        "select count(*)::text from pg_stat_activity where datname = current_database() and age(backend_xmin) >= age('{old}'::xid)"
    );
    eventually("older transactions are over", async || (site.query(&older).await == ["0"]).then_some(())).await;
    let look = async || {
        let before = read(&context).await;
        assert_eq!(store::oldest_unfinished(&context.db, DateTime::UNIX_EPOCH).await.unwrap(), None);
        read_since(&context, &before).await.into_values().sum::<i64>()
    };
    let (first, second) = (look().await, look().await);
    assert!(first >= 200 && second < 50, "{first} rows and entries, then {second}");
    context.db.close().await;
}
