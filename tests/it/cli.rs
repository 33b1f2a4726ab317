//! What an operator types and reads.

use serde_json::json;

use crate::bodies::{day, event, purchase};
use crate::harness::{On, Site, on_both};

on_both!(every_listing_has_json, migrations_may_start_at_once, a_dead_job_is_retried_or_discarded);

async fn every_listing_has_json(mut site: Site) {
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--stripe-customer", "cus_1"]);
    site.start_web().await;
    site.post_all(&purchase("acme", "cus_1")).await;
    site.start(&["worker"]);
    site.settle().await;
    for args in [
        &["workspaces", "list"][..],
        &["events", "list"],
        &["events", "list", "--status", "processed", "--type", "invoice.paid", "--workspace", "acme", "--limit", "5"],
        &["jobs", "list"],
        &["jobs", "list", "--state", "done", "--queue", "events"],
    ] {
        let rows = site.json(&[args, &["--json"]].concat());
        assert!(!rows.as_array().unwrap().is_empty(), "{args:?}");
        assert!(
            site.ok(args).contains(if args[0] == "workspaces" { "acme" } else { "01" }) || args[0] == "events",
            "{args:?}"
        );
    }
    let shown = site.json(&["events", "show", "evt_cus_1_paid", "--json"]);
    assert_eq!(
        (&shown["type"], &shown["status"], &shown["workspace_id"]),
        (&json!("invoice.paid"), &json!("processed"), &json!("acme"))
    );
    assert!(shown["payload"].as_str().unwrap().contains("evt_cus_1_paid"));
    for (args, code) in [
        (&["events", "show", "evt_none"][..], 1),
        (&["workspaces", "show", "nobody"], 1),
        (&["events", "replay"], 2),
        (&["jobs", "retry"], 2),
        (&["jobs", "retry", "none"], 1),
        (&["workspaces", "put", "x", "--owner-email", "no address"], 2),
        (&["workspaces", "put", "x", "--stripe-customer", "acct_1"], 2),
        (&["worker", "--queues", "nothing"], 2),
        (&["nothing"], 2),
    ] {
        let output = site.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

async fn migrations_may_start_at_once(site: Site) {
    let fresh = match site.on {
        On::Sqlite => format!("sqlite://{}", site.dir.path().join("fresh.db").display()),
        On::Postgres => site.url.clone(),
    };
    let mut running: Vec<_> = (0..4)
        .map(|_| {
            let mut command = site.command(&["migrate"]);
            command.env("DATABASE_URL", &fresh).env("DATABASE_SCHEMA", "another").spawn().unwrap()
        })
        .collect();
    assert!(running.iter_mut().all(|child| child.wait().unwrap().success()));
}

async fn a_dead_job_is_retried_or_discarded(mut site: Site) {
    site.set("SMTP_URL", "smtp://127.0.0.1:1");
    site.ok(&["workspaces", "put", "acme"]);
    site.start_web().await;
    site.post_all(&purchase("acme", "cus_1")).await;
    site.start(&["worker"]);
    site.settle().await;
    // There is nobody to write to.
    let dead = async || {
        let jobs = site.json(&["jobs", "list", "--state", "dead", "--queue", "mail", "--json"]);
        jobs[0]["id"].as_str().map(ToOwned::to_owned)
    };
    let id = crate::harness::eventually("the mail's job is dead", dead).await;
    assert_eq!(
        site.query("select status || ': ' || last_error from emails").await,
        ["dead: the workspace has no owner with an address"]
    );
    site.stop("worker").await;
    site.ok(&["jobs", "retry", "--all-dead"]);
    assert_eq!(site.query("select status from emails").await, ["queued"]);
    let pending = site.json(&["jobs", "list", "--state", "pending", "--queue", "mail", "--json"]);
    assert_eq!(pending[0]["id"], json!(id));
    site.ok(&["jobs", "discard", &id]);
    assert_eq!(site.query("select status from emails").await, ["dead"]);
    // An event whose job is discarded does not come back by itself.
    site.post_all(&[event("x", "customer.updated", day(1), json!({"id": "cus_9"}))]).await;
    let job = site.json(&["jobs", "list", "--state", "pending", "--queue", "events", "--json"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    site.ok(&["jobs", "discard", &job]);
    assert_eq!(site.query("select status from stripe_events where id = 'evt_x'").await, ["dead"]);
}

/// As behind `| head`, which has had enough. What was to be done is done.
#[tokio::test]
async fn a_reader_who_goes_is_no_mistake() {
    let site = Site::new(On::Sqlite).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    for args in [
        &["workspaces", "list"][..],
        &["workspaces", "list", "--json"],
        &["workspaces", "put", "beta", "--owner-email", "bob@example.com"],
        &["migrate"],
        &["mail", "preview", "payment_failed"],
        &["demo"],
        &["dev"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = site.command(args).stdout(writer).output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*says), (Some(1), ""), "{args:?}");
    }
    assert!(site.ok(&["workspaces", "list"]).contains("beta"));
}

#[tokio::test]
async fn a_mistake_has_its_exit_code_where_nobody_hears_of_it() {
    let site = Site::new(On::Sqlite).await;
    for (args, code) in [(["workspaces", "show", "nobody"], 1), (["workspaces", "put", ""], 2)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(site.command(&args).output().unwrap().status.code(), Some(code), "{args:?}");
        assert_eq!(site.command(&args).stderr(writer).status().unwrap().code(), Some(code), "{args:?}");
    }
}

#[tokio::test]
async fn a_number_of_threads_that_is_none_is_refused() {
    let site = Site::new(On::Sqlite).await;
    for wrong in ["many", "0", "-1"] {
        let output = site.command(&["check"]).env("TOKIO_WORKER_THREADS", wrong).output().unwrap();
        let says = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && says.contains("TOKIO_WORKER_THREADS is a number of threads"),
            "{says}"
        );
    }
    for right in ["1", ""] {
        assert!(site.command(&["check"]).env("TOKIO_WORKER_THREADS", right).output().unwrap().status.success());
    }
}

#[tokio::test]
async fn wrong_settings_are_listed_at_once() {
    let site = Site::new(On::Sqlite).await;
    let output = site
        .command(&["web"])
        .env("STRIPE_WEBHOOK_SECRET", "")
        .env("PORT", "many")
        .env("DATABASE_URL", "oracle://x")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let says = String::from_utf8(output.stderr).unwrap();
    for name in ["STRIPE_WEBHOOK_SECRET", "PORT", "DATABASE_URL"] {
        assert!(says.contains(name), "{says}");
    }
    // What shows only when they are used.
    for (name, wrong) in [
        ("MAIL_FROM", "nobody"),
        ("SMTP_URL", "smtp://u:x@h:port"),
        ("SMTP_CA_FILE", "none.pem"),
        ("MAIL_TEMPLATES_DIR", "none"),
        ("DATABASE_URL", "postgres://u:x@h:port/x"),
    ] {
        let output = site.command(&["worker"]).env(name, wrong).output().unwrap();
        let says = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && says.contains(&format!("  {name}: ")), "{says}");
    }
    let check = site
        .command(&["check"])
        .env("STRIPE_API_KEY", "nonsense")
        .env("SMTP_URL", "smtp://127.0.0.1:1")
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(2));
    let table = String::from_utf8(check.stdout).unwrap();
    for wrong in ["STRIPE_API_KEY: has to begin with", "does not answer", "127.0.0.1:1"] {
        assert!(table.contains(wrong), "{wrong}: {table}");
    }
    let check = site
        .command(&["check"])
        .env("STRIPE_API_KEY", "sk_test_x")
        .env("STRIPE_API_BASE", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(1));
    let table = String::from_utf8(check.stdout).unwrap();
    assert!(table.contains("stripe") && table.contains("wrong"), "{table}");
    assert!(site.ok(&["check"]).contains("the schema is current"));
}
