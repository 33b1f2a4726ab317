use super::*;

const NOW: i64 = 1_760_000_000;
const BODY: &[u8] = br#"{"id":"evt_1","object":"event"}"#;

fn secrets(list: &str) -> Secrets {
    Secrets::parse(list).unwrap()
}

fn check(header: &str) -> Result<(), Refusal> {
    verify(&secrets("whsec_a"), Some(header.as_bytes()), BODY, NOW)
}

fn v1(at: &str) -> String {
    hex::encode(mac("whsec_a", at, BODY).finalize().into_bytes())
}

/// Made with `stripe.WebhookSignature.generate_signature_header` of the official Python SDK.
#[test]
fn a_header_of_the_official_sdk_is_accepted() {
    let secret = secrets("whsec_test_secret");
    let body = br#"{"id":"evt_test_webhook","object":"event"}"#;
    let header = "t=1760000000,v1=eb31b96e4635de979bcde44dd438d4fc14c911c831bea6b3b06dd7f0ce0a3a72";
    let ours = secret.sign(body, 1_760_000_000);
    assert_eq!(ours, header);
    assert_eq!(verify(&secret, Some(header.as_bytes()), body, 1_760_000_000), Ok(()));
}

#[test]
fn headers_are_judged_as_strictly_as_the_table_says() {
    let good = v1("1760000000");
    let other = "0".repeat(64);
    let cases: Vec<(String, bool)> = vec![
        (format!("t=1760000000,v1={good}"), true),
        (format!("v1={good},t=1760000000"), true),
        (format!("t=1760000000,v1={other},v1={good}"), true),
        (format!("t=1760000000,v1={good},v0={other}"), true),
        (format!("t=1760000000,v1={good},"), true),
        (format!("t=1760000000,noise,v1={good}"), true),
        (format!("t=1760000000,v0={good}"), false),
        (format!("t=1760000000,V1={good}"), false),
        (format!("t=1760000000,v2={good}"), false),
        (format!("t=1760000000,v1={}", good.to_uppercase()), false),
        (format!("t=1760000000,v1={good}=x"), false),
        (format!("t=1760000000,t=1760000000,v1={good}"), false),
        (format!("t=1760000000, v1={good}"), false),
        (format!("t=+1760000000,v1={}", v1("+1760000000")), false),
        (format!("t=1760000000.0,v1={}", v1("1760000000.0")), false),
        (format!("t=1_760_000_000,v1={}", v1("1_760_000_000")), false),
        (format!("t=0001760000000,v1={}", v1("0001760000000")), false),
        (format!("t=,v1={good}"), false),
        (format!("v1={good}"), false),
        ("t=1760000000".to_owned(), false),
        (String::new(), false),
        (format!("t=1760000000{}", ",v1=00".repeat(SIGNATURES + 1)), false),
        (format!("t=1760000000,v1={good},{}", "x".repeat(HEADER_BYTES)), false),
    ];
    for (header, accepted) in cases {
        assert_eq!(check(&header).is_ok(), accepted, "{header}");
    }
    assert_eq!(verify(&secrets("whsec_a"), None, BODY, NOW), Err(Refusal::Missing));
}

#[test]
fn the_time_may_be_three_hundred_seconds_away_and_no_more() {
    for (at, accepted) in [(NOW - 300, true), (NOW - 301, false), (NOW + 300, true), (NOW + 301, false)] {
        let header = secrets("whsec_a").sign(BODY, at);
        assert_eq!(check(&header).is_ok(), accepted, "{}", NOW - at);
    }
}

#[test]
fn either_of_two_secrets_may_sign() {
    let rolled = secrets("whsec_old, whsec_a");
    assert_eq!(verify(&rolled, Some(secrets("whsec_a").sign(BODY, NOW).as_bytes()), BODY, NOW), Ok(()));
    assert_eq!(verify(&rolled, Some(secrets("whsec_b").sign(BODY, NOW).as_bytes()), BODY, NOW), Err(Refusal::Mismatch));
}

#[test]
fn a_changed_body_is_refused() {
    let header = secrets("whsec_a").sign(BODY, NOW);
    assert_eq!(verify(&secrets("whsec_a"), Some(header.as_bytes()), b"{}", NOW), Err(Refusal::Mismatch));
}

#[test]
fn an_empty_secret_is_no_secret_and_none_is_ever_shown() {
    for list in ["", " ", "whsec_a,", ",whsec_a"] {
        assert!(Secrets::parse(list).is_none(), "{list:?}");
    }
    assert_eq!(format!("{:?}", secrets("whsec_a,whsec_b")), "Secrets(2 × ***)");
}
