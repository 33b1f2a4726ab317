//! The server dies as in a power cut, and is started again after a while; it has to recover from its log.

use crate::harness::On;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let (cluster, mut stage) = Stage::on_cluster(wish).await;
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
