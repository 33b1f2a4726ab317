//! Processes that are really killed, and a database that really goes away.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Executor;

use crate::bodies::{day, event, purchase, session};
use crate::harness::{On, Site, eventually, on_both};

on_both!(
    what_was_acknowledged_survives_a_kill_of_everything,
    a_dead_workers_job_runs_elsewhere_within_half_a_minute,
    an_unreadable_event_is_dead_and_its_neighbours_are_not,
    a_dead_event_gets_a_job_again_when_it_is_sent_again,
    a_locked_workspace_holds_up_nobody_else,
    an_event_that_fails_holds_up_nobody_else,
    a_single_event_that_fails_runs_once_an_attempt,
    a_job_is_done_where_only_what_it_took_along_fails,
    workers_stop_when_asked,
    workers_that_stop_in_the_middle_finish_what_runs_and_keep_nothing_from_it,
);

pub(crate) fn sale(id: usize) -> serde_json::Value {
    sale_to("acme", id)
}

fn sale_to(workspace: &str, id: usize) -> serde_json::Value {
    let session = session(&id.to_string(), workspace, None, "payment", "paid");
    event(&format!("sale_{id}"), "checkout.session.completed", day(1), session)
}

async fn what_was_acknowledged_survives_a_kill_of_everything(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    let mut sent = 0;
    for round in 0..4 {
        site.start_web().await;
        site.start(&["worker"]);
        for _ in 0..10 + round * 7 {
            site.post_all(&[sale(sent)]).await;
            sent += 1;
        }
        // No warning, at whatever point they are.
        site.kill("worker");
        site.kill("web");
    }
    site.start(&["worker"]);
    let events = site.settle().await;
    assert_eq!(events.len(), sent);
    assert!(events.iter().all(|event| event["status"] == "processed"), "{events:?}");
    assert_eq!(site.workspace("acme")["credits"], json!(sent * 10));
    let sum = site.query("select cast(sum(delta) as text) from credit_ledger").await;
    assert_eq!(sum, [(sent * 10).to_string()]);
}

async fn a_dead_workers_job_runs_elsewhere_within_half_a_minute(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    site.start(&["worker"]);
    // A job is caught in the middle: somebody else holds what it needs.
    let hold = Hold::of(&site).await;
    if site.on == On::Postgres {
        site.post_all(&[sale(1)]).await;
        let running = async || {
            let jobs = site.json(&["jobs", "list", "--state", "running", "--queue", "events", "--json"]);
            (!jobs.as_array().unwrap().is_empty()).then_some(())
        };
        eventually("the job is running", running).await;
    }
    site.kill("worker");
    drop(hold);
    if site.on == On::Sqlite {
        // One file has one writer, so a caught job is made by hand: taken by a worker that is never heard of again.
        site.post_all(&[sale(1)]).await;
        site.query("insert into Workers (id, worker_type, storage_name, layers, last_seen) values ('gone', 'events', 'x', '', strftime('%s', 'now')) returning id").await;
        site.query("update Jobs set status = 'Running', lock_by = 'gone', lock_at = strftime('%s', 'now') where job_type = 'events' returning id").await;
    }
    let killed = Instant::now();
    site.start(&["worker"]);
    site.settle().await;
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    assert_eq!(site.workspace("acme")["credits"], 10);
}

