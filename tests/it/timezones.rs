//! Whatever the time zone of the machine, and of the database: the same rows, and the same words in the mails.

use serde_json::json;
use sqlx::Executor;

use crate::bodies::{changed, day, event, invoice, now, purchase, session, subscription};
use crate::harness::{On, Site, eventually};

/// Behind us, at home, and ahead of us.
const ZONES: [&str; 3] = ["UTC", "America/Sao_Paulo", "Europe/Berlin"];

/// Midnight in two and in three days, less or more half an hour: another day in one of the zones, and of the reminder of
/// three days whenever the test runs.
fn trials_end() -> [(&'static str, i64); 2] {
    let midnight = now() / 86_400 * 86_400;
    [("early", midnight + 2 * 86_400 + 1800), ("late", midnight + 3 * 86_400 - 1800)]
}

/// What there is in the end, without what tells of the moment at which it was made.
async fn played(on: On, zone: &str, ends: [(&str, i64); 2]) -> Vec<String> {
    let mut site = Site::new(on).await;
    site.set("TZ", zone);
    if on == On::Postgres {
        let set = format!("alter database {} set timezone = '{zone}'", site.database_name());
        site.admin().await.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
    }
    for (id, email) in [("acme", "ann@example.com"), ("beta", "bea@example.com")] {
        site.ok(&["workspaces", "put", id, "--owner-email", email, "--trial-days", "0"]);
    }
    for (id, end) in ends {
        site.ok(&["workspaces", "put", id, "--owner-email", &format!("{id}@example.com"), "--locale", "pt-BR"]);
        let end = chrono::DateTime::from_timestamp(end, 0).unwrap().to_rfc3339();
        let end = if on == On::Postgres { format!("timestamptz '{end}'") } else { format!("'{end}'") };
        site.query(&format!("update workspaces set trial_ends_at = {end} where id = '{id}' returning id")).await;
    }
    site.start_web().await;
    site.start(&["worker"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    site.post_all(&purchase("beta", "cus_2")).await;
    site.settle().await;
    let mut ending = subscription("cus_1", "active", "price_pro", day(60));
    ending["cancel_at_period_end"] = json!(true);
    ending["canceled_at"] = json!(day(20) - 1);
    let mut failed = invoice("2", "cus_2", "open", 4900, day(28));
    failed["next_payment_attempt"] = json!(day(61) - 1800);
    site.post_all(&[
        changed(
            event("ending", "customer.subscription.updated", day(20) - 1, ending),
            json!({"cancel_at_period_end": false}),
        ),
        event("failed", "invoice.payment_failed", day(28) + 1, failed),
        event("bought", "checkout.session.completed", day(5), session("c", "acme", Some("cus_1"), "payment", "paid")),
    ])
    .await;
    site.settle().await;
    let mails = eventually("every mail is sent", async || {
        let mails = site
            .query(
                "select template || ' ' || dedupe_key || ' ' || recipient from emails where status = 'sent' order by 1",
            )
            .await;
        (mails.len() == 7).then_some(mails)
    })
    .await;

    let mut seen = mails;
    for id in ["acme", "beta", "early", "late"] {
        seen.push(site.workspace(id).to_string());
    }
    for rows in [
        "select kind || ' ' || id || ' ' || cast(facts as text) from stripe_objects order by 1",
        "select kind || ' ' || cast(occurred_at as text) || ' ' || cast(data as text) from audit_events order by 1",
        "select workspace_id || ' ' || delta || ' ' || reason || ' ' || source_id from credit_ledger order by 1",
        "select id || ' ' || cast(created as text) from stripe_events order by 1",
        "select coalesce(cast(past_due_since as text), '') || ' ' || coalesce(cast(trial_ends_at as text), '') from workspaces order by 1",
    ] {
        seen.extend(site.query(rows).await);
    }
    let mut mails: Vec<String> = site.outbox().iter().map(|mail| words(mail)).collect();
    mails.sort();
    assert_eq!(mails.len(), 7);
    seen.extend(mails);
    seen
}

/// A mail without its date, which has to be in UTC, and without the marks between its parts.
fn words(mail: &str) -> String {
    let date = mail.lines().find_map(|line| line.strip_prefix("Date: ")).unwrap();
    assert!(date.ends_with("+0000"), "{date}");
    let boundary = mail.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    mail.replace(date, "").replace(boundary, "")
}

async fn same_everywhere(on: On) {
    loop {
        // One midnight for all of them.
        let (today, ends) = (now() / 86_400, trials_end());
        let mut seen = Vec::new();
        for zone in ZONES {
            seen.push(played(on, zone, ends).await);
        }
        if now() / 86_400 != today {
            continue;
        }
        assert!(seen[0].iter().any(|seen| seen.contains("trial_ending")), "{:?}", seen[0]);
        for (zone, abroad) in ZONES.iter().zip(&seen).skip(1) {
            for (home, abroad) in seen[0].iter().zip(abroad) {
                assert_eq!(home, abroad, "{zone}");
            }
            assert_eq!(seen[0].len(), abroad.len(), "{zone}");
        }
        return;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_and_mails_in_every_time_zone_on_sqlite() {
    same_everywhere(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_and_mails_in_every_time_zone_on_postgres() {
    same_everywhere(On::Postgres).await;
}
