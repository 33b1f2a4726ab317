//! An administrator restarts the server: sessions are ended, and for a moment nobody listens.

use std::time::Duration;

use crate::harness::On;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let (cluster, mut stage) = Stage::on_cluster(wish).await;
    stage
        .through(async |_, _| {
            for pause in [1, 1, 0] {
                cluster.control(&["restart", "--mode=fast"]).await;
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
        })
        .await
}
