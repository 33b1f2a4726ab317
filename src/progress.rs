//! How far it is, on standard error; nothing where that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often it is drawn.
const REDRAW: Duration = Duration::from_millis(250);

/// A line that is gone when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of something whose length is not known.
    pub(crate) fn of(what: impl Into<String>) -> Self {
        Self::shown(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", what.into())
    }

    /// Of `length` things.
    pub(crate) fn counting(what: impl Into<String>, length: u64) -> Self {
        Self::shown(ProgressBar::new(length), "{msg} {wide_bar} {human_pos}/{human_len} {elapsed}", what.into())
    }

    /// None.
    pub(crate) fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    fn shown(bar: ProgressBar, template: &str, what: String) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        // A bar that nobody sees needs no thread that draws it.
        if !bar.is_hidden() {
            bar.enable_steady_tick(REDRAW);
        }
        Self(bar)
    }

    /// Whether anybody sees it: what it costs to know how far it is can be saved otherwise.
    pub(crate) fn is_seen(&self) -> bool {
        !self.0.is_hidden()
    }

    pub(crate) fn says(&self, what: String) {
        self.0.set_message(what);
    }

    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    pub(crate) fn add(&self, done: u64) {
        self.0.inc(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
