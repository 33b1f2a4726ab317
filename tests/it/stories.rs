//! What a customer goes through, from signed HTTP to the state that people read.

use serde_json::json;

use crate::bodies::{changed, day, event, invoice, purchase, session, subscription};
use crate::harness::{Site, eventually, on_both};

on_both!(
    a_purchase_makes_the_workspace_active,
    any_order_and_redelivery_give_one_state,
    a_failed_renewal_is_mailed_once_and_recovers,
    a_cancellation_runs_out_and_never_comes_back,
    credits_are_granted_once_per_session,
    an_asynchronous_payment_grants_when_it_succeeds,
    events_wait_for_their_workspace,
    a_second_workspace_does_not_get_the_customer,
    an_unknown_price_moves_the_status_only,
    a_trial_ends_once_and_is_told,
    the_other_mode_is_stored_without_effect,
    one_process_serves_and_works,
);

async fn started(site: &mut Site) {
    site.start_web().await;
    site.start(&["worker"]);
}

async fn a_purchase_makes_the_workspace_active(mut site: Site) {
    started(&mut site).await;
    site.ok(&[
        "workspaces",
        "put",
        "acme",
        "--name",
        "Acme",
        "--owner-email",
        "ann@example.com",
        "--owner-name",
        "Ann",
        "--locale",
        "pt-BR",
    ]);
    site.post_all(&purchase("acme", "cus_acme")).await;
    site.settle().await;
    let acme = site.workspace("acme");
    assert_eq!(acme["subscription_status"], "active");
    assert_eq!(acme["subscription_plan"], "pro");
    assert_eq!(acme["effective_plan"], "pro");
    assert_eq!(acme["stripe_customer_id"], "cus_acme");
    assert_eq!(acme["subscription_id"], "sub_cus_acme");
    assert_eq!(acme["owner"], json!({"email": "ann@example.com", "name": "Ann", "locale": "pt-BR"}));
    assert_eq!(acme["limits"], json!({"members": -1, "projects": -1}));
    assert_eq!(acme["credits"], 0);
    let mut fields: Vec<&str> = acme.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut promised = vec![
        "id",
        "name",
        "owner",
        "stripe_customer_id",
        "subscription_id",
        "subscription_status",
        "subscription_plan",
        "effective_plan",
        "current_period_end",
        "cancel_at_period_end",
        "date_paid",
        "trial",
        "credits",
        "limits",
        "fresh_as_of",
    ];
    promised.sort_unstable();
    assert_eq!(fields, promised);
    eventually("the receipt is in the outbox", async || (site.outbox().len() == 1).then_some(())).await;
    let kinds = site.query("select kind from audit_events where workspace_id = 'acme' order by kind").await;
    assert_eq!(kinds, ["payment_succeeded", "subscription_created", "subscription_updated"]);
}

async fn any_order_and_redelivery_give_one_state(mut site: Site) {
    started(&mut site).await;
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]];
    let mut states = Vec::new();
    for (index, order) in orders.iter().enumerate() {
        let workspace = format!("w{index}");
        site.ok(&["workspaces", "put", &workspace, "--owner-email", "ann@example.com", "--trial-days", "0"]);
        let events = purchase(&workspace, &format!("cus_{index}"));
        for at in order.iter().chain(&order[1..3]) {
            site.post_all(&events[*at..=*at]).await;
        }
        site.settle().await;
        let mut state = site.workspace(&workspace);
        for field in ["id", "name", "stripe_customer_id", "subscription_id"] {
            state[field] = json!(null);
        }
        states.push(state);
        let audits = site.query(&format!("select kind from audit_events where workspace_id = '{workspace}'")).await;
        assert_eq!(audits.len(), 3, "{audits:?}");
    }
    assert_eq!(states[0], states[1]);
    assert_eq!(states[0], states[2]);
    let emails = site.query("select dedupe_key from emails").await;
    assert_eq!(emails.len(), orders.len(), "{emails:?}");
}

