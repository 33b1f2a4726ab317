//! Clocks that are wrong: one worker's is ten minutes fast, and then set back by an hour; another's is ten minutes slow,
//! in a country that changes its clocks. The receiver's is right: a wrong one would refuse what Stripe signs. So is the
//! database's, which is the queue's; on SQLite there is only one clock, the machine's.

use std::path::Path;

use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

/// Debian's `libfaketime`, where it is installed.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

pub(super) async fn play(on: On, wish: Wish) -> Report {
    if !Path::new(LIBRARY).exists() {
        return Report::skipped("libfaketime is not installed");
    }
    let mut stage = Stage::new(Site::new(on).await, wish).await;
    let offset = stage.site.dir.path().join("offset");
    std::fs::write(&offset, "+10m").unwrap();
    let offset = offset.to_str().unwrap().to_owned();
    // Waiting is not by the clock that people see.
    let (library, steady) = (("LD_PRELOAD", LIBRARY), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"));
    let fast = [library, steady, ("FAKETIME_TIMESTAMP_FILE", &offset), ("FAKETIME_CACHE_DURATION", "1")];
    let slow = [library, steady, ("FAKETIME", "-10m"), ("TZ", "America/New_York")];
    stage.start_with(&[&fast, &slow]).await;
    stage.unhurt = true;
    stage
        .through(async |_, _| {
            for clock in ["-50m", "+10m", "+0m"] {
                std::fs::write(&offset, clock).unwrap();
                tokio::time::sleep(wish.seconds(4, 60)).await;
            }
        })
        .await
}
