//! What events do not tell is asked of Stripe: thin events, true ties, long lists; and connected accounts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::bodies::{changed, day, event, invoice, purchase, session, subscription};
use crate::harness::{On, Site, eventually, on_both};
use crate::stripe_api::StripeApi;

on_both!(
    a_thin_event_and_its_snapshot_are_one_fact,
    a_thin_event_without_a_key_is_ignored,
    an_outage_of_stripe_is_waited_out,
    a_question_that_fails_is_asked_once_an_attempt,
    who_waits_for_stripe_holds_up_nobody,
    a_question_at_the_end_of_a_backlog_is_asked,
    a_tie_is_settled_by_asking,
    the_rest_of_a_long_list_is_asked_for,
    without_a_key_the_start_of_a_long_list_counts,
    what_was_bought_is_asked_for,
    how_many_were_bought_is_asked_for,
    without_a_key_a_named_plan_counts_once,
    connected_accounts_count_where_they_are_named,
    what_is_fetched_is_dated_by_stripes_clock,
    what_a_refunded_payment_was_for_is_asked_for,
);

async fn with_api(site: &mut Site) -> StripeApi {
    let api = StripeApi::of(site).await;
    started(site).await;
    api
}

async fn started(site: &mut Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.start_web().await;
    site.start(&["worker"]);
}

fn thin(id: &str, kind: &str, created: i64, of: &str, object_id: &str) -> Value {
    let created = chrono::DateTime::from_timestamp(created, 0).unwrap().to_rfc3339();
    json!({
        "id": format!("evt_{id}"), "object": "v2.core.event", "type": format!("v1.{kind}"), "created": created,
        "livemode": false, "context": null, "reason": null,
        "related_object": {"id": object_id, "type": of, "url": format!("/v1/whatever/{object_id}")},
    })
}

async fn audit_kinds(site: &Site) -> Vec<String> {
    site.query("select kind from audit_events where workspace_id = 'acme' order by kind").await
}

async fn a_thin_event_and_its_snapshot_are_one_fact(mut site: Site) {
    let api = with_api(&mut site).await;
    let mut paid = invoice("1", "cus_1", "paid", 4900, day(1));
    paid["parent"]["subscription_details"]["metadata"] = json!({"workspace_id": "acme"});
    let past_due = subscription("cus_1", "past_due", "price_pro", day(40));
    let before = json!({"status": "active"});
    api.has("/subscriptions/sub_cus_1", past_due.clone());
    api.has("/invoices/in_1", paid.clone());
    api.limit(2);
    site.post_all(&[
        thin("thin_1", "invoice.paid", day(1), "invoice", "in_1"),
        event("1", "invoice.paid", day(1), paid),
        thin("thin_2", "customer.subscription.updated", day(2), "subscription", "sub_cus_1"),
        changed(event("2", "customer.subscription.updated", day(2), past_due), before),
        thin("thin_3", "customer.subscription.updated", day(2), "subscription", "sub_gone"),
        thin("thin_4", "billing.meter.error_report_triggered", day(2), "billing.meter", "mtr_1"),
    ])
    .await;
    let events = site.settle().await;
    let status = |id: &str| events.iter().find(|event| event["id"] == id).unwrap()["status"].clone();
    for (id, wanted) in
        [("evt_thin_1", "processed"), ("evt_thin_2", "processed"), ("evt_thin_3", "ignored"), ("evt_thin_4", "ignored")]
    {
        assert_eq!(status(id), wanted, "{id}");
    }
    // Two were told to wait, and asked again only then: once each, or twice where two jobs had come to the same event.
    assert!((5..=8).contains(&api.asked().len()), "{:?}", api.asked());
    assert_eq!(audit_kinds(&site).await, ["payment_succeeded", "subscription_updated"]);
    let acme = site.workspace("acme");
    assert_eq!((&acme["subscription_status"], &acme["subscription_plan"]), (&json!("past_due"), &json!("pro")));
}

