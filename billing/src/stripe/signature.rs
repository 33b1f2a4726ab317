//! Stripe's webhook signature, scheme v1: `Stripe-Signature: t=<unix s>,v1=<hex>[,v1=<hex>…]`, where each `v1` is
//! HMAC-SHA256 over `t`, a dot and the raw body, keyed with the whole secret including `whsec_`.
//! Source: Stripe's documentation "Verify webhook signatures manually" and the official SDKs.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A signature older or younger than this is refused, either way.
pub const TOLERANCE_SECONDS: i64 = 300;
/// A header longer than this is refused unread; Stripe's own are below 300 bytes.
const HEADER_BYTES: usize = 4096;
/// Candidates checked per header. Stripe sends one per active secret, and at most a few secrets are active at once.
const SIGNATURES: usize = 16;

/// The endpoint's signing secrets: any of them may sign, so that one can be rolled while the other still works.
#[derive(Clone)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// From a comma-separated list. `None` when a secret is empty or there is none: an empty key would let anybody sign.
    pub fn parse(list: &str) -> Option<Self> {
        let secrets: Vec<String> = list.split(',').map(|secret| secret.trim().to_owned()).collect();
        (!secrets.is_empty() && secrets.iter().all(|secret| !secret.is_empty())).then_some(Self(secrets))
    }

    /// The header that Stripe would send with `body` at `at` (unix seconds), one signature per secret.
    pub fn sign(&self, body: &[u8], at: i64) -> String {
        let mut header = format!("t={at}");
        for secret in &self.0 {
            header.push_str(",v1=");
            header.push_str(&hex::encode(mac(secret, &at.to_string(), body).finalize().into_bytes()));
        }
        header
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} × ***)", self.0.len())
    }
}

/// Why a request is not taken as Stripe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the Stripe-Signature header is missing")]
    Missing,
    #[error("the Stripe-Signature header is not of the form t=<unix seconds>,v1=<hex>")]
    Malformed,
    #[error("the signature's time is more than {TOLERANCE_SECONDS} seconds from now: {age_seconds} s old")]
    OutOfTolerance { age_seconds: i64 },
    #[error("no v1 signature matches any of the endpoint's secrets; check STRIPE_WEBHOOK_SECRET")]
    Mismatch,
}

impl Refusal {
    /// The stable code in the error's body.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "signature_missing",
            Self::Malformed => "signature_malformed",
            Self::OutOfTolerance { .. } => "signature_out_of_tolerance",
            Self::Mismatch => "signature_mismatch",
        }
    }
}

/// Verifies `header` over the raw `body` at `now` (unix seconds).
pub fn verify(secrets: &Secrets, header: Option<&[u8]>, body: &[u8], now: i64) -> Result<(), Refusal> {
    let header = parse(header.ok_or(Refusal::Missing)?)?;
    let age_seconds = now - header.at;
    if age_seconds.abs() > TOLERANCE_SECONDS {
        return Err(Refusal::OutOfTolerance { age_seconds });
    }
    for secret in &secrets.0 {
        let expected = mac(secret, header.at_text, body);
        for signature in &header.signatures {
            // `verify_slice` compares in constant time.
            if expected.clone().verify_slice(signature).is_ok() {
                return Ok(());
            }
        }
    }
    Err(Refusal::Mismatch)
}

struct Header<'a> {
    /// The digits as they were signed.
    at_text: &'a str,
    at: i64,
    signatures: Vec<[u8; 32]>,
}

/// Strict where the SDKs differ: one `t` of 1 to 12 digits; pairs without `=` and other schemes are passed over.
fn parse(header: &[u8]) -> Result<Header<'_>, Refusal> {
    if header.len() > HEADER_BYTES {
        return Err(Refusal::Malformed);
    }
    let text = std::str::from_utf8(header).map_err(|_| Refusal::Malformed)?;
    let mut at_text = None;
    let mut signatures = Vec::new();
    let mut candidates = 0;
    for pair in text.split(',') {
        let Some((scheme, value)) = pair.split_once('=') else { continue };
        match scheme {
            "t" if at_text.is_some() => return Err(Refusal::Malformed),
            "t" => at_text = Some(value),
            "v1" => {
                candidates += 1;
                if candidates > SIGNATURES {
                    return Err(Refusal::Malformed);
                }
                let mut signature = [0; 32];
                // A value that is no lower-case hex of 32 bytes can match nothing; another one in the header may.
                if !value.bytes().any(|byte| byte.is_ascii_uppercase())
                    && hex::decode_to_slice(value, &mut signature).is_ok()
                {
                    signatures.push(signature);
                }
            }
            _ => {}
        }
    }
    let at_text =
        at_text.filter(|text| (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()));
    let (Some(at_text), true) = (at_text, candidates > 0) else { return Err(Refusal::Malformed) };
    let at = at_text.parse().map_err(|_| Refusal::Malformed)?;
    Ok(Header { at_text, at, signatures })
}

fn mac(secret: &str, at: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
#[path = "signature/tests.rs"]
mod tests;