async fn a_failed_renewal_is_mailed_once_and_recovers(mut site: Site) {
    started(&mut site).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    let failed = event("failed", "invoice.payment_failed", day(28), invoice("2", "cus_1", "open", 4900, day(28)));
    let past_due = event(
        "past_due",
        "customer.subscription.updated",
        day(28),
        subscription("cus_1", "past_due", "price_pro", day(60)),
    );
    site.post_all(&[failed.clone(), changed(past_due, json!({"status": "active"})), failed]).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["subscription_status"], "past_due");
    assert_eq!(site.workspace("acme")["effective_plan"], "pro");
    let sent = async || {
        let sent = site.query("select dedupe_key from emails where status = 'sent' order by dedupe_key").await;
        (sent.len() == 2).then_some(sent)
    };
    assert_eq!(
        eventually("both mails are sent", sent).await,
        ["payment_failed:in_2:1", "payment_succeeded:in_cus_1_1"]
    );

    let paid = event("recovered", "invoice.paid", day(29), invoice("2", "cus_1", "paid", 4900, day(28)));
    let active = event(
        "active",
        "customer.subscription.updated",
        day(29),
        subscription("cus_1", "active", "price_pro", day(60)),
    );
    // A failure that comes late is not mailed any more: by now it is paid.
    let mut second = invoice("2", "cus_1", "open", 4900, day(28));
    second["attempt_count"] = json!(2);
    let late = event("late", "invoice.payment_failed", day(28) + 60, second);
    site.post_all(&[paid, changed(active, json!({"status": "past_due"}))]).await;
    site.settle().await;
    site.post_all(&[late]).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["subscription_status"], "active");
    let late = async || {
        let status = site.query("select status from emails where dedupe_key = 'payment_failed:in_2:2'").await;
        status.first().filter(|status| *status != "queued").cloned()
    };
    assert_eq!(eventually("the late mail is decided", late).await, "skipped");
}

async fn a_cancellation_runs_out_and_never_comes_back(mut site: Site) {
    started(&mut site).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    let mut ending = subscription("cus_1", "active", "price_pro", day(60));
    ending["cancel_at_period_end"] = json!(true);
    ending["canceled_at"] = json!(day(10));
    let cancelled = changed(
        event("cancelled", "customer.subscription.updated", day(10), ending.clone()),
        json!({"cancel_at_period_end": false, "canceled_at": null}),
    );
    site.post_all(&[cancelled]).await;
    site.settle().await;
    let acme = site.workspace("acme");
    assert_eq!(
        (&acme["subscription_status"], &acme["cancel_at_period_end"]),
        (&json!("cancel_at_period_end"), &json!(true))
    );
    assert_eq!(acme["effective_plan"], "pro");

    let deleted = event(
        "deleted",
        "customer.subscription.deleted",
        day(20),
        subscription("cus_1", "canceled", "price_pro", day(60)),
    );
    let late =
        event("late", "customer.subscription.updated", day(21), subscription("cus_1", "active", "price_pro", day(60)));
    site.post_all(&[deleted, late]).await;
    site.settle().await;
    let acme = site.workspace("acme");
    assert_eq!((&acme["subscription_status"], &acme["effective_plan"]), (&json!("deleted"), &json!("free")));
    assert_eq!(acme["subscription_plan"], "pro");
}

async fn credits_are_granted_once_per_session(mut site: Site) {
    started(&mut site).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    let bought = |id: &str, session_id: &str| {
        event(id, "checkout.session.completed", day(1), session(session_id, "acme", None, "payment", "paid"))
    };
    // Redelivered, and told by a second event of Stripe's.
    site.post_all(&[bought("a", "1"), bought("a", "1"), bought("b", "1"), bought("c", "2")]).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 20);
    site.ok(&["events", "replay", "evt_a", "evt_b", "evt_c"]);
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 20);
    let ledger = site
        .query("select source_id || ' ' || delta || ' ' || balance_after from credit_ledger order by balance_after")
        .await;
    assert_eq!(ledger.len(), 2, "{ledger:?}");
}

async fn an_asynchronous_payment_grants_when_it_succeeds(mut site: Site) {
    started(&mut site).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    let waiting =
        event("a", "checkout.session.completed", day(1), session("1", "acme", Some("cus_1"), "payment", "unpaid"));
    let failing =
        event("f", "checkout.session.completed", day(1), session("2", "acme", Some("cus_1"), "payment", "unpaid"));
    site.post_all(&[waiting, failing]).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 0);
    let paid = event(
        "b",
        "checkout.session.async_payment_succeeded",
        day(2),
        session("1", "acme", Some("cus_1"), "payment", "paid"),
    );
    let failed = event(
        "g",
        "checkout.session.async_payment_failed",
        day(2),
        session("2", "acme", Some("cus_1"), "payment", "unpaid"),
    );
    site.post_all(&[paid, failed]).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 10);
}

async fn events_wait_for_their_workspace(mut site: Site) {
    started(&mut site).await;
    site.post_all(&purchase("acme", "cus_1")).await;
    site.post_all(&[event(
        "guest",
        "checkout.session.completed",
        day(1),
        session("g", "acme", None, "payment", "paid"),
    )])
    .await;
    let mut unclaimed = purchase("nobody", "cus_2");
    unclaimed.remove(0);
    site.post_all(&unclaimed).await;
    site.settle().await;
    // The product makes its workspace after Stripe has told of the sale.
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    let acme = site.workspace("acme");
    assert_eq!((&acme["subscription_status"], &acme["credits"]), (&json!("active"), &json!(10)));
    site.ok(&["workspaces", "put", "beta", "--owner-email", "bob@example.com", "--stripe-customer", "cus_2"]);
    assert_eq!(site.workspace("beta")["subscription_status"], "active");
    let mails = site.query("select dedupe_key from emails order by dedupe_key").await;
    assert_eq!(mails, ["credits_granted:cs_g", "payment_succeeded:in_cus_1_1", "payment_succeeded:in_cus_2_1"]);
}

