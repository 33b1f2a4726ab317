use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::auth::TokenKey;

const SECRET: &str = "a secret of thirty-two bytes or so";

fn token(secret: &str, claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

#[test]
fn a_token_has_to_be_signed_and_alive() {
    let key = TokenKey::shared(SECRET);
    let holds = |token: &str| key.accepts(token, 1000);
    assert!(holds(&token(SECRET, &json!({"exp": 1001}))));
    assert!(holds(&token(SECRET, &json!({"exp": 950}))), "two clocks may differ by a minute");
    for (case, wrong) in [
        ("expired", token(SECRET, &json!({"exp": 900}))),
        ("without an end", token(SECRET, &json!({"sub": "user_1"}))),
        ("not yet", token(SECRET, &json!({"exp": 2000, "nbf": 1100}))),
        ("another key", token("another secret of thirty-two bytes", &json!({"exp": 2000}))),
        ("nonsense", "a.b.c".to_owned()),
        // {"alg":"none"}, {"exp":2000}
        ("unsigned", "eyJhbGciOiJub25lIn0.eyJleHAiOjIwMDB9.".to_owned()),
    ] {
        assert!(!holds(&wrong), "{case}");
    }
    assert!(!format!("{key:?}").contains("secret of"));
}

#[test]
fn a_public_key_says_itself_what_it_is() {
    let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    assert!(format!("{:?}", TokenKey::public(ed25519)).contains("EdDSA"));
    assert!(TokenKey::public("no key").is_none());
}
