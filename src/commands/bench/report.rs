//! What came of a run, for programs as one JSON document and for people as tables.

use comfy_table::Table;
use serde::Serialize;

use super::about::About;
use super::modes::Figures;
use super::yardstick::Yardsticks;
use crate::output;

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) mode: &'static str,
    #[serde(flatten)]
    pub(super) about: About,
    /// Events that were stored before anything was measured.
    pub(super) stored: u64,
    #[serde(flatten)]
    pub(super) yardsticks: Yardsticks,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

impl Report {
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let mut about = output::table(&["about", "value"]);
        for (name, value) in self.about.lines() {
            about.add_row(vec![name.to_owned(), value]);
        }
        about.add_row(vec!["stored events".to_owned(), self.stored.to_string()]);
        let yardsticks = &self.yardsticks;
        about.add_row(vec!["yardstick (transactions/s)".to_owned(), or_dash(yardsticks.yardstick_per_second)]);
        about.add_row(vec![format!("while it ran, {STOLEN}"), stolen(yardsticks.yardstick_stolen_percent)]);
        for (name, value) in [
            ("fdatasync (8 KiB appends/s)", yardsticks.fsync_per_second),
            ("verifying alone, one thread (signatures/s)", yardsticks.verify_per_second),
        ] {
            about.add_row(vec![name.to_owned(), or_dash(value)]);
        }
        output::print(&about, "")?;
        for table in self.figures.tables() {
            output::print(&table, "")?;
        }
        Ok(())
    }
}

/// A whole number, or `-` where it was not measured.
pub(super) fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

/// Heading of what the host of a virtual machine took of the processor meanwhile.
pub(super) const STOLEN: &str = "stolen by the host (%)";

pub(super) fn stolen(percent: Option<f64>) -> String {
    percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}"))
}

/// How often the yardstick, or `-`.
pub(super) fn times(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2} ×"))
}

/// A table of one row.
pub(super) fn row(cells: Vec<(String, String)>) -> Table {
    let (headings, values): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
    let mut table = output::table(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    table.add_row(values);
    table
}
