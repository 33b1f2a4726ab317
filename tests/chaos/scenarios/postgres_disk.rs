//! The disk of the tables is full, and later there is room again. The log of the server has a disk of its own: where that
//! one is full the server stops by itself, which is `postgres-crash`.

use std::os::unix::fs::PermissionsExt;

use sqlx::{Connection, Executor, PgConnection};

use crate::cluster::Cluster;
use crate::harness::{On, Site};
use crate::mount::Mount;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let Some(disk) = Mount::new(64) else { return Report::skipped("only root may mount a small disk") };
    let cluster = Cluster::start("").await;
    let place = disk.path().join("tables");
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(disk.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let owned = std::process::Command::new("chown").arg("postgres:").arg(&place).status().unwrap();
    assert!(owned.success());
    let mut admin = PgConnection::connect(&cluster.url()).await.unwrap();
    let small = format!("create tablespace small location '{}'", place.display());
    admin.execute(sqlx::AssertSqlSafe(small)).await.unwrap();
    let site = Site::on_postgres(cluster.url()).await;
    let moved = format!("alter database {} set tablespace small", site.database_name());
    admin.execute(sqlx::AssertSqlSafe(moved)).await.unwrap();
    let mut stage = Stage::new(site, wish).await;
    stage.start().await;
    stage
        .through(async |_, _| {
            let filler = disk.fill();
            let began = std::time::Instant::now();
            while began.elapsed() < wish.seconds(8, 30) {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                // What was freed meanwhile.
                disk.fill();
            }
            std::fs::remove_file(filler).unwrap();
        })
        .await
}