async fn a_second_workspace_does_not_get_the_customer(mut site: Site) {
    started(&mut site).await;
    site.ok(&["workspaces", "put", "first", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.ok(&["workspaces", "put", "second", "--owner-email", "bob@example.com", "--trial-days", "0"]);
    site.post_all(&purchase("first", "cus_1")).await;
    site.settle().await;
    let mut claim = session("claim", "second", Some("cus_1"), "payment", "paid");
    claim["metadata"]["plan"] = json!("credits10");
    site.post_all(&[event("claim", "checkout.session.completed", day(3), claim)]).await;
    site.settle().await;
    assert_eq!(site.workspace("second")["subscription_status"], "free");
    assert_eq!(site.workspace("second")["credits"], 0);
    assert_eq!(site.workspace("first")["credits"], 10);
    let refused = site.query("select cause from audit_events where kind = 'link_refused'").await;
    assert_eq!(refused, ["cus_1:second"]);
    let put = site.run(&["workspaces", "put", "second", "--stripe-customer", "cus_1"]);
    assert_eq!(put.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&put.stderr).contains("first"), "{put:?}");
}

async fn an_unknown_price_moves_the_status_only(mut site: Site) {
    started(&mut site).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    let swapped = event(
        "swap",
        "customer.subscription.updated",
        day(2),
        subscription("cus_1", "past_due", "price_of_nobody", day(60)),
    );
    site.post_all(&[swapped]).await;
    site.settle().await;
    let acme = site.workspace("acme");
    assert_eq!((&acme["subscription_status"], &acme["subscription_plan"]), (&json!("past_due"), &json!("pro")));
    let unknown = site.query("select cause from audit_events where kind = 'unknown_price'").await;
    assert_eq!(unknown, ["sub_cus_1:price_of_nobody"]);
}

async fn a_trial_ends_once_and_is_told(mut site: Site) {
    site.ok(&["workspaces", "put", "old", "--owner-email", "ann@example.com"]);
    site.ok(&["workspaces", "put", "new", "--owner-email", "ann@example.com"]);
    let past = match site.on {
        crate::harness::On::Sqlite => "'2026-01-01T00:00:00+00:00'",
        crate::harness::On::Postgres => "timestamptz '2026-01-01T00:00:00Z'",
    };
    site.query(&format!("update workspaces set trial_ends_at = {past} where id = 'old' returning id")).await;
    // Access ends with the clock, before any sweep.
    assert_eq!(site.workspace("old")["effective_plan"], "free");
    assert_eq!(site.workspace("old")["subscription_status"], "free");
    site.start(&["worker"]);
    site.start(&["worker", "--queues", "maintenance,mail"]);
    let told = async || (site.outbox().len() == 1).then_some(());
    eventually("the end of the trial is told", told).await;
    let expired = site.query("select workspace_id from audit_events where kind = 'trial_expired'").await;
    assert_eq!(expired, ["old"]);
    let new = site.workspace("new");
    assert_eq!((&new["subscription_status"], &new["effective_plan"]), (&json!("trialing"), &json!("pro")));
    assert_eq!((&new["trial"]["active"], &new["trial"]["days_remaining"]), (&json!(true), &json!(14)));
}

async fn the_other_mode_is_stored_without_effect(mut site: Site) {
    site.set("STRIPE_LIVEMODE", "true");
    started(&mut site).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    let events = site.settle().await;
    assert!(events.iter().all(|event| event["status"] == "ignored"), "{events:?}");
    // Whoever sends it again, or has it run again.
    let ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    site.post_all(&purchase("acme", "cus_1")).await;
    site.ok(&[&["events", "replay"], &ids[..], &ids[..1]].concat());
    site.settle().await;
    site.ok(&["events", "replay", "--since", "2020-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z"]);
    let events = site.settle().await;
    assert!(events.iter().all(|event| event["status"] == "ignored"), "{events:?}");
    assert_eq!(site.workspace("acme")["subscription_status"], "free");
}

async fn one_process_serves_and_works(mut site: Site) {
    site.start(&["serve", "--worker"]);
    site.ready().await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["subscription_status"], "active");
    let ended = site.stop("serve---worker").await;
    assert!(ended.iter().all(std::process::ExitStatus::success), "{ended:?}");
}
