//! What never came, and what stands otherwise at Stripe than here, is found and repaired.

use serde_json::{Value, json};

use crate::bodies::{day, event, now, purchase, session, subscription};
use crate::harness::{On, Site, eventually, on_both};
use crate::stripe_api::StripeApi;

on_both!(
    what_never_came_is_found_and_has_its_effect_once,
    a_dry_run_changes_nothing,
    what_came_and_is_dead_is_not_revived,
    long_lists_are_read_to_their_end,
    a_subscription_that_stands_otherwise_is_made_to_fit,
    the_rest_of_a_long_list_of_items_is_asked_for,
    connected_accounts_are_asked_each,
    what_may_not_be_seen_does_not_hide_the_rest,
    workers_reconcile_by_themselves,
);

async fn with_api(site: &mut Site) -> StripeApi {
    let api = StripeApi::of(site).await;
    site.set("STRIPE_READS_PER_SECOND", "100");
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.start_web().await;
    api
}

fn reconcile(site: &Site, more: &[&str]) -> Value {
    site.json(&[&["reconcile", "--json"], more].concat())
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// Ten credits, bought so many seconds ago.
fn sale(id: &str, ago: i64) -> Value {
    event(id, "checkout.session.completed", now() - ago, session(id, "acme", Some("cus_acme"), "payment", "paid"))
}

async fn what_never_came_is_found_and_has_its_effect_once(mut site: Site) {
    let api = with_api(&mut site).await;
    site.start_with(&["worker", "--queues", "events,mail"], &[]);
    let noise = event("noise", "payment_intent.created", now() - 60, json!({"id": "pi_9", "object": "payment_intent"}));
    let old = sale("old", 4 * 86_400);
    api.lists(None, "/events", vec![noise, sale("3", 60), sale("2", 1800), sale("1", 3600), old]);
    site.post_all(&[sale("2", 1800)]).await;
    let found = reconcile(&site, &[]);
    assert_eq!((&found["events_listed"], &found["events_missing"]), (&json!(3), &json!(2)), "{found}");
    assert_eq!(ids(&found["missing"]), ["evt_3", "evt_1"]);
    let events = site.settle().await;
    assert!(events.len() == 3 && events.iter().all(|event| event["status"] == "processed"), "{events:?}");
    assert_eq!(site.workspace("acme")["credits"], 30);

    assert_eq!(reconcile(&site, &[])["events_missing"], 0);
    // It comes after all.
    let (status, answer) = site.post(&sale("1", 3600)).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(true)));
    assert_eq!(
        reconcile(&site, &["--since", "30d"])["events_missing"],
        1,
        "what is older is found when it is asked for"
    );
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 40);

    let table = site.ok(&["reconcile"]);
    assert!(table.contains("0 of 3 events since") && table.contains("every event is here"), "{table}");
    let passes = site.json(&["reconcile", "--history", "--json"]);
    let missing: Vec<&Value> = passes.as_array().unwrap().iter().map(|pass| &pass["events_missing"]).collect();
    assert_eq!(missing, [0, 1, 0, 2]);
    assert_eq!(passes[3]["found"]["missing"][1]["id"], "evt_1");
    assert!(site.ok(&["reconcile", "--history"]).contains("2 of 3"));
}

async fn a_dry_run_changes_nothing(mut site: Site) {
    let api = with_api(&mut site).await;
    site.post_all(&purchase("acme", "cus_acme")).await;
    api.lists(None, "/events", vec![sale("1", 60)]);
    api.lists(None, "/subscriptions", vec![subscription("cus_acme", "past_due", "price_pro", day(60))]);
    let received = site.query("select cast(count(*) as text) from stripe_events").await;
    let queued = site.json(&["jobs", "list", "--json"]).as_array().unwrap().len();
    let found = reconcile(&site, &["--dry-run"]);
    assert_eq!((&found["dry_run"], &found["events_missing"]), (&json!(true), &json!(1)));
    assert_eq!(found["subscriptions_differing"], 1);
    assert!(site.ok(&["reconcile", "--dry-run"]).contains("Nothing was changed"));
    assert_eq!(site.query("select cast(count(*) as text) from stripe_events").await, received);
    assert_eq!(site.json(&["jobs", "list", "--json"]).as_array().unwrap().len(), queued);
    assert_eq!(site.json(&["reconcile", "--history", "--json"]), json!([]));
}