async fn a_thin_event_without_a_key_is_ignored(mut site: Site) {
    started(&mut site).await;
    site.post_all(&[thin("thin", "invoice.paid", day(1), "invoice", "in_1")]).await;
    let events = site.settle().await;
    assert_eq!(events[0]["status"], "ignored");
    assert!(events[0]["last_error"].as_str().unwrap().contains("STRIPE_API_KEY"), "{}", events[0]);
    // Once there is a key, it is sent again from Stripe's dashboard.
    let api = StripeApi::of(&mut site).await;
    api.has("/invoices/in_1", invoice("1", "cus_1", "paid", 4900, day(1)));
    site.stop("worker").await;
    site.start(&["worker"]);
    let (status, answer) = site.post(&thin("thin", "invoice.paid", day(1), "invoice", "in_1")).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(true)));
    assert_eq!(site.settle().await[0]["status"], "processed");
}

async fn an_outage_of_stripe_is_waited_out(mut site: Site) {
    let api = with_api(&mut site).await;
    api.has("/subscriptions/sub_cus_1", subscription("cus_1", "active", "price_pro", day(40)));
    api.fail(2);
    site.post_all(&[thin("thin", "customer.subscription.updated", day(2), "subscription", "sub_cus_1")]).await;
    let retrying = async || {
        let jobs = site.json(&["jobs", "list", "--queue", "events", "--state", "retrying", "--json"]);
        jobs[0]["id"].as_str().map(ToOwned::to_owned)
    };
    let id = eventually("the first question has failed", retrying).await;
    // As after an hour of it.
    let (jobs, due) = match site.on {
        On::Sqlite => ("Jobs", "1"),
        On::Postgres => ("apalis.jobs", "now() - interval '1 minute'"),
    };
    site.execute(&format!("update {jobs} set attempts = max_attempts - 1, run_at = {due} where id = '{id}'")).await;
    eventually("the second question has failed", async || (api.asked().len() == 2).then_some(())).await;
    let beyond = format!("select cast(max_attempts as text) from {jobs} where id = '{id}' and max_attempts > 13");
    eventually("one more attempt is allowed", async || site.query(&beyond).await.pop()).await;
    site.execute(&format!("update {jobs} set run_at = {due} where id = '{id}'")).await;
    assert_eq!(site.settle().await[0]["status"], "processed");
}

async fn a_question_that_fails_is_asked_once_an_attempt(mut site: Site) {
    let api = with_api(&mut site).await;
    api.has("/subscriptions/sub_cus_1", subscription("cus_1", "active", "price_pro", day(40)));
    api.fail(2);
    site.post_all(&[thin("thin", "customer.subscription.updated", day(2), "subscription", "sub_cus_1")]).await;
    assert_eq!(site.settle().await[0]["status"], "processed");
    assert_eq!(api.asked().len(), 3);
    let attempts = async || {
        let done = site.json(&["jobs", "list", "--queue", "events", "--state", "done", "--json"]);
        done.as_array().unwrap().iter().map(|job| job["attempts"].as_u64().unwrap()).max()
    };
    assert_eq!(eventually("the job is done", attempts).await, 3);
}

