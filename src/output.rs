//! Results for people and for programs: a table, or one JSON document.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use serde::Serialize;

/// Nobody reads what is printed any more, as behind `| head`. That is no mistake of anybody's, and nothing is said of it.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output")]
pub(crate) struct Unread;

/// Prints a line.
///
/// # Errors
/// [`Unread`], or the output cannot be written.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Unread.into()),
        written => Ok(written?),
    }
}

/// Says something beside the output, on standard error. Where that cannot be, there is nobody to be told so.
pub(crate) fn aside(text: impl Display) {
    let _nobody_listens = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a value as one JSON document.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// An empty table with these headings; colours only on a terminal.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(headings);
    if !io::stdout().is_terminal() {
        table.force_no_tty();
        // A pipe has no width; lines there must not be broken.
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

/// Prints a table, or `nothing` where it has no rows.
pub(crate) fn print(table: &Table, nothing: &str) -> anyhow::Result<()> {
    if table.row_count() == 0 { line(nothing) } else { line(table) }
}

/// A status word in the colour of how well things stand.
pub(crate) fn status(word: &str) -> Cell {
    let colour = match word {
        "processed" | "active" | "trialing" | "done" | "sent" | "ok" => Color::Green,
        "dead" | "unpaid" | "deleted" | "wrong" => Color::Red,
        "past_due" | "cancel_at_period_end" | "retrying" | "received" | "queued" | "paused" | "incomplete" => {
            Color::Yellow
        }
        _ => Color::Reset,
    };
    Cell::new(word).fg(colour)
}

/// A time for people, UTC; `-` where there is none.
pub(crate) fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A text or `-`.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}
