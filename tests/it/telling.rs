//! How workers are told of new jobs on PostgreSQL: once a transaction, whatever it enqueues; and of rows of others as
//! the queue's library tells of them.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::PgListener;

use crate::bodies::{day, event, session};
use crate::harness::{On, Site};

/// How often a queue was told of until now. What is told comes in the order of the commits.
async fn told_of(site: &Site, listener: &mut PgListener, queue: &str) -> usize {
    site.postgres().await.execute("select pg_notify('apalis::job::insert', 'until now')").await.unwrap();
    let mut count = 0;
    loop {
        let told = listener.recv().await.unwrap();
        if told.payload() == "until now" {
            return count;
        }
        count += usize::from(told.payload().contains(&format!("\"{queue}\"")));
    }
}

#[tokio::test]
async fn many_jobs_of_one_transaction_are_told_of_once() {
    let mut site = Site::new(On::Postgres).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    for index in 0..8 {
        site.ok(&["workspaces", "mail", "acme", "--add-recipient", &format!("bill{index}@example.com")]);
    }
    let mut listener = PgListener::connect(&site.url).await.unwrap();
    listener.listen("apalis::job::insert").await.unwrap();

    site.start_web().await;
    site.start(&["worker", "--queues", "events"]);
    let sale = event("sale", "checkout.session.completed", day(1), session("1", "acme", None, "payment", "paid"));
    site.post_all(&[sale]).await;
    assert_eq!(site.settle().await.len(), 1);
    let mails = site.query("select id from emails").await.len();
    assert_eq!((mails, told_of(&site, &mut listener, "billing.mail").await), (9, 1));

    // Rows of anybody else's.
    let rows = "insert into apalis.jobs (id, job_type, job, metadata)
                select 'theirs_' || n, 'theirs', '', case n when 1 then ''::hstore end from generate_series(1, 2) as n";
    site.postgres().await.execute(rows).await.unwrap();
    assert_eq!(told_of(&site, &mut listener, "theirs").await, 2);
}

/// Not by the commit itself, which would keep others that tell waiting for its disk; but soon, or a worker waits for its tick.
#[tokio::test]
async fn workers_are_told_of_an_event_that_is_there() {
    let mut site = Site::new(On::Postgres).await;
    site.start_web().await;
    let mut listener = PgListener::connect(&site.url).await.unwrap();
    listener.listen("apalis::job::insert").await.unwrap();
    let sale = event("sale", "checkout.session.completed", day(1), session("1", "acme", None, "payment", "paid"));
    site.post_all(&[sale]).await;
    let told = tokio::time::timeout(Duration::from_secs(20), listener.recv()).await.unwrap().unwrap();
    assert_eq!(told.payload(), r#"{"job_type" : "billing.events"}"#);
    assert_eq!(site.query("select id from stripe_events").await.len(), 1);
}
