//! Sessions of ours are ended one after the other, whatever they are doing.

use std::time::{Duration, Instant};

use sqlx::Executor;

use crate::harness::On;
use crate::stage::{Report, Stage, Wish};

/// Those at work first.
const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'billingd' order by (state = 'active') desc, random() limit 1";

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let (_cluster, mut stage) = Stage::on_cluster(wish).await;
    stage
        .through(async |site, _| {
            let mut admin = site.admin().await;
            let began = Instant::now();
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            while began.elapsed() < wish.seconds(5, 60) {
                tick.tick().await;
                admin.execute(TERMINATE).await.unwrap();
            }
        })
        .await
}
