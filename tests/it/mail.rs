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

/// What an operator looks at and tries out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_previewed_and_sent_for_a_test() {
    let mut site = Site::new(crate::harness::On::Sqlite).await;
    let shown = site.ok(&["mail", "preview", "payment_failed", "--locale", "pt_br"]);
    assert!(shown.starts_with("Subject: O pagamento de Acme não foi aprovado"), "{shown}");
    site.ok(&["mail", "preview", "trial_ending", "--locale", "xx", "--out", "shown"]);
    assert!(site.dir.path().join("shown/trial_ending.en.html").exists(), "an unknown locale falls back");
    assert!(site.ok(&["check"]).contains("8 mails in en, pt-BR"));
    let smtp = Smtp::start(&mut site);
    site.ok(&["mail", "send-test", "ann@example.com", "--template", "credits_granted"]);
    assert!(smtp.received()[0].contains("Subject: Your credits for Acme are ready"));
    for (args, code) in [
        (&["mail", "preview", "nothing"][..], 2),
        (&["mail", "send-test", "no address"], 2),
        (&["mail", "send-test", "unknown@example.com"], 1),
    ] {
        assert_eq!(site.run(args).status.code(), Some(code), "{args:?}");
    }
}

/// Words of the operator's own: a further language by a file alone, and what is wrong told with file and line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_is_added_by_a_file_and_its_faults_are_found_by_check() {
    let mut site = Site::new(crate::harness::On::Sqlite).await;
    let english = include_str!("../../billing/templates/locales/en.ftl");
    let folder = site.dir.path().join("words/locales");
    std::fs::create_dir_all(&folder).unwrap();
    site.set("MAIL_TEMPLATES_DIR", "words");
    let german = english.replace(".subject = Payment received for", ".subject = Zahlung für Čačak & <b>erhalten</b>:");
    std::fs::write(folder.join("de.ftl"), &german).unwrap();
    assert!(site.ok(&["check"]).contains("8 mails in en, pt-BR, de"));
    let shown = site.json(&["mail", "preview", "payment_succeeded", "--locale", "de-AT", "--json"]);
    assert_eq!(shown["subject"], "Zahlung für Čačak & <b>erhalten</b>: Acme");
    assert!(shown["html"].as_str().unwrap().contains("Čačak &amp; &lt;b&gt;erhalten&lt;/b&gt;"), "{shown}");

    let line = 1 + english.lines().position(|line| line.contains("Payment received for")).unwrap();
    let broken = [
        (english.replace("Payment received for { $workspace }", "Payment received for { $workspac }"), "$workspac"),
        (english.replace("Payment received for { $workspace }", "Payment received for { $ }"), "xpected"),
    ];
    for (text, named) in broken {
        std::fs::write(folder.join("de.ftl"), text).unwrap();
        for (args, code) in [(&["check"][..], 1), (&["worker"], 2)] {
            let output = site.run(args);
            let says = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
            let says = says.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
            assert_eq!(output.status.code(), Some(code), "{args:?} {says}");
            assert!(says.contains(&format!("words/locales/de.ftl, line {line}: ")), "{args:?} {says}");
            assert!(says.contains(named), "{args:?} {says}");
        }
    }
    site.set("MAIL_TEMPLATES_DIR", "no-such-directory");
    assert_eq!(site.run(&["worker"]).status.code(), Some(2));
}