async fn what_came_and_is_dead_is_not_revived(mut site: Site) {
    let api = with_api(&mut site).await;
    site.start_with(&["worker", "--queues", "events,mail"], &[]);
    let mut unreadable = sale("1", 60);
    unreadable["data"]["object"]["mode"] = json!(7);
    api.lists(None, "/events", vec![unreadable]);
    assert_eq!(reconcile(&site, &[])["events_missing"], 1);
    assert_eq!(site.settle().await[0]["status"], "dead");
    assert_eq!(reconcile(&site, &[])["events_missing"], 0);
    let events = site.json(&["events", "list", "--json"]);
    assert_eq!((&events[0]["status"], &events[0]["attempts"]), (&json!("dead"), &json!(1)));
}

async fn long_lists_are_read_to_their_end(mut site: Site) {
    let api = with_api(&mut site).await;
    let noise = |number: i64| {
        let id = format!("{number}");
        let object = json!({"id": format!("cus_{number}"), "object": "customer", "email": "a@example.com"});
        event(&id, "customer.updated", now() - 10 - number, object)
    };
    api.lists(None, "/events", (0..250).map(noise).collect());
    let many = (0..120).map(|number| subscription(&format!("cus_{number}"), "active", "price_pro", day(60)));
    api.lists(None, "/subscriptions", many.collect());
    api.fail_lists(2);
    let found = reconcile(&site, &[]);
    assert_eq!((&found["events_missing"], &found["subscriptions_differing"]), (&json!(250), &json!(120)));
    let listed = api.listed();
    let of = |list: &str| listed.iter().filter(|(path, _)| path.starts_with(list)).count();
    assert_eq!((of("/v1/events"), of("/v1/subscriptions")), (3 + 2, 2), "two were asked for again: {listed:?}");
    assert_eq!(site.json(&["events", "list", "--limit", "1000", "--json"]).as_array().unwrap().len(), 250);
}

