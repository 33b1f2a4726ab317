//! The outside of an event: what the receiver reads before it acknowledges. Nothing here looks into `data.object`
//! beyond its id and its customer's, so that no shape of an object can cost an event.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The last second that PostgreSQL, SQLite and RFC 3339 all agree on: the end of the year 9999.
pub(crate) const LATEST_SECOND: i64 = 253_402_300_799;
const ID_BYTES: usize = 255;

/// An event as the inbox knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub id: String,
    /// Stripe's `type`, such as `invoice.paid`.
    pub kind: String,
    pub api_version: Option<String>,
    pub livemode: bool,
    /// The connected account, where Stripe names one.
    pub account: Option<String>,
    /// When it happened, whole seconds; `None` when the body does not say it in a way that can be kept.
    pub created: Option<DateTime<Utc>>,
    pub object_id: Option<String>,
    /// The customer that the object names, where it names one by its id.
    pub customer: Option<String>,
}

/// Why a body with a good signature is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEvent {
    #[error("the body is not UTF-8 JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    #[error("the body is JSON but not a Stripe event: {0}")]
    NotAnEvent(&'static str),
}

impl NotAnEvent {
    /// The stable code in the error's body.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "not_json",
            Self::NotAnEvent(_) => "not_an_event",
        }
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    id: Lax<'a>,
    #[serde(borrow, default)]
    object: Lax<'a>,
    #[serde(borrow, default, rename = "type")]
    kind: Lax<'a>,
    #[serde(borrow, default)]
    api_version: Lax<'a>,
    #[serde(borrow, default)]
    livemode: Lax<'a>,
    #[serde(borrow, default)]
    account: Lax<'a>,
    #[serde(borrow, default)]
    created: Lax<'a>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
}

/// `data.object`, looked for without building anything on the way: what is beside it may be nested as deep as it likes.
#[derive(Default)]
struct Data<'a> {
    /// `None`: there is no `object`.
    object: Option<Inner<'a>>,
}

/// Stripe's object, of which only the ids count here; anything else has none.
#[derive(Default)]
struct Inner<'a> {
    id: Lax<'a>,
    customer: Lax<'a>,
}

/// Makes a type that reads these members of a JSON object and skips everything else, whatever it is.
macro_rules! members {
    ($type:ident, $visitor:ident, $($name:literal => $member:ident as $found:expr),+) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $type<'a> {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any($visitor)
            }
        }

        struct $visitor;

        impl<'de> Visitor<'de> for $visitor {
            type Value = $type<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut read = $type::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    match &*name {
                        $($name => read.$member = $found(map.next_value()?),)+
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(read)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok($type::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok($type::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok($type::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok($type::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok($type::default())
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok($type::default())
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok($type::default())
            }
        }
    };
}

members!(Data, DataVisitor, "object" => object as Some);
members!(Inner, InnerVisitor, "id" => id as std::convert::identity, "customer" => customer as std::convert::identity);

/// A value of any type, of which only the simple ones are kept.
#[derive(Default)]
enum Lax<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Flag(bool),
    #[default]
    Null,
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Lax<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LaxVisitor)
    }
}

struct LaxVisitor;

impl<'de> Visitor<'de> for LaxVisitor {
    type Value = Lax<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Lax::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Lax::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Lax::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Lax::Other, Lax::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Lax::Other)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Lax::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Lax::Null)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Lax::Other)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Lax::Other)
    }
}

