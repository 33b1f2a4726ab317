//! The file is made read-only and back, by the flag that also holds for who has it open already.

use std::path::Path;
use std::process::Command;

use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let mut stage = Stage::new(Site::new(on).await, wish).await;
    stage.start().await;
    let files = ["site.db", "site.db-wal"].map(|name| stage.site.dir.path().join(name));
    if !(immutable("+i", &files[0]) && immutable("-i", &files[0])) {
        return Report::skipped("this file system, or this user, has no `chattr +i`");
    }
    stage
        .through(async |_, _| {
            for file in &files {
                assert!(immutable("+i", file));
            }
            tokio::time::sleep(wish.seconds(5, 15)).await;
            for file in &files {
                assert!(immutable("-i", file));
            }
        })
        .await
}

fn immutable(flag: &str, file: &Path) -> bool {
    Command::new("chattr").arg(flag).arg(file).status().is_ok_and(|status| status.success())
}
