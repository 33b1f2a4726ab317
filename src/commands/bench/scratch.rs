//! Where the bench takes place: a schema or a file of its own, processes of its own, and nothing of it left.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use billing::Db;
use billing::store::{self, EmailFilter, Engine};
use chrono::DateTime;
use tempfile::TempDir;
use tokio::process::Command;

use super::processes::Process;
use crate::process;
use crate::progress::Progress;
use crate::settings::{Hidden, Settings};

/// A process is up within this, and a single event processed.
const PATIENCE: Duration = Duration::from_secs(300);
/// Beside it, for each event or mail that is waited for: a fiftieth of what is usual.
const PATIENCE_EACH: Duration = Duration::from_millis(15);
/// How often it is counted what is left, where somebody looks on.
const COUNT_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Scratch {
    pub(super) db: Db,
    pub(super) settings: Settings,
    secret: String,
    port: u16,
    /// Logs, mails and, on SQLite, the database.
    folder: TempDir,
}

impl Scratch {
    pub(super) async fn make(settings: &Settings, secret: &str) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        let folder = match process::open(&settings, 1)? {
            // Beside the configured file, because another disk would be another measurement.
            Engine::Sqlite(file) => {
                let beside = file
                    .path
                    .parent()
                    .filter(|path| !path.as_os_str().is_empty())
                    .map_or(PathBuf::from("."), PathBuf::from);
                let folder = tempfile::Builder::new().prefix("billingd-bench-").tempdir_in(beside)?;
                settings.database_url = Hidden(format!("sqlite://{}", folder.path().join("bench.db").display()));
                folder
            }
            Engine::Postgres(_) => {
                settings.database_schema = format!("{}_bench", settings.database_schema);
                tempfile::tempdir()?
            }
        };
        let db = process::open(&settings, 4)?;
        if store::schema_state(&db).await.context("the database does not answer")? != store::SchemaState::Missing {
            anyhow::bail!(
                "the schema {} is there already, perhaps of a bench that was cut off; drop it first",
                settings.database_schema
            );
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { db, settings, secret: secret.to_owned(), port, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts this program's `name` on the scratch database.
    pub(super) fn start(&self, name: &'static str, options: &[&str]) -> anyhow::Result<Process> {
        self.start_with(name, options, &[])
    }

    /// Starts it with other settings, too.
    pub(super) fn start_with(
        &self,
        name: &'static str,
        options: &[&str],
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Process> {
        let log = self.folder.path().join(format!("{name}-{}.log", billing::clock::new_id()));
        let child = Command::new(std::env::current_exe()?)
            .arg(name)
            .args(options)
            .env("DATABASE_URL", &self.settings.database_url.0)
            .env("DATABASE_SCHEMA", &self.settings.database_schema)
            .env("STRIPE_WEBHOOK_SECRET", &self.secret)
            .env("STRIPE_LIVEMODE", "false")
            .env("BIND_ADDR", "127.0.0.1")
            .env("PORT", self.port.to_string())
            .env("SMTP_URL", format!("file://{}", self.folder.path().join("outbox").display()))
            .env("MAIL_FROM", "bench@example.com")
            .env("PAYMENTS_PRO_SUBSCRIPTION_PLAN_ID", "price_pro")
            .env("PAYMENTS_CREDITS_10_PLAN_ID", "price_credits_10")
            .env("RUST_LOG", "warn")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Process { name, child, log })
    }

    /// Asks again and again, but not for ever.
    pub(super) async fn until(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl AsyncFnMut() -> anyhow::Result<bool>,
        pause: Duration,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !look().await? {
            anyhow::ensure!(started.elapsed() < patience, "waited {} s in vain until {what}", patience.as_secs());
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Starts `name`, which serves, and waits until it takes connections.
    pub(super) async fn serve(
        &self,
        name: &'static str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<(Process, SocketAddr)> {
        let mut server = self.start_with(name, &[], settings)?;
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let connects = async || {
            server.alive()?;
            Ok(tokio::net::TcpStream::connect(address).await.is_ok())
        };
        self.until("it takes connections", PATIENCE, connects, Duration::from_millis(20)).await?;
        Ok((server, address))
    }

    /// Waits until none of `events` events is left to be processed.
    pub(super) async fn drained(&self, workers: &mut [Process], events: usize) -> anyhow::Result<()> {
        let progress = Progress::counting("processing events", events as u64);
        let mut counted = Instant::now();
        // From the oldest that was left on, and once more from the beginning at the end: to go through all that is finished
        // each time would take the database's time from what is measured.
        let mut from = DateTime::UNIX_EPOCH;
        let none = async || {
            workers.iter_mut().try_for_each(Process::alive)?;
            if progress.is_seen() && counted.elapsed() >= COUNT_EVERY {
                let left = self.count("select count(*) from stripe_events where status = 'received'").await?;
                progress.set((events as u64).saturating_sub(left));
                counted = Instant::now();
            }
            if let Some(oldest) = store::oldest_unfinished(&self.db, from).await? {
                from = oldest;
                return Ok(false);
            }
            Ok(store::oldest_unfinished(&self.db, DateTime::UNIX_EPOCH).await?.is_none())
        };
        self.until("the backlog is processed", patience(events), none, Duration::from_millis(20)).await
    }

    /// Waits until each of `mails` mails is sent; none may end otherwise.
    pub(super) async fn mailed(&self, worker: &mut Process, mails: usize) -> anyhow::Result<()> {
        let progress = Progress::of("sending mails");
        let count = async |status: &str| {
            let filter = EmailFilter { status: Some(status.to_owned()), limit: 1, ..EmailFilter::default() };
            store::list_emails(&self.db, &filter).await.map(|mails| mails.len())
        };
        let none = async || {
            worker.alive()?;
            anyhow::ensure!(count("dead").await? == 0, "a mail is dead");
            Ok(count("queued").await? == 0)
        };
        let sent = self.until("every mail is sent", patience(mails), none, Duration::from_millis(50)).await;
        drop(progress);
        sent
    }

    /// Waits until a single event is processed.
    pub(super) async fn finished(&self, id: &str) -> anyhow::Result<()> {
        let finished =
            async || Ok(store::find_event(&self.db, id).await?.is_some_and(|event| event.status != "received"));
        self.until("the event is processed", PATIENCE, finished, Duration::from_millis(1)).await
    }

    /// Those of the events that are processed by now.
    pub(super) async fn finished_of(&self, ids: &[&str]) -> anyhow::Result<Vec<String>> {
        let ids = serde_json::to_string(ids)?;
        let found: Vec<(String,)> = match &self.db {
            Engine::Postgres(pool) => {
                sqlx::query_as(
                    "select id from stripe_events
                     where id = any(array(select jsonb_array_elements_text($1::jsonb))) and status <> 'received'",
                )
                .bind(ids)
                .fetch_all(pool)
                .await?
            }
            Engine::Sqlite(file) => sqlx::query_as(
                "select id from stripe_events where id in (select value from json_each($1)) and status <> 'received'",
            )
            .bind(ids)
            .fetch_all(&file.reader)
            .await?,
        };
        Ok(found.into_iter().map(|(id,)| id).collect())
    }

    /// What a statement of one number says.
    pub(super) async fn count(&self, sql: &'static str) -> anyhow::Result<u64> {
        let (count,): (i64,) = match &self.db {
            Engine::Postgres(pool) => sqlx::query_as(sql).fetch_one(pool).await?,
            Engine::Sqlite(file) => sqlx::query_as(sql).fetch_one(&file.reader).await?,
        };
        Ok(u64::try_from(count)?)
    }

    /// Has the database write what it has put off, which the disk would do during what is measured next.
    pub(super) async fn write_out(&self) -> anyhow::Result<()> {
        match &self.db {
            Engine::Postgres(pool) => {
                // Not everybody may; the server does it by itself, later.
                if let Err(error) = sqlx::query("checkpoint").execute(pool).await {
                    tracing::debug!(%error, "no checkpoint before the measurement");
                }
            }
            Engine::Sqlite(file) => {
                sqlx::query("pragma wal_checkpoint(truncate)").execute(&file.writer).await?;
            }
        }
        Ok(())
    }

    /// Takes everything away again.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        let progress = Progress::of("cleaning up");
        if let Engine::Postgres(pool) = &self.db {
            let schema = &self.settings.database_schema;
            for sql in [
                format!("drop schema if exists {schema} cascade"),
                format!("delete from apalis.jobs where job_type like '{schema}.%'"),
                format!("delete from apalis.workers where worker_type like '{schema}.%'"),
            ] {
                sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await?;
            }
        }
        self.db.close().await;
        self.folder.close()?;
        drop(progress);
        Ok(())
    }
}

fn patience(things: usize) -> Duration {
    PATIENCE + PATIENCE_EACH.saturating_mul(u32::try_from(things).unwrap_or(u32::MAX))
}
