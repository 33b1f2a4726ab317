//! Rows in the queue that are none of ours: put there by hand, or by something else that shares the database.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bodies::{day, event, session};
use crate::harness::{On, Site, eventually, on_both};

on_both!(
    a_row_whose_id_is_no_ulid_is_put_aside_and_the_rest_goes_on,
    a_row_whose_job_is_unreadable_is_dead_and_the_rest_goes_on,
);

fn sale(id: usize) -> Value {
    let session = session(&id.to_string(), "acme", None, "payment", "paid");
    event(&format!("sale_{id}"), "checkout.session.completed", day(1), session)
}

/// Puts a row into the queue of events, due at once and before all others. `job` is an expression of bytes.
async fn put(site: &Site, id: &str, job: &str) {
    let rows = match site.on {
        On::Sqlite => format!(
            "insert into Jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)
             values ('{id}', 'events', {job}, 'Pending', 0, 5, 1, 0, '{{}}') returning id"
        ),
        On::Postgres => format!(
            "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)
             values ('{id}', 'billing.events', {job}, 'Pending', 0, 5, now() - interval '1 day', 0, '') returning id"
        ),
    };
    assert_eq!(site.query(&rows).await.len(), 1);
}

fn text(site: &Site, json: &str) -> String {
    match site.on {
        On::Sqlite => format!("cast('{json}' as blob)"),
        On::Postgres => format!("convert_to('{json}', 'UTF8')"),
    }
}

/// The dead jobs with their reasons, once there are so many.
async fn dead(site: &Site, count: usize) -> BTreeMap<String, String> {
    eventually("the foreign rows are dead", async || {
        let jobs = site.json(&["jobs", "list", "--state", "dead", "--json"]);
        let jobs = jobs.as_array().unwrap();
        let of = |job: &Value| {
            let field = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
            (field("id"), field("last_error"))
        };
        (jobs.len() == count).then(|| jobs.iter().map(of).collect())
    })
    .await
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.dir.path().join("worker.log")).unwrap()
}

async fn a_row_whose_id_is_no_ulid_is_put_aside_and_the_rest_goes_on(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.start_web().await;
    let job = text(&site, r#"{"job":"expire-trials","args":{}}"#);
    // One is there before the worker, the others come while it runs; the last is a ULID to a generous reader only.
    put(&site, "by-hand-1", &job).await;
    site.start(&["worker"]);
    site.post_all(&[sale(1)]).await;
    dead(&site, 1).await;
    for id in ["by-hand-2", "7", "01JD0000000000000000000000A", "81JD0000000000000000000000"] {
        put(&site, id, &job).await;
    }
    site.post_all(&[sale(2)]).await;
    let dead = dead(&site, 5).await;
    for (id, reason) in &dead {
        assert_eq!(reason, "the id is no ULID: this job was not made by billingd", "{id}");
    }
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 20);
    for id in dead.keys() {
        assert!(log(&site).contains(id.as_str()), "{id} is not in the log: {}", log(&site));
    }
    // Once for each that was fetched at most, and not over and over.
    let restarts = log(&site).matches("a worker starts again").count();
    assert!(restarts <= 10, "{restarts}: {}", log(&site));
    let taken = site.json(&["jobs", "discard", "by-hand-1", "--json"]);
    assert_eq!(taken, json!({"discarded": ["by-hand-1"]}));
    // Wanted after all: it runs under an id that can be read.
    let retried = site.json(&["jobs", "retry", "by-hand-2", "--json"]);
    eventually("the job is done", async || {
        let done = site.json(&["jobs", "list", "--state", "done", "--json"]);
        done.as_array().unwrap().iter().any(|job| job["id"] == retried["retried"][0]).then_some(())
    })
    .await;
}

async fn a_row_whose_job_is_unreadable_is_dead_and_the_rest_goes_on(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.start_web().await;
    site.start(&["worker"]);
    let bytes = match site.on {
        On::Sqlite => "x'fffe00'",
        On::Postgres => r"'\xfffe00'::bytea",
    };
    let bodies = [
        bytes.to_owned(),
        text(&site, "no json"),
        text(&site, "[]"),
        text(&site, r#"{"job":7}"#),
        text(&site, r#"{"job":"process-events","args":{"event_ids":7}}"#),
    ];
    let ids: Vec<String> = bodies.iter().map(|_| billing::clock::new_id()).collect();
    for (id, body) in ids.iter().zip(&bodies) {
        put(&site, id, body).await;
    }
    site.post_all(&[sale(1)]).await;
    let dead = dead(&site, ids.len()).await;
    for id in &ids {
        assert!(dead[id].starts_with("the job's payload is unreadable"), "{dead:?}");
    }
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 10);
    assert!(!log(&site).contains("a worker starts again"), "{}", log(&site));
}
