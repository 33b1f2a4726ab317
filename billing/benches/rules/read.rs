//! From a body to what it says, in the shapes of five generations of the API in turn.

use std::hint::black_box;

use billing::Catalogue;
use billing::rules::Reading;
use billing::stripe::{Answers, read};
use criterion::Criterion;
use serde_json::Value;

use super::bodies;

/// The plans that the bodies are about.
pub(crate) fn catalogue() -> Catalogue {
    let price = |name: &str| Some(format!("price_{name}"));
    Catalogue::standard(price("hobby"), price("pro"), price("credits10"))
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let catalogue = catalogue();
    let answers = Answers::default();
    for (name, events) in [
        ("read/subscription", bodies::subscriptions()),
        ("read/invoice", bodies::invoices()),
        ("read/session", bodies::sessions()),
    ] {
        let told = |event: &Value| matches!(read(event, &catalogue, &answers), Ok(Reading::Facts { .. }));
        assert!(events.iter().all(told), "{name}: an event tells nothing");
        criterion.bench_function(name, |bencher| {
            bencher
                .iter(|| events.iter().map(|event| read(black_box(event), &catalogue, &answers)).collect::<Vec<_>>());
        });
    }
}
