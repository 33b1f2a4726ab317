//! Clocks that were set back.

use crate::bodies::{day, event, session};
use crate::harness::{On, Site, eventually, on_both};

on_both!(what_was_written_before_the_clock_was_set_back_does_not_wait);

/// Sets columns of the mail job at `position`, counted by id; `{now}` and `{hour}` stand for the queue's time and an hour.
async fn set(site: &Site, position: usize, columns: &str) {
    let (table, now, hour) = match site.on {
        On::Sqlite => ("Jobs", "cast(strftime('%s', 'now') as integer)", "3600"),
        On::Postgres => ("apalis.jobs", "now()", "interval '1 hour'"),
    };
    let columns = columns.replace("{now}", now).replace("{hour}", hour);
    let queue = "job_type like '%mail'";
    let rows = site
        .query(&format!(
            "update {table} set {columns} where id = (select id from {table} where {queue} order by id limit 1 offset {position}) returning id"
        ))
        .await;
    assert_eq!(rows.len(), 1);
}

async fn what_was_written_before_the_clock_was_set_back_does_not_wait(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    for number in 0..4 {
        let bought = session(&number.to_string(), "acme", None, "payment", "paid");
        site.post_all(&[event(&format!("c{number}"), "checkout.session.completed", day(1), bought)]).await;
    }
    site.start(&["worker", "--queues", "events"]);
    site.settle().await;
    site.kill("worker---queues-events");
    assert_eq!(site.query("select id from emails where status = 'queued'").await.len(), 4);

    // An hour later by the clock that was: one is due at once, one was tried, one is with a worker that died; and one was
    // tried since, and waits for its time.
    let gone = match site.on {
        On::Sqlite => {
            "insert into Workers (id, worker_type, storage_name, layers, last_seen) values ('gone', 'mail', 'x', '', strftime('%s', 'now') + 3600) returning id"
        }
        On::Postgres => {
            "insert into apalis.workers (id, worker_type, storage_name, layers, last_seen) values ('gone', 'billing.mail', 'x', '', now() + interval '1 hour') returning id"
        }
    };
    site.query(gone).await;
    set(&site, 0, "run_at = {now} + {hour}").await;
    set(&site, 1, "status = 'Failed', attempts = 1, done_at = {now} + {hour}, run_at = {now} + {hour} + {hour}").await;
    set(&site, 2, "status = 'Running', lock_by = 'gone', lock_at = {now} + {hour}").await;
    set(&site, 3, "status = 'Failed', attempts = 1, done_at = {now}, run_at = {now} + {hour}").await;

    site.start(&["worker", "--queues", "mail"]);
    let sent = async || (site.query("select id from emails where status = 'sent'").await.len() == 3).then_some(());
    eventually("what waited for the future is sent", sent).await;
    let waiting = site.json(&["jobs", "list", "--queue", "mail", "--state", "retrying", "--json"]);
    assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
}
