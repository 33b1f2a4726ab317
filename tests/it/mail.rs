//! Mail through a real SMTP server.

use serde_json::json;

use crate::bodies::{day, event, invoice, purchase};
use crate::harness::{Site, eventually, on_both};
use crate::smtp::Smtp;

on_both!(a_failed_payment_reaches_the_owner_over_smtp, a_server_that_refuses_for_now_is_tried_again);

async fn a_failed_payment_reaches_the_owner_over_smtp(mut site: Site) {
    let smtp = Smtp::start(&mut site);
    site.start_web().await;
    site.start(&["worker"]);
    site.ok(&[
        "workspaces",
        "put",
        "acme",
        "--name",
        "Acmé",
        "--owner-email",
        "ann@example.com",
        "--owner-name",
        "Änn",
    ]);
    site.post_all(&purchase("acme", "cus_1")[..3]).await;
    site.post_all(&[event("failed", "invoice.payment_failed", day(28), invoice("2", "cus_1", "open", 4900, day(28)))])
        .await;
    site.settle().await;
    let arrived = async || smtp.received().pop();
    let mail = eventually("the mail arrives", arrived).await;
    for part in [
        "To: ",
        "ann@example.com",
        "Message-ID: <",
        "Auto-Submitted: auto-generated",
        "multipart/alternative",
        "text/plain",
        "text/html",
    ] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }
    let sent = async || {
        let emails = site.query("select status || ' ' || template || ' ' || recipient from emails").await;
        (emails == ["sent payment_failed ann@example.com"]).then_some(())
    };
    eventually("the mail is marked as sent", sent).await;
    drop(smtp);
}

async fn a_server_that_refuses_for_now_is_tried_again(mut site: Site) {
    let smtp = Smtp::start(&mut site);
    site.start_web().await;
    site.start(&["worker"]);
    site.ok(&["workspaces", "put", "acme", "--owner-email", "later@example.com"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    site.settle().await;
    let retrying = async || {
        let jobs = site.json(&["jobs", "list", "--queue", "mail", "--state", "retrying", "--json"]);
        (jobs[0]["last_error"].as_str()?.contains("451")).then_some(())
    };
    eventually("the refusal is seen and the job waits", retrying).await;
    let arrived = async || smtp.received().pop();
    eventually("the mail arrives", arrived).await;
    assert_eq!(site.json(&["jobs", "list", "--queue", "mail", "--state", "dead", "--json"]), json!([]));
    drop(smtp);
}
