//! JSON of Stripe's: a body that is read where it stands, or a tree that was made of an answer.

use serde_json::Value;
use serde_json_borrow as standing;

/// An event's body, parsed. Its texts are taken from where they stand, so that to read an event, most of which nobody looks at,
/// costs an allocation for each object of it instead of one for each word.
#[derive(Debug)]
pub struct Body<'a>(standing::Value<'a>);

impl<'a> Body<'a> {
    /// # Errors
    /// It is no JSON.
    pub fn parse(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self)
    }
}

/// A value of a [`Body`] or of a tree. Its questions are those of `serde_json::Value`, with the same answers.
#[derive(Clone, Copy, Debug)]
pub enum Json<'a> {
    Standing(&'a standing::Value<'a>),
    Tree(&'a Value),
}

impl<'a> From<&'a Body<'a>> for Json<'a> {
    fn from(body: &'a Body<'a>) -> Self {
        Self::Standing(&body.0)
    }
}

impl<'a> From<&'a Value> for Json<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Tree(value)
    }
}

impl<'a> Json<'a> {
    /// A member of an object; of two with one name the last.
    pub fn get(self, name: &str) -> Option<Self> {
        match self {
            Self::Standing(standing::Value::Object(members)) => {
                members.iter().filter(|(known, _)| *known == name).last().map(|(_, value)| Self::Standing(value))
            }
            Self::Tree(value) => value.get(name).map(Self::Tree),
            Self::Standing(_) => None,
        }
    }

    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::Standing(value) => value.as_str(),
            Self::Tree(value) => value.as_str(),
        }
    }

    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Standing(value) => value.as_i64(),
            Self::Tree(value) => value.as_i64(),
        }
    }

    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Standing(value) => value.as_bool(),
            Self::Tree(value) => value.as_bool(),
        }
    }

    pub fn is_null(self) -> bool {
        match self {
            Self::Standing(value) => value.is_null(),
            Self::Tree(value) => value.is_null(),
        }
    }

    pub fn is_object(self) -> bool {
        match self {
            Self::Standing(value) => value.is_object(),
            Self::Tree(value) => value.is_object(),
        }
    }

    /// A number as it stands there.
    pub fn number(self) -> Option<Value> {
        match self {
            Self::Standing(number @ standing::Value::Number(_)) => Some(number.clone().into()),
            Self::Tree(number @ Value::Number(_)) => Some(number.clone()),
            Self::Standing(_) | Self::Tree(_) => None,
        }
    }

    /// The elements of an array.
    pub fn items(self) -> Option<impl Iterator<Item = Self>> {
        let (standing, tree): (&'a [standing::Value<'a>], &'a [Value]) = match self {
            Self::Standing(value) => (value.as_array()?, &[]),
            Self::Tree(value) => (&[], value.as_array()?),
        };
        Some(standing.iter().map(Self::Standing).chain(tree.iter().map(Self::Tree)))
    }
}

#[cfg(test)]
pub(in crate::stripe) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What is seen through all questions, to the bottom.
    fn seen(value: Json<'_>, depth: usize) -> Value {
        let members = ["a", "b\"", ""].map(|name| match value.get(name) {
            Some(member) if depth > 0 => seen(member, depth - 1),
            member => json!(member.is_some()),
        });
        let items = value.items().map(|items| items.map(|item| seen(item, 0)).collect::<Vec<_>>());
        json!([
            value.as_str(),
            value.as_i64(),
            value.as_bool(),
            value.is_null(),
            value.is_object(),
            value.number(),
            members,
            items
        ])
    }

    /// What has nothing below it.
    pub(in crate::stripe) fn any_leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
        ]
    }

    fn any_json() -> impl Strategy<Value = Value> {
        any_leaf().prop_recursive(3, 24, 4, |inner| {
            let name = prop::sample::select(vec!["a", "b\"", "", "c"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_body_says_what_its_tree_says(any in any_json()) {
            let text = any.to_string();
            let body = Body::parse(&text).unwrap();
            let tree: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(seen(Json::from(&body), 3), seen(Json::from(&tree), 3));
        }
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts() {
        let text = r#"{"a": 1, "a": "\u0031"}"#;
        let body = Body::parse(text).unwrap();
        let tree: Value = serde_json::from_str(text).unwrap();
        for json in [Json::from(&body), Json::from(&tree)] {
            assert_eq!(json.get("a").and_then(Json::as_str), Some("1"));
        }
    }
}
