//! Rows on their way into a bulk statement: one JSON array, read by `rows!`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// The rows as one JSON parameter.
pub(crate) fn as_json<T: Serialize>(rows: &[T]) -> sqlx::Result<String> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// Time as sqlx writes it to SQLite (`…+00:00`), so that values of both ways compare as text.
pub(crate) fn time<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, false))
}

#[expect(clippy::ref_option, reason = "the form serde calls")]
pub(crate) fn time_or_null<S: Serializer>(at: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, to),
        None => to.serialize_none(),
    }
}

/// One id as a row.
#[derive(Serialize)]
pub(crate) struct Id<'a> {
    pub(crate) id: &'a str,
}

/// The ids as one JSON parameter for `rows!(…, [id text], …)`.
pub(crate) fn ids<S: AsRef<str>>(ids: &[S]) -> sqlx::Result<String> {
    as_json(&ids.iter().map(|id| Id { id: id.as_ref() }).collect::<Vec<_>>())
}
