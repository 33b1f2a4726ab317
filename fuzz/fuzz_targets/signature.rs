//! Any header is refused or accepted, never a panic; and what is accepted is one that we could have written.

#![no_main]

use std::sync::LazyLock;

use billing::stripe::{Secrets, signature};
use libfuzzer_sys::fuzz_target;

static SECRETS: LazyLock<Secrets> = LazyLock::new(|| Secrets::parse("whsec_old,whsec_new").expect("two secrets"));
const NOW: i64 = 1_760_000_000;

fuzz_target!(|data: &[u8]| {
    // The header up to the first line break, the body after it.
    let (header, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &b"{}"[..]),
    };
    if signature::verify(&SECRETS, Some(header), body, NOW).is_ok() {
        let text = std::str::from_utf8(header).expect("a signature is text");
        let ours = |at: i64| SECRETS.sign(body, at);
        let signed = (NOW - 300..=NOW + 300)
            .any(|at| ours(at).split(',').skip(1).any(|signature| text.contains(signature)));
        assert!(signed, "accepted without one of our signatures: {text}");
    }
});
