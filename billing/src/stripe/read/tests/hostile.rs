//! Bodies that Stripe would not send: an error that names the place, or facts that every store can keep. Never a panic.

use proptest::prelude::*;

use super::*;
use crate::plans::Catalogue as Plans;
use crate::rules::entitlement::Subject;
use crate::rules::{Rules, billing_of, effects_of, project};
use crate::stripe::json::tests::any_leaf;

/// What may stand where something else should.
fn odd_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => any_leaf(),
        1 => (-5_i64..5).prop_map(Value::from),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, 253_402_300_799, 253_402_300_800, 9_999_999_999_999])
            .prop_map(Value::from),
        1 => prop::sample::select(vec!["", "\0", "a\0b", "workspace:", "claim:", "paid", "canceled", "active", "\u{1F4B6}"])
            .prop_map(Value::from),
        1 => Just(Value::from("x".repeat(9_000))),
        1 => Just(Value::from("x".repeat(600))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(vec!["id", "data", "object", "x"]), inner, 0..3)
                .prop_map(|members| json!(members)),
        ]
    })
}

/// Every place in a body, as a JSON pointer.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| places(member, &format!("{here}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{here}/{index}"), found));
        }
        _ => {}
    }
}

fn texts(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, each)),
        Value::Object(members) => members.values().for_each(|member| texts(member, each)),
        _ => {}
    }
}

/// Reads a body and takes what it says through all the rules.
fn check(body: &Value) {
    let (objects, notes) = match read(body, &catalogue(), &Answers::default()) {
        Ok(Reading::Facts { objects, notes }) => (objects, notes),
        Ok(Reading::Ask(_) | Reading::Ignored(_)) => return,
        Err(unreadable) => {
            let root = unreadable.path.split(['.', '[']).next();
            assert!(matches!(root, Some("event" | "data")), "{unreadable}");
            assert!(unreadable.to_string().len() < 1000, "a reason is for people");
            return;
        }
    };
    let mut storable = |text: &str| assert!(!text.contains('\0') && text.len() <= 8192);
    for object in &objects {
        assert!(object.id.len() <= 512 && !object.id.is_empty());
        storable(&object.id);
        object.owner.iter().for_each(|owner| storable(owner));
        object.fields.iter().for_each(|(field, register)| {
            storable(field);
            texts(&register.value, &mut storable);
        });
    }
    for note in &notes {
        assert!(note.cause.len() <= 1200, "a cause is part of an index");
        storable(&note.cause);
        texts(&note.data, &mut storable);
        drop(effects_of(note));
    }
    let of = |kind| objects.iter().filter(|object| object.kind == kind).collect::<Vec<_>>();
    for seconds in [0, START, 253_402_300_799] {
        let now = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        let state = project(&of(Kind::Customer), &of(Kind::Subscription), Some(now), None, now);
        let subject =
            Subject { id: String::new(), name: String::new(), owner: None, trial_ends_at: Some(now), credits: 0 };
        billing_of(subject, state, &Plans::standard(None, None, None), &Rules::default(), now);
    }
}

#[test]
fn one_odd_value_anywhere() {
    let bodies: Vec<Value> = Generation::ALL.into_iter().flat_map(every_event).collect();
    let config = ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(body in prop::sample::select(bodies), place in any::<prop::sample::Index>(), odd in odd_value())| {
        let mut found = Vec::new();
        places(&body, "", &mut found);
        let mut body = body.clone();
        *body.pointer_mut(found[place.index(found.len())].as_str()).unwrap() = odd;
        check(&body);
    });
}

#[test]
fn the_same_odd_value_in_every_place_in_turn() {
    let odd = [
        Value::Null,
        json!("\0"),
        json!("x".repeat(9_000)),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!([[]]),
        json!({}),
    ];
    for body in every_event(Generation::A).into_iter().chain(every_event(Generation::C)) {
        let mut found = Vec::new();
        places(&body, "", &mut found);
        for place in found {
            for value in &odd {
                let mut body = body.clone();
                *body.pointer_mut(&place).unwrap() = value.clone();
                check(&body);
            }
        }
    }
}

#[test]
fn an_error_names_the_place() {
    let subscription = of_subscription("created", &Subscription::default());
    let invoice = of_invoice("paid", &Invoice::default());
    let cases = [
        (&subscription, "/data/object/cancel_at", json!("soon"), "data.object.cancel_at: is not a whole number"),
        (
            &subscription,
            "/data/object/cancel_at",
            json!(-1),
            "data.object.cancel_at: is no time this side of the year 10000",
        ),
        (
            &subscription,
            "/data/object/items/data/0/current_period_end",
            json!(i64::MAX),
            "data.object.items.data[0].current_period_end: is no time this side of the year 10000",
        ),
        (
            &subscription,
            "/data/object/cancel_at_period_end",
            json!("yes"),
            "data.object.cancel_at_period_end: is neither true nor false",
        ),
        (&subscription, "/data/object/items/data", json!("all"), "data.object.items.data: is not a list"),
        (&subscription, "/data/object/customer", json!("cus\0"), "data.object.customer: contains a NUL character"),
        (&subscription, "/data/object/customer", json!("c".repeat(513)), "data.object.customer: is longer than any id"),
        (
            &subscription,
            "/data/object/status",
            json!("s".repeat(9000)),
            "data.object.status: is longer than any text of Stripe's",
        ),
        (&invoice, "/data/object/total", json!(1e18), "data.object.total: is not a whole number"),
        (&invoice, "/data/object/total", json!(2_000_000_000_000_000_i64), "data.object.total: is no possible amount"),
        (&invoice, "/data/object/id", Value::Null, "data.object.id: is missing"),
        (&invoice, "/data/object", Value::Null, "data.object.id: is missing"),
    ];
    for (body, place, value, wanted) in cases {
        let mut body = body.clone();
        *body.pointer_mut(place).unwrap() = value;
        let unreadable = read(&body, &catalogue(), &Answers::default()).unwrap_err();
        assert_eq!(unreadable.to_string(), wanted, "{place}");
    }
}