/// The product has the row of a workspace locked for long, and one batch is about that workspace and another.
async fn a_locked_workspace_holds_up_nobody_else(mut site: Site) {
    for workspace in ["acme", "beta"] {
        site.ok(&["workspaces", "put", workspace, "--owner-email", "ann@example.com"]);
    }
    site.start_web().await;
    let refund = |id: usize| {
        let charge = json!({"id": format!("ch_{id}"), "object": "charge", "amount": 1000, "amount_refunded": 500,
                            "payment_intent": format!("pi_{id}"), "currency": "usd"});
        event(&format!("refund_{id}"), "charge.refunded", day(2), charge)
    };
    // A sale of each that is known, so that its refund, which does not say whose it is, meets the lock, too.
    site.post_all(&[sale(1), sale_to("beta", 2)]).await;
    site.start(&["worker"]);
    site.settle().await;
    site.stop("worker").await;
    let hold = Hold::of(&site).await;
    site.post_all(&[sale(3), refund(1), sale_to("beta", 4), sale(5), refund(2), sale_to("beta", 6)]).await;
    site.start(&["worker"]);
    eventually("all of the other one is processed", async || {
        (site.workspace("beta")["credits"] == json!(25)).then_some(())
    })
    .await;
    if site.on == On::Postgres {
        assert_eq!(site.workspace("acme")["credits"], json!(10), "its row is locked");
    }
    drop(hold);
    let events = site.settle().await;
    assert!(events.iter().all(|event| event["status"] == "processed"), "{events:?}");
    assert_eq!(site.workspace("acme")["credits"], json!(25));
}

/// Holds the workspace's row until it is dropped.
struct Hold(#[expect(dead_code, reason = "its connection is what holds")] Option<sqlx::PgConnection>);

impl Hold {
    async fn of(site: &Site) -> Self {
        if site.on == On::Sqlite {
            return Self(None);
        }
        let mut connection = site.postgres().await;
        connection.execute("begin").await.unwrap();
        connection.execute("select id from workspaces where id = 'acme' for update").await.unwrap();
        Self(Some(connection))
    }
}

/// `count` events of one lane wait, each in a job of its own.
async fn backlog(site: &mut Site, count: usize) {
    site.set("EVENT_LANES", "1");
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    site.post_all(&(0..count).map(sale).collect::<Vec<_>>()).await;
}

/// Makes one event fail whenever its status is written. Gives the statement that ends it.
async fn fault(site: &Site, event: &str) -> &'static str {
    let (fault, repair) = match site.on {
        On::Sqlite => (
            "create trigger fault before update of status on stripe_events when new.id = 'EVENT'
             begin select raise(abort, 'a fault'); end",
            "drop trigger fault",
        ),
        On::Postgres => (
            "create function fault() returns trigger language plpgsql as $$ begin raise exception 'a fault'; end $$;
             create trigger fault before update of status on stripe_events for each row
                 when (new.id = 'EVENT') execute function fault()",
            "drop trigger fault on stripe_events",
        ),
    };
    site.execute(&fault.replace("EVENT", event)).await;
    repair
}

async fn an_event_that_fails_holds_up_nobody_else(mut site: Site) {
    const EVENTS: usize = 500;
    backlog(&mut site, EVENTS).await;
    let repair = fault(&site, "evt_sale_150").await;
    site.set("RUST_LOG", "info,jobs=debug");
    site.start_as("worker", &["worker", "--queues", "events"], &[]);
    let left = "select id from stripe_events where status = 'received'";
    let others = async || (site.query(left).await == ["evt_sale_150"]).then_some(());
    eventually("all others are processed", others).await;
    // Not each of the 150 jobs before it found it in its batch; how many did depends on how they fall in with each other.
    let log = std::fs::read_to_string(site.dir.path().join("worker.log")).unwrap();
    let failed = log.matches("it runs alone").count() + log.matches("a batch of the backlog failed").count();
    assert!((1..100).contains(&failed), "{failed} batches failed");
    site.execute(repair).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], json!(EVENTS * 10));
}

async fn a_single_event_that_fails_runs_once_an_attempt(mut site: Site) {
    backlog(&mut site, 1).await;
    let repair = fault(&site, "evt_sale_0").await;
    site.set("RUST_LOG", "info,jobs=debug");
    site.start_as("worker", &["worker", "--queues", "events"], &[]);
    let log = || std::fs::read_to_string(site.dir.path().join("worker.log")).unwrap_or_default();
    let failed = async || log().contains("a job failed and is tried again").then_some(());
    eventually("it has failed", failed).await;
    assert!(!log().contains("it runs alone"), "{}", log());
    site.execute(repair).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 10);
}

