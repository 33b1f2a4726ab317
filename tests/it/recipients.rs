//! Who is written to, who is not, and how an operator sees and changes it.

use serde_json::json;

use crate::bodies::{day, event, invoice, purchase, session};
use crate::harness::{Site, eventually, on_both};
use crate::smtp::Smtp;

on_both!(
    everybody_named_gets_a_mail_of_their_own,
    what_a_workspace_does_not_want_is_skipped,
    a_refused_address_gets_no_more_mail_until_it_is_lifted,
    the_customers_locale_counts_where_the_owner_has_none,
    a_dead_mail_is_retried
);

async fn emails(site: &Site, sql: &str, many: usize) -> Vec<String> {
    eventually("every mail is decided", async || {
        let all = site.query(sql).await.len() == many;
        let undecided = site.query("select id from emails where status = 'queued'").await;
        let mails = site.query(sql).await;
        (all && undecided.is_empty()).then_some(mails)
    })
    .await
}

async fn everybody_named_gets_a_mail_of_their_own(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--owner-name", "Ann"]);
    site.ok(&[
        "workspaces",
        "put",
        "other",
        "--owner-email",
        "bob@example.com",
        "--owner-name",
        "Bob",
        "--locale",
        "pt-BR",
    ]);
    site.query("insert into workspace_members (workspace_id, user_id, role) select 'acme', id, 'billing' from users where email = 'bob@example.com' returning role").await;
    let shown = site.json(&[
        "workspaces",
        "mail",
        "acme",
        "--add-recipient",
        "Office@example.com",
        "--add-recipient",
        "ANN@example.com",
        "--json",
    ]);
    let addresses: Vec<_> =
        shown["recipients"].as_array().unwrap().iter().map(|one| (&one["address"], &one["because"])).collect();
    assert_eq!(
        addresses,
        [
            (&json!("ann@example.com"), &json!("owner")),
            (&json!("bob@example.com"), &json!("member")),
            (&json!("Office@example.com"), &json!("named"))
        ]
    );
    assert!(site.ok(&["workspaces", "show", "acme"]).contains("ann@example.com, bob@example.com, Office@example.com"));
    site.start_web().await;
    site.post_all(&purchase("acme", "cus_1")).await;
    site.start(&["worker"]);
    let sent =
        emails(&site, "select dedupe_key || ' ' || locale || ' ' || status from emails order by dedupe_key", 3).await;
    assert_eq!(
        sent,
        [
            "payment_succeeded:in_cus_1_1 en sent",
            "payment_succeeded:in_cus_1_1:bob@example.com pt-BR sent",
            "payment_succeeded:in_cus_1_1:office@example.com en sent"
        ]
    );
    let mails = site.outbox();
    let to = |address: &str| {
        mails
            .iter()
            .find(|mail| mail.contains(&format!("{address}\r\n")) || mail.contains(&format!("<{address}>")))
            .unwrap()
    };
    assert!(to("bob@example.com").contains("Bob"), "everybody is greeted by their own name");
    assert!(to("Office@example.com").contains("Hello,"));
    assert!(to("Office@example.com").contains("you are a billing contact of"));

    // A replay mails nobody anew, and who is named later gets what happens later.
    site.ok(&[
        "workspaces",
        "mail",
        "acme",
        "--add-recipient",
        "late@example.com",
        "--remove-recipient",
        "office@example.com",
        "--remove-recipient",
        "ann@example.com",
    ]);
    site.ok(&["events", "replay", "evt_cus_1_paid"]);
    site.settle().await;
    assert_eq!(site.query("select id from emails").await.len(), 3);
    site.ok(&["workspaces", "put", "acme", "--owner-email", "new@example.com"]);
    let shown = site.json(&["workspaces", "mail", "acme", "--json"]);
    let addresses: Vec<_> =
        shown["recipients"].as_array().unwrap().iter().map(|one| one["address"].as_str().unwrap()).collect();
    assert_eq!(
        addresses,
        ["new@example.com", "bob@example.com", "late@example.com"],
        "a former owner is not written to"
    );
}

async fn what_a_workspace_does_not_want_is_skipped(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.ok(&["workspaces", "mail", "acme", "--opt-out", "payment_succeeded", "--opt-out", "credits_granted"]);
    for (args, says) in [
        (&["workspaces", "mail", "acme", "--opt-out", "payment_failed"][..], "cannot be ended"),
        (&["workspaces", "mail", "acme", "--opt-out", "nothing"], "there is no mail"),
        (&["workspaces", "mail", "acme", "--add-recipient", "no address"], "is no e-mail address"),
        (
            &["workspaces", "mail", "acme", "--add-recipient", "a@example.com\r\nBcc: b@example.com"],
            "is no e-mail address",
        ),
    ] {
        let output = site.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{output:?}");
    }
    assert_eq!(site.run(&["workspaces", "mail", "nobody"]).status.code(), Some(1));
    assert_eq!(
        site.run(&["workspaces", "mail", "acme", "--remove-recipient", "ann@example.com"]).status.code(),
        Some(1)
    );
    site.start_web().await;
    site.post_all(&purchase("acme", "cus_1")).await;
    site.start(&["worker"]);
    let skipped = emails(&site, "select status || ' ' || coalesce(last_error, '') from emails", 1).await;
    assert_eq!(skipped, ["skipped the workspace does not want these mails; `billingd workspaces mail` shows it"]);
    site.ok(&["workspaces", "mail", "acme", "--opt-in", "credits_granted"]);
    let bought =
        event("c", "checkout.session.completed", day(1), session("1", "acme", Some("cus_1"), "payment", "paid"));
    site.post_all(&[bought]).await;
    site.settle().await;
    emails(&site, "select id from emails where status = 'sent' and template = 'credits_granted'", 1).await;
    assert_eq!(site.json(&["workspaces", "mail", "acme", "--json"])["opted_out"], json!(["payment_succeeded"]));
}

