//! A forgotten transaction: rows that are dead stay, and the queue's tables grow under every fetch.

use sqlx::{Connection, Executor};

use crate::cluster::Cluster;
use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let cluster = Cluster::start("").await;
    let mut stage = Stage::new(Site::on_postgres(cluster.url()).await, wish).await;
    stage.start().await;
    stage.unhurt = true;
    stage
        .through(async |site, _| {
            let mut foreign = site.postgres().await;
            let mut tx = foreign.begin().await.unwrap();
            tx.execute("set transaction isolation level repeatable read").await.unwrap();
            tx.execute("select pg_current_xact_id(), count(*) from workspaces").await.unwrap();
            tokio::time::sleep(wish.seconds(20, 120)).await;
            tx.commit().await.unwrap();
        })
        .await
}
