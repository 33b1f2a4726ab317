//! What mail servers do to us, by a real server process: refuse, hang up, stall, want TLS or have none.

use std::time::{Duration, Instant};

use crate::bodies::purchase;
use crate::harness::{On, Site, eventually, on_both, python};
use crate::smtp::Smtp;

on_both!(each_answer_has_its_fate, a_server_without_tls_is_told_nothing, a_server_that_stalls_gets_the_mail_once);

/// Makes keys and certificates in the site's directory.
pub(crate) fn keys(site: &Site) {
    let made = python().args(["-c", include_str!("mail_keys.py")]).arg(site.dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn path(site: &Site, name: &str) -> String {
    site.dir.path().join(name).display().to_string()
}

/// A workspace with a paid purchase, which is mailed to each of the addresses.
async fn paid(site: &mut Site, addresses: &[&str]) {
    site.start_web().await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", addresses[0]]);
    for address in &addresses[1..] {
        site.ok(&["workspaces", "mail", "acme", "--add-recipient", address]);
    }
    site.post_all(&purchase("acme", "cus_1")).await;
    site.start(&["worker"]);
}

const FATES: &str = "select recipient || ' ' || status || ' ' || attempts from emails order by 1";

async fn each_answer_has_its_fate(mut site: Site) {
    let smtp = Smtp::start(&mut site);
    paid(&mut site, &["fine@x.example", "later@x.example", "drop@x.example", "unknown@x.example", "policy@x.example"])
        .await;
    let fates = [
        "drop@x.example sent 2",
        "fine@x.example sent 1",
        "later@x.example sent 2",
        "policy@x.example dead 1",
        "unknown@x.example dead 1",
    ];
    eventually("every mail has met its fate", async || (site.query(FATES).await == fates).then_some(())).await;
    let copies = smtp.copies();
    assert!(copies.len() == 3 && copies.values().all(|copies| *copies == 1), "{copies:?}");
    let suppressed = site.json(&["emails", "suppressed", "--json"]);
    assert_eq!(suppressed.as_array().unwrap().len(), 1);
    assert_eq!(suppressed[0]["address"], "unknown@x.example");
    let dead = site.ok(&["emails", "list", "--status", "dead"]);
    assert!(dead.contains("550") && dead.contains("554"), "{dead}");
}

async fn a_server_without_tls_is_told_nothing(mut site: Site) {
    keys(&site);
    let plain = Smtp::with(&site, &[]);
    let port = plain.port;
    site.set("SMTP_URL", &format!("smtp://user:hunter2@127.0.0.1:{port}"));
    site.set("SMTP_CA_FILE", "ca.pem");
    paid(&mut site, &["ann@x.example"]).await;
    eventually("the reason is seen", async || {
        let mails = site.json(&["emails", "list", "--status", "queued", "--json"]);
        mails[0]["last_error"].as_str()?.contains("STARTTLS").then_some(())
    })
    .await;
    assert_eq!(plain.said(), Vec::<String>::new(), "neither the password nor the sender");
    assert!(plain.received().is_empty());
    drop(plain);
    let certificate = path(&site, "server.pem");
    let secured = Smtp::at(&site, port, &[&certificate, "starttls"]);
    eventually("the mail arrives with TLS", async || secured.received().pop()).await;
    eventually("the mail is sent", async || {
        site.query("select status from emails").await.iter().all(|status| status == "sent").then_some(())
    })
    .await;
    assert_eq!(secured.said(), ["login TLSv1.3", "sender TLSv1.3"]);
    assert_eq!(secured.copies().into_values().collect::<Vec<_>>(), [1]);
}

async fn a_server_that_stalls_gets_the_mail_once(mut site: Site) {
    let smtp = Smtp::start(&mut site);
    paid(&mut site, &["stall@x.example", "fine@x.example"]).await;
    // 30 s for the attempt, 10 s until the next.
    let deadline = Instant::now() + Duration::from_secs(150);
    let mut reason = String::new();
    loop {
        let fates = site.query(FATES).await;
        reason.extend(site.query("select last_error from emails where last_error is not null").await);
        if fates == ["fine@x.example sent 1", "stall@x.example sent 2"] {
            break;
        }
        assert!(Instant::now() < deadline, "{fates:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(reason.contains("no answer within 30 s"), "{reason}");
    let copies = smtp.copies();
    assert!(copies.len() == 2 && copies.values().all(|copies| *copies == 1), "{copies:?}");
}

/// TLS from the first byte, and by STARTTLS; whom the settings trust, and whom not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_with_an_authority_of_its_own_is_trusted_where_it_is_named() {
    let mut site = Site::new(On::Sqlite).await;
    keys(&site);
    let (server, elsewhere) = (path(&site, "server.pem"), path(&site, "elsewhere.pem"));
    for (manner, scheme) in [("starttls", "smtp"), ("wrapped", "smtps")] {
        let smtp = Smtp::with(&site, &[&server, manner]);
        let stranger = Smtp::with(&site, &[&elsewhere, manner]);
        let url = |port: u16| format!("{scheme}://user:hunter2@127.0.0.1:{port}");
        site.set("SMTP_URL", &url(smtp.port));
        site.set("SMTP_CA_FILE", "");
        let refused = site.run(&["mail", "send-test", "ann@x.example"]);
        let says = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && says.contains("UnknownIssuer"), "{says}");
        assert!(!says.contains("hunter2"), "{says}");
        site.set("SMTP_CA_FILE", "ca.pem");
        site.ok(&["mail", "send-test", "ann@x.example"]);
        assert!(site.run(&["check"]).stdout.windows(20).any(|says| says == b"with tls, logged in "));
        assert_eq!(smtp.said()[..2], ["login TLSv1.3", "sender TLSv1.3"], "{manner}");
        assert_eq!(smtp.received().len(), 1);
        // The right authority, but for another host.
        site.set("SMTP_URL", &url(stranger.port));
        assert_eq!(site.run(&["mail", "send-test", "ann@x.example"]).status.code(), Some(1));
        // The wrong password is told apart, and not shown.
        site.set("SMTP_URL", &url(smtp.port).replace("hunter2", "hunter3"));
        let refused = site.run(&["mail", "send-test", "ann@x.example"]);
        let says = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && says.contains("535") && !says.contains("hunter3"), "{says}");
        assert!(stranger.received().is_empty() && stranger.said().is_empty());
    }
    for (file, says) in [("missing.pem", "cannot be read"), ("rsa.txt", "expected certificates in PEM")] {
        site.set("SMTP_CA_FILE", file);
        for (args, code) in [(&["worker"][..], 2), (&["check"], 1), (&["mail", "send-test", "ann@x.example"], 2)] {
            let output = site.run(args);
            let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
            assert!(output.status.code() == Some(code) && text.contains("SMTP_CA_FILE: "), "{args:?} {text}");
            assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(says), "{args:?} {text}");
        }
    }
}
