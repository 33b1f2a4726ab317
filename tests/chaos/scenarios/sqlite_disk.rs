//! The disk of the file, and of the logs beside it, is full; later there is room again.

use std::time::{Duration, Instant};

use crate::harness::{On, Site};
use crate::mount::Mount;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let Some(disk) = Mount::new(64) else { return Report::skipped("only root may mount a small disk") };
    let site = Site::on_sqlite(tempfile::tempdir_in(disk.path()).unwrap()).await;
    let mut stage = Stage::new(site, wish).await;
    stage.start().await;
    stage
        .through(async |_, _| {
            let began = Instant::now();
            let mut filler = disk.fill();
            while began.elapsed() < wish.seconds(5, 20) {
                tokio::time::sleep(Duration::from_millis(300)).await;
                // What was freed meanwhile.
                filler = disk.fill();
            }
            std::fs::remove_file(filler).unwrap();
        })
        .await
}
