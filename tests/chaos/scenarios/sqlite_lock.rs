//! A foreign program holds the write lock of the file.

use sqlx::{Connection, Executor, SqliteConnection};

use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let mut stage = Stage::new(Site::new(on).await, wish).await;
    stage.start().await;
    stage
        .through(async |site, _| {
            let mut foreign = SqliteConnection::connect(&site.url).await.unwrap();
            foreign.execute("pragma busy_timeout = 30000").await.unwrap();
            foreign.execute("begin immediate").await.unwrap();
            tokio::time::sleep(wish.seconds(5, 10)).await;
            foreign.execute("rollback").await.unwrap();
        })
        .await
}
