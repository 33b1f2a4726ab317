//! What the machine can do, by none of our own code: a fixed text is parsed and hashed.

use std::hint::black_box;

use criterion::Criterion;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) fn bench(criterion: &mut Criterion, name: &str) {
    let rows: Vec<Value> = (0..100)
        .map(|number| json!({"id": format!("row_{number}"), "amount": number * 100, "tags": ["a", "b"], "paid": true}))
        .collect();
    let text = json!({"object": "list", "data": rows}).to_string();
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let parsed: Option<Value> = serde_json::from_str(black_box(&text)).ok();
            (parsed, Sha256::digest(black_box(text.as_bytes())))
        });
    });
}
