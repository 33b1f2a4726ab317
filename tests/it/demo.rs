//! The commands that a newcomer types first.

use serde_json::json;

use crate::harness::{On, Site, on_both};

on_both!(every_sample_is_taken_in_both_shapes);

async fn every_sample_is_taken_in_both_shapes(mut site: Site) {
    site.start_web().await;
    site.start(&["worker"]);
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    let types = site.json(&["trigger", "--list", "--json"]);
    let types: Vec<&str> = types.as_array().unwrap().iter().map(|row| row["type"].as_str().unwrap()).collect();
    for version in ["2026-09-30.endive", "2024-06-20"] {
        let args = [&["trigger", "--json", "--workspace", "acme", "--api-version", version][..], &types].concat();
        let answers = site.json(&args);
        assert!(answers.as_array().unwrap().iter().all(|answer| answer["answer"]["duplicate"] == false), "{answers}");
    }
    let events = site.settle().await;
    assert_eq!(events.len(), 2 * types.len());
    assert!(events.iter().all(|event| event["status"] != "dead"), "{events:?}");
    assert_eq!(site.workspace("acme")["subscription_status"], "deleted");
    assert_eq!(site.workspace("acme")["credits"], 40);
}

#[tokio::test]
async fn the_demo_tells_its_story_without_any_setting() {
    let site = Site::new(On::Sqlite).await;
    let output = site.command(&["demo"]).env_clear().output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "trial_expired",
        "payment_failed",
        "subscription_cancelled",
        "+10",
        "credits_revoked",
        "deleted, plan pro, may use free, 5 credits",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[tokio::test]
async fn fields_of_a_sample_are_set_and_shown() {
    let site = Site::new(On::Sqlite).await;
    let event = site.json(&["trigger", "invoice.payment_failed", "--print", "--set", "data.object.attempt_count=3"]);
    assert_eq!(
        (&event["type"], &event["data"]["object"]["attempt_count"]),
        (&json!("invoice.payment_failed"), &json!(3))
    );
    for (args, code) in [
        (&["trigger", "no.such"][..], 2),
        (&["trigger", "invoice.paid", "--set", "nonsense"], 2),
        (&["trigger", "invoice.paid", "--url", "http://127.0.0.1:1/"], 1),
    ] {
        assert_eq!(site.run(args).status.code(), Some(code), "{args:?}");
    }
}
