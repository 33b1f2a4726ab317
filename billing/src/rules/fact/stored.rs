//! How registers are stored: the values by field, for everybody to read, and apart from them the writes that they came
//! with, each once with all its fields. Most fields of an object came with one write or two.

use std::borrow::Cow;

use litemap::LiteMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use smol_str::SmolStr;

use super::{Register, WriteKey};

/// The registers of an object by field: a few, so they lie side by side, and so do their names.
pub type Fields = LiteMap<SmolStr, Register>;

/// One write: terminal, at, rank, changed, event, and the fields that stand as it wrote them.
type Write<T, F> = (bool, i64, u8, bool, T, F);

/// A text that is taken from where it stands, if it stands there as it is.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Why stored registers cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the facts are no object")]
    NoObject,
    #[error("the facts: {0}")]
    Facts(String),
    #[error("the writes: {0}")]
    Writes(String),
    #[error("{0} has no value")]
    NoValue(String),
    #[error("nothing wrote {0}")]
    NoWrite(String),
}

/// The values by field.
pub struct Values<'a>(pub &'a Fields);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(field, register)| (field.as_str(), &register.value)))
    }
}

/// The fields of one write.
struct Written<'a>(&'a [(&'a WriteKey, &'a str)]);

impl<'a> Written<'a> {
    fn by_one(written: &'a [(&'a WriteKey, &'a str)]) -> Option<Write<&'a str, Self>> {
        let (key, _) = written.first()?;
        Some((key.terminal, key.at, key.rank, key.changed, &key.event, Self(written)))
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|(_, field)| field))
    }
}

/// The writes as JSON; the same registers give the same text.
pub fn writes(fields: &Fields) -> serde_json::Result<String> {
    let mut by_key: Vec<(&WriteKey, &str)> =
        fields.iter().map(|(field, register)| (&register.key, field.as_str())).collect();
    by_key.sort();
    serde_json::to_string(&by_key.chunk_by(|a, b| a.0 == b.0).filter_map(Written::by_one).collect::<Vec<_>>())
}

/// The registers of [`Values`] and [`writes`].
///
/// # Errors
/// They do not belong together, or are none.
pub fn fields(values: &str, writes: &str) -> Result<Fields, Unreadable> {
    // The map would read pairs in an array, too.
    if !values.trim_start().starts_with('{') {
        return Err(Unreadable::NoObject);
    }
    let values: LiteMap<Text<'_>, Value> =
        serde_json::from_str(values).map_err(|error| Unreadable::Facts(error.to_string()))?;
    let writes: Vec<Write<Text<'_>, Vec<Text<'_>>>> =
        serde_json::from_str(writes).map_err(|error| Unreadable::Writes(error.to_string()))?;
    let mut keys: Vec<(&str, WriteKey)> = Vec::with_capacity(values.len());
    for (terminal, at, rank, changed, event, written) in &writes {
        let (terminal, at, rank, changed) = (*terminal, *at, *rank, *changed);
        let key = WriteKey { terminal, at, rank, changed, event: event.0.as_ref().into() };
        keys.extend(written.iter().map(|field| (field.0.as_ref(), key.clone())));
    }
    keys.sort_unstable_by_key(|(field, _)| *field);
    // Both in the order of their fields.
    let (mut keys, mut fields) = (keys.into_iter().peekable(), Fields::with_capacity(values.len()));
    for (field, value) in values {
        match keys.next_if(|(written, _)| *written <= field.0.as_ref()) {
            Some((written, key)) if written == field.0 => {
                fields.insert(written.into(), Register { value, key });
            }
            Some((written, _)) => return Err(Unreadable::NoValue(written.to_owned())),
            None => return Err(Unreadable::NoWrite(field.0.into_owned())),
        }
    }
    match keys.next() {
        Some((written, _)) => Err(Unreadable::NoValue(written.to_owned())),
        None => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn registers_come_back_as_they_were(
            told in prop::collection::vec((any::<bool>(), -9..9_i64, 1..3_u8, any::<bool>(), "evt_[ab]", "[a-d\"]{0,2}", any::<i64>()), 0..20)
        ) {
            let mut known = Fields::new();
            for (terminal, at, rank, changed, event, field, value) in told {
                let key = WriteKey { terminal, at, rank, changed, event: event.into() };
                known.insert(field.into(), Register { value: json!(value), key });
            }
            let stored = (serde_json::to_string(&Values(&known)).unwrap(), writes(&known).unwrap());
            prop_assert_eq!(fields(&stored.0, &stored.1).unwrap(), known);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_no_registers() {
        let write = r#"[[false,1,2,true,"evt_1",["status"]]]"#;
        assert_eq!(fields(r#"{"status": "paid"}"#, write).unwrap().get("status").unwrap().key.event, "evt_1".into());
        assert_eq!(fields("{}", write), Err(Unreadable::NoValue("status".to_owned())));
        assert_eq!(fields(r#"{"zip": 1}"#, write), Err(Unreadable::NoValue("status".to_owned())));
        for more in ["amount", "total"] {
            let values = json!({"status": 1, more: 2}).to_string();
            assert_eq!(fields(&values, write), Err(Unreadable::NoWrite(more.to_owned())));
        }
        let twice = r#"[[false,1,2,true,"evt_1",["status"]],[false,2,2,true,"evt_2",["status"]]]"#;
        assert_eq!(fields(r#"{"status": "paid"}"#, twice), Err(Unreadable::NoValue("status".to_owned())));
        for none in ["", "1", "[]", r#"[["status", "paid"]]"#] {
            assert_eq!(fields(none, write), Err(Unreadable::NoObject), "{none}");
        }
        assert!(matches!(fields(r#"{"status""#, write), Err(Unreadable::Facts(_))));
        for none in ["", "{}", "[[1]]", r#"[[false,1,2,true,"evt_1","status"]]"#] {
            assert!(matches!(fields("{}", none), Err(Unreadable::Writes(_))), "{none}");
        }
    }
}