impl Lax<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Short printable ASCII without spaces: what every identifier of Stripe's is, and what any store can keep.
    fn identifier(&self) -> Option<String> {
        self.text()
            .filter(|text| (1..=ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(ToOwned::to_owned)
    }
}

impl Envelope {
    /// Reads the envelope of a body.
    ///
    /// # Errors
    /// The body is no JSON, or has no usable `id`, `type` and `data`.
    pub fn parse(body: &[u8]) -> Result<Self, NotAnEvent> {
        let raw: Raw<'_> = serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                NotAnEvent::NotAnEvent("the body is no JSON object")
            } else {
                NotAnEvent::NotJson(error)
            }
        })?;
        let thin = raw.object.text() == Some("v2.core.event");
        if !thin && !matches!(raw.object, Lax::Null) && raw.object.text() != Some("event") {
            return Err(NotAnEvent::NotAnEvent("`object` is not \"event\""));
        }
        let (object_id, customer) = match raw.data {
            Some(Data { object: Some(Inner { id, customer }) }) => (id.identifier(), customer.identifier()),
            _ if thin => (None, None),
            _ => return Err(NotAnEvent::NotAnEvent("`data.object` is missing")),
        };
        let created = match raw.created {
            Lax::Int(seconds) if (0..=LATEST_SECOND).contains(&seconds) => DateTime::from_timestamp(seconds, 0),
            Lax::Text(ref text) if thin => DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc)),
            _ => None,
        };
        Ok(Self {
            id: raw.id.identifier().ok_or(NotAnEvent::NotAnEvent("`id` is no identifier"))?,
            kind: raw.kind.identifier().ok_or(NotAnEvent::NotAnEvent("`type` is no event type"))?,
            api_version: raw.api_version.identifier(),
            livemode: matches!(raw.livemode, Lax::Flag(true)),
            account: raw.account.identifier(),
            created,
            object_id,
            customer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_read_whatever_is_inside() {
        let envelope = Envelope::parse(
            br#"{"id":"evt_1","object":"event","type":"invoice.paid","api_version":"2026-09-30.endive","created":1760000000,
                "livemode":true,"data":{"object":{"id":"in_1","lines":{"data":[1,{"a":null}]}}},"pending_webhooks":1}"#,
        )
        .unwrap();
        assert_eq!((envelope.id.as_str(), envelope.kind.as_str()), ("evt_1", "invoice.paid"));
        assert_eq!(envelope.object_id.as_deref(), Some("in_1"));
        assert_eq!(envelope.created.map(|at| at.timestamp()), Some(1_760_000_000));
        assert!(envelope.livemode);
    }

    #[test]
    fn what_is_no_event_is_refused_with_a_code() {
        let cases: [(&[u8], &str); 11] = [
            (b"", "not_json"),
            (b"{", "not_json"),
            (b"hello", "not_json"),
            (b"\xff\xfe{}", "not_json"),
            (b"{\"id\":\"evt_\xff\",\"type\":\"a\",\"data\":{\"object\":{}}}", "not_json"),
            (b"[]", "not_an_event"),
            (b"\"evt_1\"", "not_an_event"),
            (b"{}", "not_an_event"),
            (br#"{"id":"evt_1","object":"customer","type":"a.b","data":{"object":{}}}"#, "not_an_event"),
            (br#"{"id":"evt_1","object":"event","type":"a.b","data":{}}"#, "not_an_event"),
            (br#"{"id":"evt\u0000","object":"event","type":"a.b","data":{"object":{}}}"#, "not_an_event"),
        ];
        for (body, code) in cases {
            let refusal = Envelope::parse(body).expect_err(&String::from_utf8_lossy(body));
            assert_eq!(refusal.code(), code, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn depth_beside_the_id_costs_nothing() {
        let deep = format!("{}{}", "[".repeat(450_000), "]".repeat(450_000));
        let body = format!(
            r#"{{"id":"evt_1","type":"a.b","deep":{deep},"data":{{"x":{deep},"object":{{"x":{deep},"id":"in_1"}}}}}}"#
        );
        assert_eq!(Envelope::parse(body.as_bytes()).unwrap().object_id.as_deref(), Some("in_1"));
        // Also where an id is looked for.
        let body = format!(r#"{{"id":"evt_1","type":"a.b","account":{deep},"data":{{"object":{{"id":{deep}}}}}}}"#);
        assert_eq!(Envelope::parse(body.as_bytes()).unwrap().object_id, None);
        for object in ["7", "null", "[1,[2]]", "\"in_1\"", "true", "1.5"] {
            let body = format!(r#"{{"id":"evt_1","type":"a.b","data":{{"object":{object}}}}}"#);
            assert_eq!(Envelope::parse(body.as_bytes()).unwrap().object_id, None, "{object}");
        }
    }

    #[test]
    fn odd_times_and_versions_do_not_cost_the_event() {
        for created in ["292277026596", "-5", "1.5", "\"soon\"", "null", "{}", "99999999999999999999999"] {
            let body = format!(
                r#"{{"id":"evt_1","type":"a.b","created":{created},"api_version":7,"data":{{"object":{{"id":3}}}}}}"#
            );
            let envelope = Envelope::parse(body.as_bytes()).unwrap();
            assert_eq!((envelope.created, envelope.api_version, envelope.object_id), (None, None, None), "{created}");
        }
    }
}
