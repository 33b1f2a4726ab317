//! The receiver's promises, with signatures of Stripe's own SDK.

use serde_json::json;

use crate::bodies::{day, event, now, purchase};
use crate::harness::{SECRET, Site, on_both, python};

on_both!(
    the_official_sdk_signs_and_is_understood,
    what_is_refused_leaves_nothing_behind,
    large_and_slow_senders_are_answered,
    refusals_do_not_fill_the_log,
);

/// A header of the official SDK.
fn official(body: &str, secret: &str, at: i64) -> String {
    let program = "import sys, stripe; print(stripe.WebhookSignature.generate_signature_header(sys.argv[1], sys.argv[2], timestamp=int(sys.argv[3])))";
    let output = python().args(["-c", program, body, secret, &at.to_string()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn the_official_sdk_signs_and_is_understood(mut site: Site) {
    site.set("STRIPE_WEBHOOK_SECRET", &format!("whsec_rolled_away,{SECRET}"));
    site.start_web().await;
    let body = event("sdk", "invoice.paid", day(1), json!({"id": "in_1", "note": "ünïcödé \u{1F4B8}"})).to_string();
    for (secret, at, status) in [
        (SECRET, now(), 200),
        ("whsec_rolled_away", now(), 200),
        ("whsec_of_somebody_else", now(), 400),
        (SECRET, now() - 290, 200),
        (SECRET, now() - 310, 400),
        (SECRET, now() + 310, 400),
    ] {
        let (answered, answer) = site.post_raw(body.clone().into_bytes(), &official(&body, secret, at)).await;
        assert_eq!(answered, status, "{secret} {at} {answer}");
    }
}

async fn what_is_refused_leaves_nothing_behind(mut site: Site) {
    site.start_web().await;
    let good = purchase("acme", "cus_1").remove(0).to_string();
    for (body, signature, code) in [
        (good.as_str(), "", "signature_missing"),
        (good.as_str(), "nonsense", "signature_malformed"),
        (good.as_str(), "t=1,v1=00", "signature_out_of_tolerance"),
    ] {
        let (status, answer) = site.post_raw(body.as_bytes().to_vec(), signature).await;
        assert_eq!(status, 400, "{answer}");
        // An empty header is there, but says nothing.
        if !signature.is_empty() {
            assert_eq!(answer["error"]["code"], code);
        }
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    for body in [
        "",
        "not json",
        "[]",
        "{\"id\":\"evt_1\"}",
        "{\"object\":\"customer\",\"id\":\"cus_1\",\"type\":\"x\",\"data\":{\"object\":{}}}",
    ] {
        let (status, answer) = site.post_text(body).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let forged = good.replace("acme", "evil");
    let (status, _) = site.post_raw(forged.into_bytes(), &official(&good, SECRET, now())).await;
    assert_eq!(status, 400);
    assert_eq!(site.json(&["events", "list", "--json"]), json!([]));
    let (status, answer) = site.post_text(&good).await;
    assert_eq!((status, answer), (200, json!({"received": true, "duplicate": false})));
    let (status, answer) = site.post_text(&good).await;
    assert_eq!((status, answer), (200, json!({"received": true, "duplicate": true})));
    assert_eq!(site.json(&["events", "list", "--json"]).as_array().unwrap().len(), 1);
}

async fn large_and_slow_senders_are_answered(mut site: Site) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    site.start_web().await;
    let mut large = event("large", "invoice.paid", day(1), json!({"id": "in_1"}));
    large["data"]["object"]["description"] = json!("x".repeat(2 << 20));
    assert_eq!(site.post(&large).await.0, 413);
    // Half-closed in the middle of the body: answered, and nothing stays.
    let mut stream = tokio::net::TcpStream::connect(site.address()).await.unwrap();
    stream
        .write_all(
            b"POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\nstripe-signature: t=1,v1=00\r\ncontent-length: 100\r\n\r\n{",
        )
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(site.json(&["events", "list", "--json"]), json!([]));
    assert_eq!(site.post_all(&purchase("acme", "cus_1")).await, ());
}

/// Anybody can be refused as often as they like; the metric counts each.
async fn refusals_do_not_fill_the_log(mut site: Site) {
    site.start_web().await;
    for _ in 0..400 {
        assert_eq!(site.post_raw(b"{}".to_vec(), "t=1,v1=00").await.0, 400);
    }
    let metrics = reqwest::get(site.at("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("billingd_webhooks_total{outcome=\"bad_signature\"} 400"), "{metrics}");
    let log = std::fs::read_to_string(site.dir.path().join("web.log")).unwrap();
    let told = log.matches("webhook refused").count();
    assert!((1..200).contains(&told), "{told} lines");
}
