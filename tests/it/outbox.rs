//! The outbox page of `dev`, over real HTTP.

use std::process::Stdio;

use crate::bodies::purchase;
use crate::harness::{On, Site, eventually};

async fn get(address: &str) -> (u16, reqwest::header::HeaderMap, String) {
    let answer = reqwest::get(address).await.unwrap();
    (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mail_opens_in_development_and_nothing_else_does() {
    let site = Site::new(On::Sqlite).await;
    let printed = site.dir.path().join("printed");
    let out = std::fs::File::create(&printed).unwrap();
    let mut dev = site.command(&["dev"]).stdout(out).stderr(Stdio::null()).spawn().unwrap();
    site.ready().await;
    let (status, _, empty) = get(&site.at("/outbox")).await;
    assert!(status == 200 && empty.contains("No mail yet"), "{status} {empty}");
    let hostile = "<script>alert('1')</script>\"><img src=x>";
    site.ok(&[
        "workspaces",
        "put",
        "acme",
        "--name",
        hostile,
        "--owner-email",
        "ann@example.com",
        "--owner-name",
        hostile,
    ]);
    site.post_all(&purchase("acme", "cus_1")).await;
    let line = eventually("the mail is told of with its address", async || {
        let lines = std::fs::read_to_string(&printed).unwrap();
        lines.lines().find(|line| line.contains("payment_succeeded") && line.contains("/outbox/")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("sent") && line.contains("ann@example.com"), "{line}");

    let (_, headers, list) = get(&site.at("/outbox")).await;
    assert!(list.contains("ann@example.com") && list.contains("payment_succeeded"), "{list}");
    let address = line.split_whitespace().last().unwrap();
    let path = address.split_once("/outbox/").unwrap().1;
    assert!(list.contains(&format!("href=\"/outbox/{path}\"")), "{list}");
    let (status, of_mail, mail) = get(address).await;
    assert_eq!(status, 200);
    assert!(mail.contains("<iframe sandbox=\"\"") && mail.contains("Auto-Submitted: auto-generated"), "{mail}");
    assert!(
        mail.contains("Thank you for your payment") && mail.contains("https://invoice.stripe.com/i/test"),
        "{mail}"
    );
    // A mail that somebody else has put there.
    let evil = "Subject: <script>alert(1)</script>\r\nContent-Type: text/html\r\n\r\n\"></iframe><script>alert(2)</script>\r\n";
    std::fs::write(site.dir.path().join("outbox/20990101T000000-evil-00000000.eml"), evil).unwrap();
    let (_, _, evil_list) = get(&site.at("/outbox")).await;
    let (status, of_evil, evil) = get(&site.at("/outbox/20990101T000000-evil-00000000.eml")).await;
    assert!(status == 200 && evil.contains("alert(2)"), "{evil}");
    for (headers, page) in [(headers, &list), (of_mail, &mail), (of_evil.clone(), &evil), (of_evil, &evil_list)] {
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"), "{policy}");
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }

    std::fs::write(site.dir.path().join("secret.eml"), "Subject: secret\r\n\r\nsecret\r\n").unwrap();
    for path in ["..%2Fsecret.eml", "%2e%2e%2Fsecret.eml", "..%2Fsite.db", "none.eml", "%00.eml", "a%0d%0ab.eml", "."] {
        let (status, _, body) = get(&site.at(&format!("/outbox/{path}"))).await;
        // A single dot is the list's own address.
        assert!(status == 404 || (path == "." && status == 200), "{path}: {status}");
        assert!(!body.contains("secret"), "{path}: {body}");
    }
    dev.kill().unwrap();
    dev.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_outbox_in_production() {
    let mut site = Site::new(On::Sqlite).await;
    site.start_web().await;
    assert_eq!(get(&site.at("/outbox")).await.0, 404);
}
