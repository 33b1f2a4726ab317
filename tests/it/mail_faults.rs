//! A thousand mails to a server that refuses, hangs up and stalls, while the worker is killed at random.

use std::time::{Duration, Instant};

use crate::bodies::{day, event, session};
use crate::harness::{Site, on_both};
use crate::smtp::Smtp;

/// Mails that a worker may have at the server when it is killed.
const AT_ONCE: usize = 8;
const KILLS: usize = 4;

on_both!(every_mail_arrives_or_is_seen_dead_whatever_is_killed);

async fn every_mail_arrives_or_is_seen_dead_whatever_is_killed(mut site: Site) {
    let smtp = Smtp::start(&mut site);
    site.start_web().await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "owner@example.com"]);
    let mut names: Vec<String> = (0..42).map(|number| format!("fine{number}@example.com")).collect();
    for manner in ["later1", "later2", "later3", "drop1", "drop2", "unknown1", "policy1"] {
        names.push(format!("{manner}@example.com"));
    }
    let mut args = vec!["workspaces", "mail", "acme"];
    for name in &names {
        args.extend(["--add-recipient", name]);
    }
    site.ok(&args);
    // 50 addresses, 20 causes.
    for number in 0..20 {
        let bought = session(&format!("{number}"), "acme", Some("cus_1"), "payment", "paid");
        site.post_all(&[event(&format!("c{number}"), "checkout.session.completed", day(1), bought)]).await;
    }
    let started = Instant::now();
    for kill in 0..KILLS as u64 {
        site.start(&["worker"]);
        tokio::time::sleep(Duration::from_millis(700 + 370 * kill)).await;
        site.kill("worker");
    }
    site.start(&["worker"]);
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        let counts = site.query("select status || ' ' || count(*) from emails group by status order by 1").await;
        if counts == ["dead 40", "sent 960"] {
            break;
        }
        assert!(Instant::now() < deadline, "{counts:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let copies = smtp.copies();
    assert_eq!(copies.len(), 960, "each has arrived");
    let twice = copies.values().filter(|copies| **copies > 1).count();
    assert!(twice <= AT_ONCE * KILLS && copies.values().all(|copies| *copies <= 1 + KILLS), "{twice} came twice");
    println!("960 mails in {:?}, {KILLS} kills, {twice} came twice under their own Message-ID", started.elapsed());
}
