//! The signature of an event of usual size.

use std::hint::black_box;

use billing::stripe::Secrets;
use billing::stripe::signature::verify;
use criterion::Criterion;

const NOW: i64 = 1_767_225_600;

pub(crate) fn bench(criterion: &mut Criterion) {
    let body = super::bodies::invoices().pop().unwrap_or_default().to_string();
    let Some(secrets) = Secrets::parse("whsec_bench") else { return };
    let signed = secrets.sign(body.as_bytes(), NOW);
    let forged = secrets.sign(b"something else", NOW);
    for (name, header, good) in [("verify/signed", &signed, true), ("verify/forged", &forged, false)] {
        assert_eq!(verify(&secrets, Some(header.as_bytes()), body.as_bytes(), NOW).is_ok(), good);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| verify(&secrets, Some(black_box(header.as_bytes())), black_box(body.as_bytes()), NOW));
        });
    }
}
