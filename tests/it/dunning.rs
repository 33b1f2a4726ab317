//! What an owner is told while a payment fails: once an attempt, and only what is true by then.

use serde_json::{Value, json};

use crate::bodies::{day, event, invoice};
use crate::harness::{Site, eventually, on_both};

on_both!(
    an_attempt_that_requires_an_action_is_one_mail,
    a_failure_waits_for_an_action_that_is_in_the_inbox,
    each_attempt_says_what_comes_next,
    a_recovery_cancels_what_is_not_sent_yet
);

fn failing(attempt: i64, next: Value) -> Value {
    let mut failing = invoice("2", "cus_1", "open", 4900, day(28));
    failing["attempt_count"] = json!(attempt);
    failing["next_payment_attempt"] = next;
    failing
}

async fn started(site: &mut Site) {
    site.start_web().await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--stripe-customer", "cus_1"]);
}

/// Waits until no mail is queued any more, and gives status and dedupe key of all.
async fn decided(site: &Site, many: usize) -> Vec<String> {
    eventually("every mail is decided", async || {
        let mails = site.query("select status || ' ' || dedupe_key from emails order by dedupe_key").await;
        (mails.len() == many && mails.iter().all(|mail| !mail.starts_with("queued"))).then_some(mails)
    })
    .await
}

async fn an_attempt_that_requires_an_action_is_one_mail(mut site: Site) {
    started(&mut site).await;
    site.start(&["worker"]);
    let failed = |id: &str, attempt| event(id, "invoice.payment_failed", day(28), failing(attempt, json!(day(60))));
    let action =
        |id: &str, attempt| event(id, "invoice.payment_action_required", day(28), failing(attempt, json!(day(60))));
    // In either order, and both of one second.
    site.post_all(&[failed("f1", 1)]).await;
    site.settle().await;
    site.post_all(&[action("a1", 1)]).await;
    site.post_all(&[action("a2", 2)]).await;
    site.settle().await;
    site.post_all(&[failed("f2", 2)]).await;
    assert_eq!(
        decided(&site, 4).await,
        [
            "sent payment_action_required:in_2:1",
            "sent payment_action_required:in_2:2",
            "skipped payment_failed:in_2:1",
            "skipped payment_failed:in_2:2"
        ]
    );
    let reasons = site.query("select distinct last_error from emails where status = 'skipped'").await;
    assert_eq!(reasons, ["the mail about the action this attempt requires says it"]);
    assert_eq!(site.outbox().len(), 2);
}

async fn a_failure_waits_for_an_action_that_is_in_the_inbox(mut site: Site) {
    started(&mut site).await;
    let events = ["worker", "--queues", "events"];
    site.start(&events);
    site.post_all(&[event("f1", "invoice.payment_failed", day(28), failing(1, json!(day(60))))]).await;
    site.settle().await;
    site.kill(&events.join("-"));
    site.post_all(&[event("a1", "invoice.payment_action_required", day(28), failing(1, json!(day(60))))]).await;
    site.start(&["worker", "--queues", "mail"]);
    // Longer than it waits for what nobody has told yet.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(site.query("select status || ' ' || attempts from emails").await, ["queued 0"]);
    site.start(&events);
    assert_eq!(decided(&site, 2).await, ["sent payment_action_required:in_2:1", "skipped payment_failed:in_2:1"]);
}

async fn each_attempt_says_what_comes_next(mut site: Site) {
    started(&mut site).await;
    let failed =
        |id: &str, attempt, next| event(id, "invoice.payment_failed", day(28) + attempt, failing(attempt, next));
    site.post_all(&[failed("f1", 1, json!(null))]).await;
    // Stripe plans the next attempt only afterwards.
    site.post_all(&[event("u1", "invoice.updated", day(28) + 60, failing(1, json!(day(60))))]).await;
    site.start(&["worker"]);
    decided(&site, 1).await;
    let first = site.outbox().pop().unwrap();
    assert!(first.contains("Subject: Payment for acme did not go through"), "{first}");
    assert!(first.contains("We will try again on"), "{first}");
    site.post_all(&[failed("f2", 100, json!(day(61)))]).await;
    decided(&site, 2).await;
    assert!(site.outbox().iter().any(|mail| mail.contains("Subject: Payment for acme failed again")));
    site.post_all(&[failed("f3", 101, json!(null))]).await;
    decided(&site, 3).await;
    assert!(site.outbox().iter().any(|mail| mail.contains("Subject: Last attempt failed: payment for acme")));
}

async fn a_recovery_cancels_what_is_not_sent_yet(mut site: Site) {
    started(&mut site).await;
    site.set("SMTP_URL", "smtp://127.0.0.1:1");
    site.start(&["worker"]);
    site.post_all(&[event("f", "invoice.payment_failed", day(28), failing(1, json!(day(60))))]).await;
    eventually("the first attempt to send has failed", async || {
        (site.query("select id from emails where attempts > 0 and last_error is not null").await.len() == 1)
            .then_some(())
    })
    .await;
    site.post_all(&[event("p", "invoice.paid", day(29), invoice("2", "cus_1", "paid", 4900, day(28)))]).await;
    eventually("the mail about the failure is given up", async || {
        let mails =
            site.query("select status || ': ' || last_error from emails where template = 'payment_failed'").await;
        (mails == ["skipped: the invoice has been paid"]).then_some(())
    })
    .await;
}
