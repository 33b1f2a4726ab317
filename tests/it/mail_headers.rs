//! What mails carry beside their words: signatures, and the way to end them.

use std::process::Output;

use crate::bodies::{day, event, invoice, purchase};
use crate::harness::{On, Site, eventually, python};
use crate::mail_servers::keys;
use crate::smtp::Smtp;

/// What a verifier of other authors says of a mail signed for `mail._domainkey.example.com`.
fn verify(site: &Site, mail: &str, record: &str) -> String {
    let file = site.dir.path().join("verified.eml");
    std::fs::write(&file, mail).unwrap();
    let Output { stdout, stderr, .. } = python()
        .args(["-c", include_str!("dkim_verify.py"), file.to_str().unwrap(), "mail._domainkey.example.com"])
        .arg(site.dir.path().join(record))
        .output()
        .unwrap();
    String::from_utf8([stdout, stderr].concat()).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_holds_for_whoever_checks_it() {
    let mut site = Site::new(On::Sqlite).await;
    keys(&site);
    let smtp = Smtp::start(&mut site);
    site.set("MAIL_FROM", "Cobrança <billing@example.com>");
    site.set("MAIL_DKIM_DOMAIN", "example.com");
    site.set("MAIL_DKIM_SELECTOR", "mail");
    for (key, record, other) in [("rsa.pem", "rsa.txt", "ed25519.txt"), ("ed25519.pem", "ed25519.txt", "rsa.txt")] {
        site.set("MAIL_DKIM_KEY_FILE", key);
        site.set("MAIL_UNSUBSCRIBE_URL", "mailto:billing@example.com?subject=end%20{template}%20for%20{workspace}");
        for template in ["payment_failed", "payment_succeeded"] {
            let before = smtp.copies();
            site.ok(&["mail", "send-test", "ann@example.com", "--locale", "pt-BR", "--template", template]);
            let name = smtp.copies().into_keys().find(|name| !before.contains_key(name)).unwrap();
            let mail = smtp.received().into_iter().find(|mail| mail.contains(&name)).unwrap();
            assert_eq!(verify(&site, &mail, record), "valid", "{key} {template}\n{mail}");
            assert_ne!(verify(&site, &mail, other), "valid", "{key}");
            for (from, to) in [
                ("Auto-Submitted: auto-generated", "Auto-Submitted: no"),
                ("To: ann@example.com", "To: eve@example.com"),
                ("\r\n\r\n--", "\r\n\r\nmore\r\n--"),
                ("From: ", "From: eve@example.com\r\nFrom: "),
            ] {
                let changed = mail.replacen(from, to, 1);
                assert_ne!(changed, mail, "{from}");
                assert_ne!(verify(&site, &changed, record), "valid", "{key} {from}");
            }
        }
    }
    let says = site.run(&["check"]);
    assert!(String::from_utf8(says.stdout).unwrap().contains("signs for example.com"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_that_cannot_sign_is_told_of_at_start() {
    let mut site = Site::new(On::Sqlite).await;
    site.set("MAIL_DKIM_DOMAIN", "example.com");
    let output = site.run(&["worker"]);
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && says.contains("MAIL_DKIM_KEY_FILE: is missing"), "{says}");
    std::fs::write(site.dir.path().join("no.pem"), "hunter2").unwrap();
    site.set("MAIL_DKIM_SELECTOR", "mail");
    for file in ["no.pem", "missing.pem"] {
        site.set("MAIL_DKIM_KEY_FILE", file);
        for (args, code) in [(&["worker"][..], 2), (&["check"], 1)] {
            let output = site.run(args);
            let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
            assert!(output.status.code() == Some(code) && text.contains("MAIL_DKIM_KEY_FILE: "), "{args:?} {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    site.set("MAIL_UNSUBSCRIBE_URL", "app.example.com");
    let says = String::from_utf8(site.run(&["check"]).stderr).unwrap();
    assert!(says.contains("MAIL_UNSUBSCRIBE_URL: has to be"), "{says}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_mails_that_may_be_ended_say_where() {
    let mut site = Site::new(On::Sqlite).await;
    site.set("MAIL_UNSUBSCRIBE_URL", "https://app.example.com/mail?workspace={workspace}&mail={template}");
    site.start_web().await;
    site.ok(&["workspaces", "put", "acme & co", "--owner-email", "ann@example.com"]);
    site.post_all(&purchase("acme & co", "cus_1")).await;
    site.post_all(&[event("f", "invoice.payment_failed", day(28), invoice("2", "cus_1", "open", 4900, day(28)))]).await;
    site.start(&["worker"]);
    eventually("both mails are there", async || (site.outbox().len() == 2).then_some(())).await;
    let mails = site.outbox();
    let of = |subject: &str| mails.iter().find(|mail| mail.contains(subject)).unwrap();
    let link = "List-Unsubscribe: <https://app.example.com/mail?workspace=acme%20%26%20co&mail=payment_succeeded>\r\n";
    assert!(of("Subject: Payment received").contains(link), "{}", of("Subject: Payment received"));
    assert!(!of("did not go through").contains("List-Unsubscribe"));
}
