//! The end of a workspace's own trial, as its owner is told of it.

use serde_json::json;

use crate::bodies::{day, event, now, subscription};
use crate::harness::{On, Site, eventually, on_both};

on_both!(a_trial_is_reminded_of_before_it_ends, an_upgrade_needs_no_reminder);

async fn end_in(site: &Site, id: &str, seconds: i64) {
    let at = chrono::DateTime::from_timestamp(now() + seconds, 0).unwrap().to_rfc3339();
    let at = if site.on == On::Postgres { format!("timestamptz '{at}'") } else { format!("'{at}'") };
    site.query(&format!("update workspaces set trial_ends_at = {at} where id = '{id}' returning id")).await;
}

async fn a_trial_is_reminded_of_before_it_ends(mut site: Site) {
    for id in ["far", "near", "last", "over"] {
        site.ok(&["workspaces", "put", id, "--owner-email", &format!("{id}@example.com")]);
    }
    end_in(&site, "near", 2 * 86_400).await;
    end_in(&site, "last", 3600).await;
    end_in(&site, "over", -60).await;
    site.start(&["worker"]);
    site.start(&["worker", "--queues", "maintenance,mail"]);
    let sent = eventually("every mail is sent", async || {
        let sent = site.query("select recipient || ' ' || template from emails where status = 'sent' order by 1").await;
        (sent.len() == 3).then_some(sent)
    })
    .await;
    assert_eq!(
        sent,
        ["last@example.com trial_ending", "near@example.com trial_ending", "over@example.com trial_expired"]
    );
    let days = site.query("select substr(dedupe_key, length(dedupe_key)) from emails where template = 'trial_ending' order by recipient").await;
    assert_eq!(days, ["1", "3"]);
}

async fn an_upgrade_needs_no_reminder(mut site: Site) {
    site.start_web().await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "a@example.com", "--stripe-customer", "cus_1"]);
    site.ok(&["workspaces", "put", "other", "--owner-email", "b@example.com"]);
    let bought = subscription("cus_1", "active", "price_pro", day(60));
    site.post_all(&[event("s", "customer.subscription.created", day(1), bought)]).await;
    site.start(&["worker", "--queues", "events"]);
    site.settle().await;
    end_in(&site, "acme", 2 * 86_400).await;
    end_in(&site, "other", 2 * 86_400).await;
    site.start(&["worker"]);
    eventually("the other one is reminded", async || {
        (site.query("select id from emails where status = 'sent'").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(site.query("select recipient from emails").await, ["b@example.com"]);
    assert_eq!(site.workspace("acme")["subscription_status"], json!("active"));
}
