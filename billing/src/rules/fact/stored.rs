//! How registers are stored: the values by field, for everybody to read, and apart from them the writes that they came
//! with, each once with all its fields. Most fields of an object came with one write or two.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Register, WriteKey};

/// The registers of an object by field.
pub type Fields = BTreeMap<String, Register>;

/// One write: terminal, at, rank, changed, event, and the fields that stand as it wrote them. `T` is a text.
type Write<T> = (bool, i64, u8, bool, T, Vec<T>);

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
pub fn values(fields: &Fields) -> BTreeMap<&str, &Value> {
    fields.iter().map(|(field, register)| (field.as_str(), &register.value)).collect()
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

/// The registers of [`values`] and [`writes`].
pub fn fields(values: Value, writes: &str) -> Result<Fields, Unreadable> {
    let Value::Object(mut values) = values else { return Err(Unreadable::NoObject) };
    let writes: Vec<Write<String>> =
        serde_json::from_str(writes).map_err(|error| Unreadable::Writes(error.to_string()))?;
    let mut fields = Fields::new();
    for (terminal, at, rank, changed, event, written) in writes {
        let key = WriteKey { terminal, at, rank, changed, event: event.into() };
        for field in written {
            let value = values.remove(&field).ok_or_else(|| Unreadable::NoValue(field.clone()))?;
            fields.insert(field, Register { value, key: key.clone() });
        }
    }
    match values.into_iter().next() {
        Some((field, _)) => Err(Unreadable::NoWrite(field)),
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
            let stored = (serde_json::to_value(values(&known)).unwrap(), writes(&known).unwrap());
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
