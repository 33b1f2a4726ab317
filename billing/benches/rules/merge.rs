//! Merging what two years of renewals say, in the order in which it happened and in the opposite one.

use std::collections::BTreeMap;
use std::hint::black_box;

use billing::rules::{Kind, Object, Reading};
use billing::stripe::{Answers, read};
use criterion::{BatchSize, Criterion};

use super::bodies;
use super::read::catalogue;

const MONTHS: i64 = 24;

/// The parts of objects that the events tell of, in their order.
pub(crate) fn told() -> Vec<Object> {
    let (catalogue, answers) = (catalogue(), Answers::default());
    let parts = bodies::renewals(MONTHS).into_iter().flat_map(|event| match read(&event, &catalogue, &answers) {
        Ok(Reading::Facts { objects, .. }) => objects,
        other => unreachable!("a renewal tells of objects: {other:?}"),
    });
    parts.collect()
}

pub(crate) fn merged(parts: Vec<Object>) -> BTreeMap<(Kind, String), Object> {
    let mut known: BTreeMap<(Kind, String), Object> = BTreeMap::new();
    for part in parts {
        let key = (part.kind, part.id.clone());
        match known.get_mut(&key) {
            Some(object) => {
                object.merge(part);
            }
            None => drop(known.insert(key, part)),
        }
    }
    known
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let forward = told();
    let backward: Vec<Object> = forward.iter().rev().cloned().collect();
    assert_eq!(merged(forward.clone()), merged(backward.clone()), "the order matters");
    for (name, parts) in [("merge/in_order", forward), ("merge/reversed", backward)] {
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(|| parts.clone(), |parts| merged(black_box(parts)), BatchSize::SmallInput);
        });
    }
}