async fn a_subscription_that_stands_otherwise_is_made_to_fit(mut site: Site) {
    let api = with_api(&mut site).await;
    site.start_with(&["worker", "--queues", "events,mail"], &[]);
    for (workspace, customer) in
        [("acme", "cus_acme"), ("gone", "cus_gone"), ("lost", "cus_lost"), ("same", "cus_same")]
    {
        site.ok(&["workspaces", "put", workspace, "--owner-email", "bob@example.com", "--trial-days", "0"]);
        site.post_all(&purchase(workspace, customer)).await;
    }
    site.settle().await;
    let of = |customer: &str, status: &str| subscription(customer, status, "price_pro", day(60));
    api.lists(None, "/subscriptions", vec![of("cus_acme", "past_due"), of("cus_same", "active")]);
    api.has("/subscriptions/sub_cus_gone", of("cus_gone", "canceled"));
    // Of sub_cus_lost Stripe knows nothing.
    let table = site.ok(&["reconcile", "--dry-run"]);
    assert!(table.contains("3 of 4 subscriptions differ") && table.contains("past_due"), "{table}");
    let found = reconcile(&site, &[]);
    assert_eq!(ids(&found["differing"]), ["sub_cus_acme", "sub_cus_gone", "sub_cus_lost"], "{found}");
    let [acme, gone, lost] = [0, 1, 2].map(|number| &found["differing"][number]);
    assert_eq!(acme["differences"], json!([{"field": "status", "here": "active", "stripe": "past_due"}]));
    assert_eq!((&acme["workspace_id"], &acme["customer"]), (&json!("acme"), &json!("cus_acme")));
    assert_eq!(gone["differences"][0]["stripe"], "canceled", "{gone}");
    assert_eq!((&lost["unknown_to_stripe"], &lost["differences"]), (&json!(true), &json!([])));
    for (workspace, status) in [("acme", "past_due"), ("gone", "deleted"), ("lost", "active"), ("same", "active")] {
        assert_eq!(site.workspace(workspace)["subscription_status"], status, "{workspace}");
    }
    assert_eq!(ids(&reconcile(&site, &[])["differing"]), ["sub_cus_lost"]);
    let told = "select workspace_id || ' ' || cause from audit_events where kind = 'drift_found' order by 1";
    let told = site.query(told).await;
    assert_eq!(
        told.iter().map(|it| it.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["acme", "gone", "lost"],
        "{told:?}"
    );
}

async fn the_rest_of_a_long_list_of_items_is_asked_for(mut site: Site) {
    let api = with_api(&mut site).await;
    site.start_with(&["worker", "--queues", "events"], &[]);
    site.post_all(&purchase("acme", "cus_acme")).await;
    site.settle().await;
    // The plan is on the second page.
    let mut listed = subscription("cus_acme", "active", "price_pro", day(60));
    let whole = listed["items"].clone();
    let extra = subscription("cus_acme", "active", "price_extra", day(60))["items"]["data"][0].clone();
    listed["items"]["data"] = json!([extra]);
    listed["items"]["has_more"] = json!(true);
    api.lists(None, "/subscriptions", vec![listed]);
    api.has("/subscription_items", json!({"object": "list", "has_more": false, "data": whole["data"]}));
    assert_eq!(ids(&reconcile(&site, &[])["differing"]), [""; 0]);
    assert_eq!(site.workspace("acme")["subscription_plan"], "pro");
    api.has("/subscription_items", json!({"object": "list", "has_more": false, "data": [extra, whole["data"][0]]}));
    let found = reconcile(&site, &[]);
    assert_eq!(found["differing"][0]["differences"][0]["field"], "items", "{found}");
    assert_eq!(site.workspace("acme")["subscription_plan"], "pro");
    assert_eq!(api.asked().len(), 2);
}

async fn connected_accounts_are_asked_each(mut site: Site) {
    site.set("STRIPE_CONNECT_ACCOUNTS", "acct_ours");
    let api = with_api(&mut site).await;
    site.start_with(&["worker", "--queues", "events,mail"], &[]);
    api.lists(None, "/events", vec![sale("1", 60)]);
    // Asked on its behalf, Stripe does not say whose they are.
    api.lists(Some("acct_ours"), "/events", vec![sale("2", 60)]);
    api.lists(Some("acct_ours"), "/subscriptions", vec![subscription("cus_acme", "active", "price_pro", day(60))]);
    api.lists(None, "/accounts", vec![json!({"id": "acct_ours", "object": "account", "created": day(0)})]);
    let mut all = site.command(&["reconcile", "--dry-run", "--json"]);
    let all: Value = serde_json::from_slice(&all.env("STRIPE_CONNECT_ACCOUNTS", "*").output().unwrap().stdout).unwrap();
    assert_eq!((&all["events_missing"], &all["subscriptions_differing"]), (&json!(2), &json!(1)), "{all}");
    let found = reconcile(&site, &[]);
    let accounts: Vec<&Value> = found["missing"].as_array().unwrap().iter().map(|event| &event["account"]).collect();
    assert_eq!(accounts, [&Value::Null, &json!("acct_ours")]);
    assert_eq!(ids(&found["differing"]), ["acct_ours/sub_cus_acme"]);
    let events = site.settle().await;
    assert!(events.iter().all(|event| event["status"] == "processed"), "{events:?}");
    assert_eq!(site.workspace("acme")["credits"], 20);
}

async fn what_may_not_be_seen_does_not_hide_the_rest(mut site: Site) {
    let api = with_api(&mut site).await;
    api.refuses("/events");
    api.lists(None, "/subscriptions", vec![subscription("cus_acme", "active", "price_pro", day(60))]);
    let output = site.run(&["reconcile", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["subscriptions_differing"], 1);
    assert!(found["refused"][0].as_str().unwrap().contains("403"), "{found}");
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(says.contains("not everything could be looked at") && !says.contains("sk_test_key"), "{says}");
    // The next pass by schedule does not begin behind what was left out.
    assert_eq!(site.query("select cast(count(*) as text) from reconciliations where complete").await, ["0"]);

    for wrong in ["31d", "0s", "soon", "-1h"] {
        assert_eq!(site.run(&["reconcile", &format!("--since={wrong}")]).status.code(), Some(2), "{wrong}");
    }
    site.set("STRIPE_API_KEY", "");
    let output = site.run(&["reconcile"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("STRIPE_API_KEY"));
}

async fn workers_reconcile_by_themselves(mut site: Site) {
    let api = with_api(&mut site).await;
    let under_way = sale("2", 30);
    api.lists(None, "/events", vec![under_way, sale("1", 3600)]);
    site.start(&["worker"]);
    let tick = match site.on {
        On::Sqlite => "update Jobs set run_at = 0 where cast(job as text) like '%\"reconcile\"%' returning id",
        On::Postgres => {
            "update apalis.jobs set run_at = now() where convert_from(job, 'UTF8') like '%\"reconcile\"%' returning id"
        }
    };
    // By itself it would be a minute, for what waits at a start to be processed first.
    eventually("the tick is there", async || (!site.query(tick).await.is_empty()).then_some(())).await;
    eventually("it has its effect", async || (site.workspace("acme")["credits"] == 10).then_some(())).await;
    let passes = async || {
        let passes = site.json(&["reconcile", "--history", "--json"]);
        (!passes.as_array().unwrap().is_empty()).then_some(passes)
    };
    let passes = eventually("the pass is written down", passes).await;
    assert_eq!((&passes[0]["complete"], &passes[0]["events_missing"]), (&json!(true), &json!(1)), "{passes}");
    // The other is so young that it is presumably on its way.
    assert_eq!(ids(&site.json(&["events", "list", "--json"])), ["evt_1"]);
}