async fn who_waits_for_stripe_holds_up_nobody(mut site: Site) {
    site.set("RUST_LOG", "info,billing=debug");
    let api = with_api(&mut site).await;
    site.start_as("another", &["worker", "--queues", "events"], &[]);
    api.has("/subscriptions/sub_cus_1", subscription("cus_1", "active", "price_pro", day(40)));
    let held = api.hold().await;
    site.post_all(&[thin("thin", "customer.subscription.updated", day(2), "subscription", "sub_cus_1")]).await;
    eventually("Stripe is asked", async || (!api.asked().is_empty()).then_some(())).await;
    let others = (0..20).map(|id| {
        let subscription = subscription(&format!("cus_other_{id}"), "active", "price_pro", day(40));
        event(&id.to_string(), "customer.subscription.updated", day(1), subscription)
    });
    site.post_all(&others.collect::<Vec<_>>()).await;
    let left = "select id from stripe_events where status = 'received'";
    eventually("all others are processed", async || (site.query(left).await == ["evt_thin"]).then_some(())).await;
    assert_eq!(api.asked().len(), 1);
    // Once the one or the other is out of patience, they go on as well.
    for log in ["worker.log", "another.log"] {
        let log = std::fs::read_to_string(site.dir.path().join(log)).unwrap();
        assert!(!log.contains("without waiting for a turn") && !log.contains("a job failed"), "{log}");
    }
    drop(held);
    assert!(site.settle().await.iter().all(|event| event["status"] == "processed"));
}

/// The event that asks is taken along by a job that goes on, and is alone in its batch.
async fn a_question_at_the_end_of_a_backlog_is_asked(mut site: Site) {
    let api = StripeApi::of(&mut site).await;
    site.set("EVENT_LANES", "1");
    site.start_web().await;
    api.has("/subscriptions/sub_cus_1", subscription("cus_1", "active", "price_pro", day(40)));
    let mut events: Vec<Value> = (0..320)
        .map(|id| {
            let subscription = subscription(&format!("cus_other_{id}"), "active", "price_pro", day(40));
            event(&id.to_string(), "customer.subscription.updated", day(1), subscription)
        })
        .collect();
    events.push(thin("thin", "customer.subscription.updated", day(2), "subscription", "sub_cus_1"));
    site.post_all(&events).await;
    site.start(&["worker"]);
    assert!(site.settle().await.iter().all(|event| event["status"] == "processed"));
    assert!(!api.asked().is_empty());
}

async fn a_tie_is_settled_by_asking(mut site: Site) {
    let api = with_api(&mut site).await;
    let of = |status: &str| subscription("cus_acme", status, "price_pro", day(40));
    api.has("/subscriptions/sub_cus_acme", of("past_due"));
    let mut events = purchase("acme", "cus_acme");
    let updated = |id: &str, status: &str, before: &str| {
        changed(event(id, "customer.subscription.updated", day(9), of(status)), json!({"status": before}))
    };
    // By their ids alone the last would be `active`.
    events.push(updated("b_active", "active", "past_due"));
    events.push(updated("a_past_due", "past_due", "active"));
    site.post_all(&events).await;
    site.settle().await;
    eventually("the tie is settled", async || {
        (site.workspace("acme")["subscription_status"] == "past_due").then_some(())
    })
    .await;
    let asked = api.asked().iter().filter(|(path, _)| path.contains("sub_cus_acme")).count();
    assert_eq!(asked, 1, "{:?}", api.asked());
}

fn long_invoice() -> Value {
    let mut paid = invoice("1", "cus_1", "paid", 4900, day(1));
    paid["parent"]["subscription_details"]["metadata"] = json!({"workspace_id": "acme"});
    paid["lines"]["data"][0]["parent"]["subscription_item_details"]["proration"] = json!(true);
    paid["lines"]["has_more"] = json!(true);
    paid
}

async fn the_rest_of_a_long_list_is_asked_for(mut site: Site) {
    let api = with_api(&mut site).await;
    let mut lines = invoice("1", "cus_1", "paid", 4900, day(1))["lines"].clone();
    lines["object"] = json!("list");
    api.has("/invoices/in_1/lines", lines);
    site.post_all(&[event("1", "invoice.paid", day(1), long_invoice())]).await;
    assert_eq!(site.settle().await[0]["status"], "processed");
    let acme = site.workspace("acme");
    assert_eq!((&acme["subscription_status"], &acme["subscription_plan"]), (&json!("active"), &json!("pro")));
    assert_eq!(api.asked(), [("/v1/invoices/in_1/lines?limit=100".to_owned(), None)]);
}

