//! A newer version migrates while the older one runs, and leaves jobs and columns that the older one does not know; and
//! jobs as earlier versions wrote them are found in the queue.
//!
//! There is no release before this one yet. So the newer version is played by hand, with what its migration may do
//! (it adds), and the earlier one by the payloads that it left (`tests/fixtures/jobs`).

use std::time::Duration;

use sqlx::{Connection, Executor};

use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

const COLUMNS: [&str; 4] = [
    "alter table workspaces add column of_the_future text",
    "alter table stripe_events add column of_the_future text",
    "alter table emails add column of_the_future integer not null default 1",
    "alter table credit_ledger add column of_the_future text",
];
const MIGRATIONS: usize = 4;
/// As an earlier version wrote them, one a line, with the queue in front.
const JOBS: &str = include_str!("../../fixtures/jobs/before-release.txt");
const UNKNOWN: &str = r#"{"job":"of-the-future","args":{"anything":[1]}}"#;

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let mut stage = Stage::new(Site::new(on).await, wish).await;
    stage.start().await;
    let mut failures = Vec::new();
    let mut report = stage
        .through(async |site, _| {
            for column in COLUMNS {
                let running = (0..MIGRATIONS).map(|_| {
                    let mut command = tokio::process::Command::from(site.command(&["migrate"]));
                    async move { command.output().await.unwrap() }
                });
                for output in futures::future::join_all(running).await {
                    if !output.status.success() {
                        failures.push(format!("migrate: {}", String::from_utf8_lossy(&output.stderr)));
                    }
                }
                run(site, column).await;
                for (queue, job) in jobs() {
                    put(site, queue, job).await;
                }
                put(site, "events", UNKNOWN).await;
                tokio::time::sleep(wish.seconds(1, 10)).await;
            }
        })
        .await;
    report.failures.extend(failures);
    let all = stage.site.json(&["jobs", "list", "--json"]);
    let waiting = all.as_array().unwrap().iter().filter(|job| job["job"] == "of-the-future").count();
    if waiting != COLUMNS.len() {
        report.failures.push(format!("{waiting} of {} jobs of an unknown kind wait visibly", COLUMNS.len()));
    }
    let dead = stage.site.json(&["jobs", "list", "--state", "dead", "--json"]);
    // The one that asks Stripe was understood, and there is no key to ask with.
    for job in
        dead.as_array().unwrap().iter().filter(|job| job["last_error"] != "there is no STRIPE_API_KEY to ask with")
    {
        report.failures.push(format!("a job of an earlier version is dead: {job}"));
    }
    report
}

fn jobs() -> impl Iterator<Item = (&'static str, &'static str)> {
    JOBS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// Puts a job into the queue as any version would.
async fn put(site: &Site, queue: &str, job: &str) {
    let id = billing::clock::new_id();
    let sql = match site.on {
        On::Postgres => format!(
            "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)
             values ('{id}', 'billing.{queue}', convert_to('{job}', 'UTF8'), 'Pending', 0, 5, now(), 0, '')"
        ),
        On::Sqlite => format!(
            "insert into Jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)
             values ('{id}', '{queue}', cast('{job}' as blob), 'Pending', 0, 5, cast(strftime('%s', 'now') as integer), 0, '{{}}')"
        ),
    };
    run(site, &sql).await;
}

async fn run(site: &Site, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    match site.on {
        On::Postgres => drop(site.postgres().await.execute(sql).await.unwrap()),
        On::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(&site.url).await.unwrap();
            connection.execute("pragma busy_timeout = 20000").await.unwrap();
            tokio::time::timeout(Duration::from_secs(30), connection.execute(sql)).await.unwrap().unwrap();
        }
    }
}
