//! From merged objects to a workspace's columns.

use std::hint::black_box;

use billing::rules::{Kind, Object, project};
use chrono::{DateTime, Utc};
use criterion::Criterion;

use super::merge::{merged, told};

pub(crate) fn bench(criterion: &mut Criterion) {
    let known = merged(told());
    let of = |kind: Kind| known.values().filter(|object| object.kind == kind).cloned().collect::<Vec<_>>();
    let (customers, one) = (of(Kind::Customer), of(Kind::Subscription));
    let many: Vec<Object> = one
        .iter()
        .flat_map(|object| (0..20).map(|number| Object { id: format!("{}_{number}", object.id), ..object.clone() }))
        .collect();
    let customers: Vec<&Object> = customers.iter().collect();
    let now = DateTime::<Utc>::UNIX_EPOCH;
    for (name, subscriptions) in [("project/one_subscription", one), ("project/20_subscriptions", many)] {
        let subscriptions: Vec<&Object> = subscriptions.iter().collect();
        assert_eq!(project(&customers, &subscriptions, None, None, now).subscription_status, "active", "{name}");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| project(black_box(&customers), black_box(&subscriptions), None, None, now));
        });
    }
}
