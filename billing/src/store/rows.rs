//! Rows on their way into a bulk statement; SQLite reads them from one JSON array.

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

/// The ids as rows with one column, `[id text]`.
pub(crate) fn ids<S: AsRef<str>>(ids: &[S]) -> Vec<Id<'_>> {
    ids.iter().map(|id| Id { id: id.as_ref() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Db;
    use crate::store::statement::fetch;
    use crate::store::testing::{self, on_both};

    #[derive(Serialize)]
    struct Row {
        number: i64,
        flag: bool,
        word: Option<&'static str>,
        #[serde(serialize_with = "time")]
        at: DateTime<Utc>,
        #[serde(serialize_with = "time_or_null")]
        never: Option<DateTime<Utc>>,
    }

    on_both! {
        /// SQLite keeps and compares times as text, so both ways into it must write the same text.
        async fn a_row_compares_with_what_is_bound(db: Db) {
            for micros in [0, 1, 1_000, 1_500_000, 1_767_225_600_000_000, 253_402_300_799_000_000] {
                let at = DateTime::from_timestamp_micros(micros).unwrap();
                let row = Row { number: i64::MIN, flag: true, word: Some("a \"b\" \\ \u{1F4B6}"), at, never: None };
                let equal: (i64, bool, Option<String>, DateTime<Utc>, Option<DateTime<Utc>>) = fetch!(
                    one,
                    db,
                    of &[&row],
                    "select number, flag, word, at, never from ",
                    [number bigint, flag boolean, word text, at timestamptz, never timestamptz],
                    " as r where at = $2 and at >= $2 and at <= $2",
                    at
                )
                .unwrap();
                assert_eq!(equal, (i64::MIN, true, row.word.map(ToOwned::to_owned), at, None));
            }
        }
    }
}
