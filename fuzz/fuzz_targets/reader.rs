//! Any body is read, ignored, asked about or refused with a path: never a panic. What is read can be merged, settled and
//! projected, twice the same.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use billing::rules::settle::{Sale, reversals};
use billing::rules::{Kind, Object, Reading, effects_of, project};
use billing::stripe::{Answers, Body, Envelope, read};
use billing::{Catalogue, Plan, PlanKind};
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let plan = |id: &str, kind| Plan {
        id: id.to_owned(),
        name: id.to_owned(),
        kind,
        prices: vec![format!("price_{id}")],
        credits: 10,
        limits: BTreeMap::new(),
    };
    Catalogue::new(vec![plan("pro", PlanKind::Subscription), plan("credits10", PlanKind::OneTime)], BTreeMap::new())
});

fuzz_target!(|data: &[u8]| {
    if Envelope::parse(data).is_err() {
        return;
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(body) = Body::parse(text) else { return };
    for can_ask in [false, true] {
        let Ok(Reading::Facts { objects, notes }) = read(&body, &CATALOGUE, &Answers::new(can_ask)) else { continue };
        let mut known: Vec<Object> = Vec::new();
        for object in &objects {
            let mut merged = Object::new(object.kind, object.id.clone());
            merged.merge(object.clone());
            let once = merged.clone();
            merged.merge(object.clone());
            assert_eq!(merged, once, "merging twice is merging once");
            known.push(merged);
        }
        notes.iter().flat_map(effects_of).for_each(drop);
        let of = |kind| known.iter().filter(|object| object.kind == kind).collect::<Vec<_>>();
        let state = project(&of(Kind::Customer), &of(Kind::Subscription), None, None, Default::default());
        assert_eq!(state, project(&of(Kind::Customer), &of(Kind::Subscription), None, None, Default::default()));
        let sale = Sale { id: "cs_1".to_owned(), credits: 10, total: 1000, at: Default::default() };
        let taken: i64 = reversals(&sale, &of(Kind::Payment)).iter().map(|entry| entry.delta).sum();
        assert!((-10..=0).contains(&taken), "{taken} credits of a sale of ten");
    }
});
