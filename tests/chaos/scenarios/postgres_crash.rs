//! The server dies as in a power cut, and is started again after a while; it has to recover from its log.

use crate::cluster::Cluster;
use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let cluster = Cluster::start("").await;
    let mut stage = Stage::new(Site::on_postgres(cluster.url()).await, wish).await;
    stage.start().await;
    stage
        .through(async |_, _| {
            for _ in 0..if wish.long { 3 } else { 1 } {
                cluster.kill().await;
                tokio::time::sleep(wish.seconds(2, 10)).await;
                cluster.start_again().await;
            }
        })
        .await
}
