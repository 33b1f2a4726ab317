//! The network between the processes and PostgreSQL comes apart without a word: what was sent on the connections that there are
//! never comes, on neither side. New ones are good.
//!
//! Each side finds that out by itself: a process by the time that it gives a statement, a batch or the queue; PostgreSQL, which
//! holds the locks of what was under way, by how long a transaction says nothing. Both have happened after a minute.

use crate::cluster::Cluster;
use crate::harness::{On, Site};
use crate::proxy::Proxy;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let cluster = Cluster::start("").await;
    let proxy = Proxy::start(cluster.port).await;
    let site = Site::on_postgres(format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port)).await;
    let mut stage = Stage::new(site, wish).await;
    stage.start().await;
    stage
        .through(async |_, _| {
            proxy.fall_silent();
            tokio::time::sleep(wish.seconds(60, 65)).await;
        })
        .await
}
