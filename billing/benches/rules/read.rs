//! From a body's text to what it says, in the shapes of five generations of the API in turn.

use std::hint::black_box;

use billing::Catalogue;
use billing::rules::Reading;
use billing::stripe::{Answers, Body, read};
use criterion::Criterion;

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
        let texts: Vec<String> = events.iter().map(ToString::to_string).collect();
        let tells = |text: &str| {
            let body = Body::parse(text).expect("a body is JSON");
            matches!(read(&body, &catalogue, &answers), Ok(Reading::Facts { .. }))
        };
        assert!(texts.iter().all(|text| tells(text)), "{name}: an event tells nothing");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| texts.iter().filter(|text| tells(black_box(text))).count());
        });
    }
}
