//! A foreign transaction holds the row of a busy workspace, such as an administrator who went to lunch.

use sqlx::{Connection, Executor};

use crate::harness::On;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let (_cluster, mut stage) = Stage::on_cluster(wish).await;
    stage
        .through(async |site, _| {
            let mut foreign = site.postgres().await;
            let mut tx = foreign.begin().await.unwrap();
            tx.execute("select * from workspaces where id = 'ws_0' for update").await.unwrap();
            tokio::time::sleep(wish.seconds(8, 20)).await;
            tx.commit().await.unwrap();
        })
        .await
}
