//! How fast the pure parts are: `scripts/bench --criterion` compares each with the yardstick of the same run, and that ratio
//! with the stored one.

mod bodies;
mod merge;
mod project;
mod read;
mod verify;
mod yardstick;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // Once before and once after: a machine that slows down meanwhile shows.
    yardstick::bench(&mut criterion, "yardstick/before");
    verify::bench(&mut criterion);
    read::bench(&mut criterion);
    merge::bench(&mut criterion);
    project::bench(&mut criterion);
    yardstick::bench(&mut criterion, "yardstick/after");
    criterion.final_summary();
}
