//! How registers are stored: the values by field, for everybody to read, and apart from them the writes that they came
//! with, each once with all its fields. Most fields of an object came with one write or two.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{Register, WriteKey};

/// The registers of an object by field.
pub type Fields = BTreeMap<String, Register>;

/// One write: terminal, at, rank, changed, event, and the fields that stand as it wrote them. `T` is a text.
type Write<T> = (bool, i64, u8, bool, T, Vec<T>);

/// A text that is taken from where it stands, if it stands there as it is.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Why stored registers cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the facts are no object")]
    NoObject,
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
        to.collect_map(self.0.iter().map(|(field, register)| (field, &register.value)))
    }
}

/// The writes as JSON; the same registers give the same text.
pub fn writes(fields: &Fields) -> serde_json::Result<String> {
    let mut by_key: BTreeMap<&WriteKey, Vec<&str>> = BTreeMap::new();
    for (field, register) in fields {
        by_key.entry(&register.key).or_default().push(field);
    }
    let mut writes: Vec<Write<&str>> = Vec::with_capacity(by_key.len());
    for (key, fields) in by_key {
        writes.push((key.terminal, key.at, key.rank, key.changed, &key.event, fields));
    }
    serde_json::to_string(&writes)
}

/// The registers of [`Values`] and [`writes`].
pub fn fields(values: Value, writes: &str) -> Result<Fields, Unreadable> {
    let Value::Object(values) = values else { return Err(Unreadable::NoObject) };
    let writes: Vec<Write<Text<'_>>> =
        serde_json::from_str(writes).map_err(|error| Unreadable::Writes(error.to_string()))?;
    let mut keys: BTreeMap<&str, WriteKey> = BTreeMap::new();
    for (terminal, at, rank, changed, event, written) in &writes {
        let (terminal, at, rank, changed) = (*terminal, *at, *rank, *changed);
        let key = WriteKey { terminal, at, rank, changed, event: event.0.as_ref().into() };
        keys.extend(written.iter().map(|field| (field.0.as_ref(), key.clone())));
    }
    let register = |(field, value): (String, Value)| match keys.remove(field.as_str()) {
        Some(key) => Ok((field, Register { value, key })),
        None => Err(Unreadable::NoWrite(field)),
    };
    let fields = values.into_iter().map(register).collect::<Result<_, _>>()?;
    match keys.into_keys().next() {
        Some(field) => Err(Unreadable::NoValue(field.to_owned())),
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
                known.insert(field, Register { value: json!(value), key });
            }
            let stored = (serde_json::to_value(Values(&known)).unwrap(), writes(&known).unwrap());
            prop_assert_eq!(fields(stored.0, &stored.1).unwrap(), known);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_no_registers() {
        let write = r#"[[false,1,2,true,"evt_1",["status"]]]"#;
        assert_eq!(fields(json!({"status": "paid"}), write).unwrap()["status"].key.event, "evt_1".into());
        assert_eq!(fields(json!([]), write), Err(Unreadable::NoObject));
        assert_eq!(fields(json!({}), write), Err(Unreadable::NoValue("status".to_owned())));
        assert_eq!(fields(json!({"status": 1, "total": 2}), write), Err(Unreadable::NoWrite("total".to_owned())));
        for none in ["", "{}", "[[1]]", r#"[[false,1,2,true,"evt_1","status"]]"#] {
            assert!(matches!(fields(json!({}), none), Err(Unreadable::Writes(_))), "{none}");
        }
    }
}