async fn without_a_key_the_start_of_a_long_list_counts(mut site: Site) {
    started(&mut site).await;
    site.post_all(&[event("1", "invoice.paid", day(1), long_invoice())]).await;
    assert_eq!(site.settle().await[0]["status"], "processed");
    let partial = site.query("select cast(facts -> 'partial' as text) from stripe_objects where id = 'in_1'").await;
    assert_eq!(partial, ["true"]);
}

async fn what_was_bought_is_asked_for(mut site: Site) {
    let api = with_api(&mut site).await;
    let items = json!([{"id": "li_1", "object": "item", "quantity": 3, "price": {"id": "price_credits_10"}}]);
    api.has("/checkout/sessions/cs_1/line_items", json!({"object": "list", "has_more": false, "data": items}));
    let mut sale = session("1", "acme", Some("cus_acme"), "payment", "paid");
    sale["metadata"] = json!({});
    site.post_all(&[event("1", "checkout.session.completed", day(1), sale)]).await;
    assert_eq!(site.settle().await[0]["status"], "processed");
    assert_eq!(site.workspace("acme")["credits"], 30);
}

/// The event names the plan and leaves the line items out.
fn sale_of_some(id: &str) -> Value {
    event(id, "checkout.session.completed", day(1), session(id, "acme", Some("cus_acme"), "payment", "paid"))
}

async fn how_many_were_bought_is_asked_for(mut site: Site) {
    let api = with_api(&mut site).await;
    let items = json!([{"id": "li_1", "object": "item", "quantity": 3, "price": {"id": "price_credits_10"}}]);
    api.has("/checkout/sessions/cs_1/line_items", json!({"object": "list", "has_more": false, "data": items}));
    api.refuses("/checkout/sessions/cs_2/line_items");
    let mut said = sale_of_some("4");
    said["data"]["object"]["metadata"]["quantity"] = json!("2");
    // Three by Stripe's word, one for want of any, one that Stripe does not know, and two by the product's word.
    site.post_all(&[sale_of_some("1"), sale_of_some("2"), sale_of_some("3"), said]).await;
    let events = site.settle().await;
    assert!(events.iter().all(|event| event["status"] == "processed"), "{events:?}");
    assert_eq!(site.workspace("acme")["credits"], 30 + 10 + 10 + 20);
    let asked: BTreeSet<String> = api.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains("cs_4")), "{asked:?}");
}

async fn without_a_key_a_named_plan_counts_once(mut site: Site) {
    started(&mut site).await;
    site.post_all(&[sale_of_some("1")]).await;
    assert_eq!(site.settle().await[0]["status"], "processed");
    assert_eq!(site.workspace("acme")["credits"], 10);
}

async fn connected_accounts_count_where_they_are_named(mut site: Site) {
    site.set("STRIPE_CONNECT_ACCOUNTS", "acct_ours");
    let api = with_api(&mut site).await;
    let items = json!([{"id": "li_1", "object": "item", "quantity": 1, "price": {"id": "price_credits_10"}}]);
    api.has("/checkout/sessions/cs_1/line_items", json!({"object": "list", "has_more": false, "data": items}));
    let of = |account: &str, id: &str, kind: &str, object: Value| {
        let mut event = event(&format!("{account}_{id}"), kind, day(1), object);
        event["account"] = json!(account);
        event
    };
    let mut sale = session("1", "acme", Some("cus_1"), "payment", "paid");
    sale["metadata"] = json!({});
    let refund =
        json!({"id": "re_1", "object": "refund", "amount": 500, "payment_intent": "pi_1", "status": "succeeded"});
    site.post_all(&[
        of("acct_other", "1", "checkout.session.completed", sale.clone()),
        of("acct_ours", "1", "checkout.session.completed", sale),
        of("acct_ours", "2", "refund.created", refund),
        of("acct_ours", "3", "customer.subscription.created", subscription("cus_1", "active", "price_pro", day(40))),
        // The same ids in our own account are other objects.
        event("own", "customer.subscription.deleted", day(2), subscription("cus_1", "canceled", "price_pro", day(40))),
    ])
    .await;
    let events = site.settle().await;
    let ended: Vec<(&str, &str)> =
        events.iter().map(|event| (event["id"].as_str().unwrap(), event["status"].as_str().unwrap())).collect();
    assert!(ended.contains(&("evt_acct_other_1", "ignored")), "{ended:?}");
    assert_eq!(ended.iter().filter(|(_, status)| *status == "processed").count(), 4, "{ended:?}");
    let acme = site.workspace("acme");
    assert_eq!((&acme["credits"], &acme["stripe_customer_id"]), (&json!(5), &json!("cus_1")));
    assert_eq!((&acme["subscription_status"], &acme["subscription_id"]), (&json!("active"), &json!("sub_cus_1")));
    assert_eq!(api.asked()[0].1.as_deref(), Some("acct_ours"));
    let customers = site.query("select customer_id from stripe_subscriptions order by status").await;
    assert_eq!(customers, ["cus_1", "cus_1"]);
}

