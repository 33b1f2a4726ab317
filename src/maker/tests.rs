use std::collections::HashSet;

use billing::stripe::{Answers, Envelope, Secrets, read, signature};

use super::*;

fn maker(api_version: &str) -> Maker {
    let prices = Prices::of(&billing::Catalogue::standard(Some("price_h".into()), Some("price_p".into()), None));
    Maker { api_version: api_version.to_owned(), ..Maker::new("acme", None, prices) }
}

#[test]
fn every_sample_is_an_event_that_can_be_read_in_both_shapes() {
    let catalogue = billing::Catalogue::standard(Some("price_h".into()), Some("price_p".into()), None);
    for version in [NEWEST, "2024-06-20"] {
        let mut ids = HashSet::new();
        for (kind, _) in TYPES {
            let event = sample_of(&mut maker(version), kind, 1_760_000_000).unwrap();
            let envelope = Envelope::parse(event.to_string().as_bytes()).unwrap();
            assert_eq!(envelope.kind, *kind);
            assert!(ids.insert(envelope.id));
            read(&event, &catalogue, &Answers::default()).unwrap();
        }
    }
    assert!(sample_of(&mut maker(NEWEST), "no.such.type", 1).is_none());
}

#[test]
fn the_old_shape_is_old_and_the_new_one_new() {
    let kinds = ["customer.subscription.created", "invoice.paid"];
    let [old_subscription, old_invoice] =
        kinds.map(|kind| sample_of(&mut maker("2024-06-20"), kind, 1).unwrap()["data"]["object"].clone());
    assert!(old_subscription["current_period_end"].is_i64() && old_invoice["subscription"].is_string());
    assert!(old_invoice.get("parent").is_none());
    let [subscription, invoice] =
        kinds.map(|kind| sample_of(&mut maker(NEWEST), kind, 1).unwrap()["data"]["object"].clone());
    assert!(subscription.get("current_period_end").is_none() && invoice.get("subscription").is_none());
    assert!(subscription["items"]["data"][0]["current_period_end"].is_i64());
}

#[test]
fn a_sample_carries_a_signature_that_verifies() {
    let body = sample_of(&mut maker(NEWEST), "invoice.paid", 1_760_000_000).unwrap().to_string();
    let secrets = Secrets::parse("whsec_a").unwrap();
    let header = secrets.sign(body.as_bytes(), 1_760_000_000);
    assert_eq!(signature::verify(&secrets, Some(header.as_bytes()), body.as_bytes(), 1_760_000_100), Ok(()));
}

#[test]
fn one_workspace_is_always_the_same_customer() {
    assert_eq!(maker(NEWEST).customer_id, maker("2024-06-20").customer_id);
    assert_ne!(Maker::new("beta", None, maker(NEWEST).prices).customer_id, maker(NEWEST).customer_id);
}

/// Ids and times of bodies that Stripe has published.
#[test]
fn ids_begin_with_their_time_as_stripes_do() {
    for (id, created) in [
        ("evt_1IlYUUJDPojXS6LN7NEWYSm2", 1_619_697_430),
        ("evt_16YKQi2eZvKYlo2CT2oe5ff3", 1_439_229_084),
        ("in_1KJdKkJDPojXS6LNSwSWkZSN", 1_642_595_534),
    ] {
        let (prefix, rest) = id.split_once('_').unwrap();
        assert_eq!(id_time(created), rest[..6]);
        assert_eq!(timed_id(prefix, created).len(), id.len());
    }
    assert!(timed_id("evt", 1_619_697_430) < timed_id("evt", 1_619_697_431));
}
