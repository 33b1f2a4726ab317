//! An upgrade step by step under load, and back: the newer version migrates while the older one runs, works beside it, takes its
//! place, and has the older one beside it again, as after an upgrade that is taken back. Jobs of the older are done by the
//! newer and the other way round, with jobs of a kind that nobody knows yet, and jobs as versions before both wrote them
//! (`tests/fixtures/jobs`).
//!
//! The newer version is this build with one migration more. The older one is the build that `CHAOS_OLDER` names, which
//! `scripts/chaos --older` sets; else this build, too.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};

use crate::harness::{BINARY, On, Site};
use crate::stage::{Report, Stage, Wish};

/// What a migration may do: it adds.
const MIGRATION: &str = "alter table workspaces add column of_the_future text;
    alter table stripe_events add column of_the_future text;
    alter table emails add column of_the_future integer not null default 1;
    alter table credit_ledger add column of_the_future text;";
/// Migrating at once, as when several machines are upgraded.
const MIGRATIONS: usize = 4;
/// Makes a process one of the newer version.
const NEWER: &str = "BILLINGD_FURTHER_MIGRATIONS";
/// As earlier versions wrote them, one a line, with the queue in front.
const JOBS: &str = include_str!("../../fixtures/jobs/before-release.txt");
const UNKNOWN: &str = r#"{"job":"of-the-future","args":{"anything":[1]}}"#;
const STOPS_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let older = older();
    let name = older.as_ref().map_or("this build".to_owned(), |path| path.display().to_string());
    let mut site = Site::new(on).await;
    if let Some(older) = older {
        made_by(&mut site, older).await;
    }
    let mut stage = Stage::new(site, wish).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("9001_of_the_future.sql"), MIGRATION).unwrap();
    let newer = [(NEWER, folder.path().to_str().unwrap())];
    stage.start().await;
    let (mut failures, mut unknown) = (Vec::new(), 0);
    let mut report = stage
        .through(async |site, _| {
            let a_while = || tokio::time::sleep(wish.seconds(1, 10));
            let older = std::mem::replace(&mut site.binary, BINARY.into());
            let running = (0..MIGRATIONS).map(|_| {
                let mut command = tokio::process::Command::from(site.command(&["migrate"]));
                command.envs(newer);
                async move { command.output().await.unwrap() }
            });
            for output in futures::future::join_all(running).await {
                if !output.status.success() {
                    failures.push(format!("migrate: {}", String::from_utf8_lossy(&output.stderr)));
                }
            }
            unknown += leave_jobs(site).await;
            a_while().await;
            site.start_as("newer-worker", &["worker"], &newer);
            unknown += leave_jobs(site).await;
            a_while().await;
            stopped(site, "worker", &mut failures).await;
            stopped(site, "web", &mut failures).await;
            site.start_as("newer-web", &["web"], &newer);
            site.ready().await;
            unknown += leave_jobs(site).await;
            a_while().await;
            // Taken back: what an older version's deployment does.
            site.binary = older;
            let again = site.run(&["migrate"]);
            if !again.status.success() {
                failures.push(format!("migrate of the older version: {}", String::from_utf8_lossy(&again.stderr)));
            }
            site.start_as("older-worker", &["worker"], &[]);
            unknown += leave_jobs(site).await;
            a_while().await;
            site.binary = BINARY.into();
        })
        .await;
    report.line = format!("{} (older: {name})", report.line);
    report.failures.extend(failures);
    for name in ["newer-worker", "newer-web", "older-worker"] {
        if !stage.site.is_running(name) {
            report.failures.push(format!("{name} has exited by itself"));
        }
    }
    let all = stage.site.json(&["jobs", "list", "--json"]);
    let waiting = all.as_array().unwrap().iter().filter(|job| job["job"] == "of-the-future").count();
    if waiting != unknown {
        report.failures.push(format!("{waiting} of {unknown} jobs of an unknown kind wait visibly"));
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

#[expect(clippy::disallowed_methods, reason = "a setting of tests alone")]
fn older() -> Option<PathBuf> {
    std::env::var_os("CHAOS_OLDER").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// An installation as that build makes it.
async fn made_by(site: &mut Site, older: PathBuf) {
    match site.on {
        On::Postgres => run(site, "drop schema billing cascade; drop schema apalis cascade").await,
        On::Sqlite => site.url = format!("sqlite://{}", site.dir.path().join("older.db").display()),
    }
    site.binary = older;
    site.ok(&["migrate"]);
}

/// Stops a process as an upgrade does. Its jobs take milliseconds, and so should this.
async fn stopped(site: &mut Site, name: &str, failures: &mut Vec<String>) {
    let asked = Instant::now();
    for status in site.stop(name).await.into_iter().filter(|status| !status.success()) {
        failures.push(format!("{name}, asked to stop, ended with {status}"));
    }
    if asked.elapsed() > STOPS_WITHIN {
        failures.push(format!("{name}, asked to stop, took {:.1} s", asked.elapsed().as_secs_f64()));
    }
}

/// Gives how many of them are of a kind that nobody knows.
async fn leave_jobs(site: &Site) -> usize {
    for (queue, job) in jobs() {
        put(site, queue, job).await;
    }
    put(site, "events", UNKNOWN).await;
    1
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