/// Ours may be wrong, and an object that was fetched "in the future" would hide what happens until then.
async fn what_is_fetched_is_dated_by_stripes_clock(mut site: Site) {
    let api = with_api(&mut site).await;
    let created = chrono::DateTime::parse_from_rfc3339("2026-01-10T08:00:00Z").unwrap().timestamp();
    api.date("Sat, 10 Jan 2026 08:00:10 GMT");
    let of = |status: &str| subscription("cus_1", status, "price_pro", created + 30 * 86_400);
    api.has("/subscriptions/sub_cus_1", of("past_due"));
    site.post_all(&[thin("thin", "customer.subscription.updated", created, "subscription", "sub_cus_1")]).await;
    site.settle().await;
    let writes = site.query("select writes from stripe_objects where id = 'sub_cus_1'").await;
    let writes: Value = serde_json::from_str(&writes[0]).unwrap();
    let at = writes[0][1].as_i64().unwrap();
    assert!((created..created + 10).contains(&at), "{at} is not just before {}", created + 10);
    // What comes next is newer than what was fetched, whatever our clock says.
    site.post_all(&[changed(
        event("next", "customer.subscription.updated", created + 11, of("active")),
        json!({"status": "past_due"}),
    )])
    .await;
    site.settle().await;
    assert_eq!(site.query("select facts ->> 'status' from stripe_objects where id = 'sub_cus_1'").await, ["active"]);
}

/// Since basil neither the invoice nor the charge says which invoice a payment was for.
async fn what_a_refunded_payment_was_for_is_asked_for(mut site: Site) {
    std::fs::write(
        site.dir.path().join("billingd.toml"),
        "[[plans]]\nid = \"pro\"\nname = \"Pro\"\nkind = \"subscription\"\nprices = [\"price_pro\"]\ncredits = 100\n",
    )
    .unwrap();
    let api = with_api(&mut site).await;
    let of = json!({"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "status": "paid"});
    api.has("/invoice_payments", json!({"object": "list", "has_more": false, "data": [of]}));
    let mut paid = invoice("1", "cus_1", "paid", 4900, day(1));
    paid["parent"]["subscription_details"]["metadata"] = json!({"workspace_id": "acme"});
    let refund =
        json!({"id": "re_1", "object": "refund", "amount": 2450, "payment_intent": "pi_1", "status": "succeeded"});
    site.post_all(&[event("1", "invoice.paid", day(1), paid), event("2", "refund.created", day(2), refund)]).await;
    site.settle().await;
    eventually("half of the period's credits are taken back", async || {
        (site.workspace("acme")["credits"] == 50).then_some(())
    })
    .await;
    assert_eq!(api.asked().len(), 1, "{:?}", api.asked());
}
