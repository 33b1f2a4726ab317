//! Simulated time: seconds since the epoch, months as Stripe counts them, and the year itself.

use chrono::{DateTime, Months, Utc};

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 86_400;

/// 2027-09-01T00:00:00Z: the year that follows has a 29 February.
pub(crate) const START: i64 = 1_819_756_800;
/// A year, and the weeks in which the yearly plans of its first days renew.
pub(crate) const END: i64 = START + 385 * DAY;

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time of the simulated year")
}

/// `months` after the anchor. Counted from the anchor itself, so that 31 January leads to 29 February and then to 31 March.
pub(crate) fn months_after(anchor: i64, months: u32) -> i64 {
    at(anchor).checked_add_months(Months::new(months)).expect("a time of the simulated year").timestamp()
}

/// The second until which the month's last days last: where anchors are the hardest.
pub(crate) fn day_of_month(seconds: i64) -> u32 {
    chrono::Datelike::day(&at(seconds))
}