async fn a_job_is_done_where_only_what_it_took_along_fails(mut site: Site) {
    backlog(&mut site, 1).await;
    site.execute("update stripe_events set status = 'processed'").await;
    site.post_all(&[sale(1)]).await;
    let repair = fault(&site, "evt_sale_1").await;
    site.start_as("worker", &["worker", "--queues", "events"], &[]);
    let done = match site.on {
        On::Sqlite => "select id from Jobs where status = 'Done' and attempts = 1",
        On::Postgres => {
            "select id from apalis.jobs where status = 'Done' and attempts = 1 and job_type like current_schema() || '.%'"
        }
    };
    let first = async || (site.query(done).await.len() == 1).then_some(());
    eventually("the job of the event that is processed is done", first).await;
    site.execute(repair).await;
    site.settle().await;
    assert_eq!(site.workspace("acme")["credits"], 10, "of the second alone");
}

async fn an_unreadable_event_is_dead_and_its_neighbours_are_not(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    let broken =
        event("broken", "customer.subscription.updated", day(1), json!({"id": "sub_1", "status": {"no": "text"}}));
    let year = event("year", "invoice.paid", day(1), json!({"id": "in_1", "created": 292_277_026_596_i64}));
    site.post_all(&[sale(1), broken, sale(2), year]).await;
    let (open, close) = ("[".repeat(450_000), "]".repeat(450_000));
    let deep = format!(
        r#"{{"id":"evt_deep","type":"invoice.paid","created":1,"data":{{"object":{{"id":"in_1","lines":{open}{close}}}}}}}"#
    );
    assert_eq!(site.post_text(&deep).await.0, 200);
    // In one batch, as they would be under load.
    site.ok(&["events", "replay", "evt_sale_1", "evt_broken", "evt_sale_2", "evt_year", "evt_deep"]);
    site.start(&["worker"]);
    let events = site.settle().await;
    let reason = |id: &str| {
        let event = events.iter().find(|event| event["id"] == id).unwrap();
        assert_eq!(event["status"], "dead", "{event}");
        event["last_error"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("evt_broken"), "data.object.status: is not a text");
    assert!(reason("evt_year").starts_with("data.object.created: "), "{}", reason("evt_year"));
    assert!(reason("evt_deep").starts_with("event: cannot be read: recursion limit"), "{}", reason("evt_deep"));
    assert_eq!(events.iter().filter(|event| event["status"] == "dead").count(), 3);
    assert_eq!(site.workspace("acme")["credits"], 20);
}

async fn a_dead_event_gets_a_job_again_when_it_is_sent_again(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    site.start(&["worker"]);
    let mut unknown = session("1", "acme", None, "payment", "paid");
    unknown["metadata"] = json!({"plan": "credits99"});
    let event = event("unknown", "checkout.session.completed", day(1), unknown);
    site.post_all(std::slice::from_ref(&event)).await;
    assert_eq!(site.settle().await[0]["status"], "dead");
    // The operator adds the plan, and Stripe (or a press on "Resend") sends the event again.
    std::fs::write(
        site.dir.path().join("billingd.toml"),
        "[[plans]]\nid = \"credits99\"\nname = \"99 credits\"\nkind = \"one_time\"\ncredits = 99\n[[plans]]\nid = \"pro\"\nname = \"Pro\"\nkind = \"subscription\"\n",
    )
    .unwrap();
    site.stop("worker").await;
    site.start(&["worker"]);
    let (status, answer) = site.post(&event).await;
    assert_eq!((status, answer), (200, json!({"received": true, "duplicate": true})));
    assert_eq!(site.settle().await[0]["status"], "processed");
    assert_eq!(site.workspace("acme")["credits"], 99);
}

async fn workers_stop_when_asked(mut site: Site) {
    site.start_web().await;
    site.start(&["worker"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    site.settle().await;
    let mut ended = site.stop("worker").await;
    ended.extend(site.stop("web").await);
    assert!(ended.iter().all(std::process::ExitStatus::success), "{ended:?}");
    let running = site.json(&["jobs", "list", "--state", "running", "--json"]);
    assert_eq!(running, json!([]));
}

/// The library would keep a connection, on SQLite the only one that writes, until the last jobs had given up waiting for it.
async fn workers_that_stop_in_the_middle_finish_what_runs_and_keep_nothing_from_it(mut site: Site) {
    const ROUNDS: usize = 6;
    const SALES: usize = 40;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    for round in 0..ROUNDS {
        for id in 0..SALES {
            site.post_all(&[sale(round * SALES + id)]).await;
        }
        site.start(&["worker"]);
        let goal = round * SALES / 2;
        eventually("mails are on their way", async || {
            let sent = site.query("select cast(count(*) as text) from emails where status = 'sent'").await;
            sent[0].parse::<usize>().is_ok_and(|sent| sent > goal).then_some(())
        })
        .await;
        let ended = site.stop("worker").await;
        assert!(ended.iter().all(std::process::ExitStatus::success), "{ended:?}");
        assert_eq!(site.json(&["jobs", "list", "--state", "running", "--json"]), json!([]));
    }
    let log = std::fs::read_to_string(site.dir.path().join("worker.log")).unwrap();
    // A fetch that is given up rolls back what it may not have begun, and PostgreSQL remarks on that.
    let harmless = |line: &str| line.contains("sqlx::postgres::notice");
    let complaint = |line: &&str| (line.contains("WARN") || line.contains("ERROR")) && !harmless(line);
    let complaints: Vec<&str> = log.lines().filter(complaint).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

mod sqlite_only {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_job_goes_on_with_the_backlog() {
        const EVENTS: usize = 1500;
        let mut site = Site::new(On::Sqlite).await;
        backlog(&mut site, EVENTS).await;
        site.start(&["worker", "--queues", "events", "--concurrency", "1"]);
        site.settle().await;
        assert_eq!(site.workspace("acme")["credits"], json!(EVENTS * 10));
        // Five batches. Beside the job that goes on, one may have been fetched ahead, and finds its work done.
        let done = site.json(&["jobs", "list", "--state", "done", "--queue", "events", "--json"]);
        let done = done.as_array().unwrap().len();
        assert!((1..=3).contains(&done), "{done} jobs");
    }
}

mod postgres_only {
    use super::*;

    /// Who holds the lane may have some of a job's events in its hands. To take the rest along, as if they were the whole, took
    /// that job out of the queue: what the other one then did not do waited a minute and more for the rescue.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_goes_beside_the_lane_takes_nothing_along() {
        const EVENTS: usize = 3;
        let mut site = Site::new(On::Postgres).await;
        backlog(&mut site, 0).await;
        for id in 0..EVENTS {
            site.post_all(&[sale(id)]).await;
        }
        let mut foreign = site.postgres().await;
        foreign.execute("select pg_advisory_lock(hashtext('billingd billing'), 0)").await.unwrap();
        site.start(&["worker", "--queues", "events", "--concurrency", "1"]);
        site.settle().await;
        assert_eq!(site.workspace("acme")["credits"], json!(EVENTS * 10));
        let done = site.json(&["jobs", "list", "--state", "done", "--queue", "events", "--json"]);
        assert_eq!(done.as_array().unwrap().len(), EVENTS, "each job did its own");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_receiver_says_503_while_the_database_is_gone_and_workers_go_on_afterwards() {
        let mut site = Site::new(On::Postgres).await;
        site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
        site.start_web().await;
        site.start(&["worker"]);
        site.post_all(&[sale(1)]).await;
        site.settle().await;
        let mut admin = site.admin().await;
        let name = site.database_name();
        admin.execute(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections false"))).await.unwrap();
        let cut = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
        admin.execute(sqlx::AssertSqlSafe(cut)).await.unwrap();
        let (status, answer) = site.post(&sale(2)).await;
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("unavailable")));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(site.is_running("web") && site.is_running("worker"));
        admin.execute(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections true"))).await.unwrap();
        let taken = async || (site.post(&sale(2)).await.0 == 200).then_some(());
        eventually("the event is taken", taken).await;
        site.settle().await;
        assert_eq!(site.workspace("acme")["credits"], 20);
    }
}
