//! `explain`: the answer to "why is this workspace what it is?".

use serde_json::{Value, json};

use crate::bodies::{changed, day, event, purchase, session, subscription};
use crate::harness::{Site, on_both};

on_both!(each_field_names_the_event_that_set_it_and_what_was_refused);

async fn each_field_names_the_event_that_set_it_and_what_was_refused(mut site: Site) {
    site.start_web().await;
    site.start(&["worker"]);
    let at = |status: &str| subscription("cus_acme", status, "price_pro", day(60));
    let ended = event("ended", "customer.subscription.deleted", day(20), at("canceled"));
    let late =
        changed(event("late", "customer.subscription.updated", day(10), at("past_due")), json!({"status": "active"}));
    let refund =
        json!({"id": "re_1", "object": "refund", "amount": 500, "payment_intent": "pi_x", "status": "succeeded"});
    // Before anybody knows of the workspace, and one at a time, so that it is known in which order they came.
    for batch in [
        purchase("acme", "cus_acme"),
        vec![ended],
        vec![late],
        vec![event(
            "sale",
            "checkout.session.completed",
            day(2),
            session("x", "acme", Some("cus_acme"), "payment", "paid"),
        )],
        vec![event("refund", "refund.created", day(3), refund)],
    ] {
        site.post_all(&batch).await;
        site.settle().await;
    }
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);

    let told = site.json(&["explain", "acme", "--field", "subscription_status", "--json"]);
    assert_eq!(told["fields"][0]["value"], "deleted");
    let because = told["fields"][0]["because"].as_array().unwrap();
    let of_status = |event: &str| -> &Value {
        because.iter().find(|one| one["event_id"] == event && one["of"] == "sub_cus_acme.status").unwrap()
    };
    for (event, verdict) in [("evt_ended", "set"), ("evt_cus_acme_active", "overridden"), ("evt_late", "refused")] {
        assert_eq!(of_status(event)["verdict"], verdict, "{event}: {because:?}");
    }
    assert!(of_status("evt_late")["why"].as_str().unwrap().contains("evt_ended"), "{:?}", of_status("evt_late"));

    let fresh = site.json(&["explain", "acme", "--field", "fresh_as_of", "--json"]);
    let set = |one: &&Value| one["verdict"] == "set";
    let newest: Vec<&Value> = fresh["fields"][0]["because"].as_array().unwrap().iter().filter(set).collect();
    assert!(matches!(newest[..], [one] if one["event_id"] == "evt_ended"), "{fresh}");

    let credits = site.json(&["explain", "acme", "--field", "credits", "--json"]);
    let rows: Vec<(i64, &str)> = credits["credits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["delta"].as_i64().unwrap(), row["event_id"].as_str().unwrap()))
        .collect();
    assert_eq!(rows, [(10, "evt_sale"), (-5, "evt_refund")]);

    let all = site.ok(&["explain", "acme"]);
    for word in ["subscription_status is deleted", "stripe_customer_id is cus_acme", "credits is 5", "refused"] {
        assert!(all.contains(word), "{word} is not in {all}");
    }
    assert_eq!(site.run(&["explain", "acme", "--field", "nonsense"]).status.code(), Some(2));
    assert_eq!(site.run(&["explain", "nobody"]).status.code(), Some(1));
}
