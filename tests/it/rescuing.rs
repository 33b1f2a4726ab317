//! Events whose jobs are gone are given others.

use crate::durability::sale;
use crate::harness::{On, Site, eventually, on_both};

on_both!(a_stranded_event_is_rescued, what_has_no_job_is_rescued_behind_thousands_that_have_one);

async fn a_stranded_event_is_rescued(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    site.post_all(&[sale(1)]).await;
    // The queue forgets, and time passes.
    let (jobs, past) = match site.on {
        On::Sqlite => ("delete from Jobs returning id", "'2026-01-01T00:00:00+00:00'"),
        On::Postgres => ("delete from apalis.jobs returning id", "timestamptz '2026-01-01T00:00:00Z'"),
    };
    assert_eq!(site.query(jobs).await.len(), 1);
    site.query(&format!("update stripe_events set received_at = {past} returning id")).await;
    site.start(&["worker"]);
    assert_eq!(site.settle().await[0]["status"], "processed");
    assert_eq!(site.workspace("acme")["credits"], 10);
}

/// As while Stripe is down, which a thousand events have to ask.
async fn what_has_no_job_is_rescued_behind_thousands_that_have_one(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    site.post_all(&[sale(1)]).await;
    site.post_all(&[sale(2)]).await;
    let (jobs, soon, series, past, later) = match site.on {
        On::Sqlite => (
            "Jobs",
            "unixepoch() + 600",
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500) select i from n",
            "'2026-01-01T00:00:00+00:00'",
            "'2026-01-02T00:00:00+00:00'",
        ),
        On::Postgres => {
            let series = "select i from generate_series(1, 2500) as i";
            let (past, later) = ("timestamptz '2026-01-01T00:00:00Z'", "timestamptz '2026-01-02T00:00:00Z'");
            ("apalis.jobs", "now() + interval '10 minutes'", series, past, later)
        }
    };
    let of = |number: u8| format!("(select job_id from stripe_events where id = 'evt_sale_{number}')");
    site.execute(&format!("update {jobs} set status = 'Failed', attempts = 1, run_at = {soon} where id = {}", of(2)))
        .await;
    site.execute(&format!("delete from {jobs} where id = {}", of(1))).await;
    site.execute(&format!("update stripe_events set received_at = {later} where id = 'evt_sale_1'")).await;
    site.execute(&format!("update stripe_events set received_at = {past}, attempts = 1 where id = 'evt_sale_2'")).await;
    site.execute(&format!(
        "insert into stripe_events (id, type, livemode, created, payload, received_at, status, attempts, job_id)
         select 'evt_waits_' || n.i, type, livemode, created, payload, received_at, status, attempts, job_id
         from stripe_events, ({series}) as n where id = 'evt_sale_2'"
    ))
    .await;
    site.start(&["worker"]);
    let status = "select status from stripe_events where id = 'evt_sale_1' and status = 'processed'";
    eventually("the event without a job is processed", async || site.query(status).await.pop()).await;
    let waiting = "select cast(count(*) as text) from stripe_events where status = 'received'";
    assert_eq!(site.query(waiting).await, ["2501"]);
}