async fn a_refused_address_gets_no_more_mail_until_it_is_lifted(mut site: Site) {
    let smtp = Smtp::start(&mut site);
    site.ok(&["workspaces", "put", "acme", "--owner-email", "Unknown@example.com".to_lowercase().as_str()]);
    site.ok(&["workspaces", "mail", "acme", "--add-recipient", "policy@example.com"]);
    site.start_web().await;
    site.post_all(&purchase("acme", "cus_1")).await;
    site.start(&["worker"]);
    let dead = emails(&site, "select recipient || ' ' || status from emails order by recipient", 2).await;
    assert_eq!(dead, ["policy@example.com dead", "unknown@example.com dead"]);
    let suppressed = site.json(&["emails", "suppressed", "--json"]);
    assert_eq!(suppressed[0]["address"], json!("unknown@example.com"), "a policy says nothing against the address");
    assert!(suppressed[0]["reason"].as_str().unwrap().contains("550") && suppressed.as_array().unwrap().len() == 1);
    assert!(site.ok(&["workspaces", "show", "acme"]).contains("unknown@example.com (suppressed)"));

    site.post_all(&[event("f", "invoice.payment_failed", day(28), invoice("2", "cus_1", "open", 4900, day(28)))]).await;
    site.settle().await;
    emails(&site, "select id from emails where recipient like 'unknown@%' and status = 'dead' and last_error like '%`billingd emails suppressed`%'", 1).await;
    assert_eq!(site.run(&["emails", "suppressed", "--lift", "nobody@example.com"]).status.code(), Some(1));
    site.ok(&["emails", "suppressed", "--lift", "UNKNOWN@example.com"]);
    assert_eq!(site.json(&["emails", "suppressed", "--json"]), json!([]));
    assert!(smtp.received().is_empty());
}

async fn the_customers_locale_counts_where_the_owner_has_none(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.ok(&["workspaces", "put", "beta", "--owner-email", "bob@example.com", "--locale", "en"]);
    site.start_web().await;
    for (workspace, customer) in [("acme", "cus_1"), ("beta", "cus_2")] {
        site.post_all(&purchase(workspace, customer)).await;
        // Told only after the payment.
        let prefers =
            json!({"id": customer, "object": "customer", "preferred_locales": ["pt-BR", "en"], "metadata": {}});
        site.post_all(&[event(&format!("l{customer}"), "customer.updated", day(2), prefers)]).await;
    }
    site.start(&["worker"]);
    let sent = emails(&site, "select recipient || ' ' || locale from emails order by 1", 2).await;
    assert_eq!(sent, ["ann@example.com pt-BR", "bob@example.com en"]);
    assert!(site.outbox().iter().any(|mail| mail.contains("Subject: Pagamento de acme recebido")));
}

async fn a_dead_mail_is_retried(mut site: Site) {
    site.ok(&["workspaces", "put", "acme"]);
    site.start_web().await;
    site.post_all(&purchase("acme", "cus_1")).await;
    site.start(&["worker"]);
    let dead = emails(&site, "select id from emails where status = 'dead'", 1).await;
    assert_eq!(
        site.json(&[
            "emails",
            "list",
            "--status",
            "dead",
            "--template",
            "payment_succeeded",
            "--workspace",
            "acme",
            "--json"
        ])[0]["id"],
        json!(dead[0])
    );
    assert!(site.ok(&["emails", "list"]).contains("the workspace has no owner with an address"));
    assert!(site.ok(&["emails", "show", &dead[0]]).contains("payment_succeeded:in_cus_1_1"));
    assert_eq!(site.json(&["emails", "show", &dead[0], "--json"])["data"]["invoice"], json!("in_cus_1_1"));
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    assert_eq!(site.json(&["emails", "retry", "--all-dead", "--json"])["retried"], json!([dead[0]]));
    emails(&site, "select id from emails where status = 'sent' and recipient = 'ann@example.com'", 1).await;
    assert_eq!(site.json(&["jobs", "list", "--state", "dead", "--json"]), json!([]));
    for (args, code) in
        [(&["emails", "retry"][..], 2), (&["emails", "retry", "none"], 1), (&["emails", "show", "none"], 1)]
    {
        assert_eq!(site.run(args).status.code(), Some(code), "{args:?}");
    }
}
