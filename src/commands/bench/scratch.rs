//! Where the bench takes place: a schema or a file of its own, processes of its own, and nothing of it left.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use billing::store::{self, EmailFilter, Engine};
use billing::{Clock, Db};
use jobs::receive::{Incoming, commit};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::load::Load;
use crate::process;
use crate::settings::{Hidden, Settings};

pub(super) struct Scratch {
    db: Db,
    settings: Settings,
    secret: String,
    port: u16,
    /// Logs, mails and, on SQLite, the database.
    folder: TempDir,
}

/// A process of the bench; killed when dropped.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// The most memory it ever had resident.
    pub(super) fn peak_memory_mib(&self) -> anyhow::Result<f64> {
        let pid = self.child.id().with_context(|| format!("{} has ended", self.name))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells no peak memory")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok((kib / 102.4).round() / 10.0)
    }

    fn alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            anyhow::bail!("{} ended with {status}:\n{log}", self.name);
        }
        Ok(())
    }
}

impl Scratch {
    pub(super) async fn make(settings: &Settings, secret: &str, workspaces: u32) -> anyhow::Result<Self> {
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
        jobs::migrate(&db, &settings.database_schema).await?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let scratch = Self { db, settings, secret: secret.to_owned(), port, folder };
        scratch.put_workspaces(workspaces).await?;
        Ok(scratch)
    }

    async fn put_workspaces(&self, workspaces: u32) -> anyhow::Result<()> {
        let now = Clock::system().now();
        let mut tx = self.db.begin().await?;
        for index in 0..workspaces {
            let id = format!("bench-{index}");
            store::put_workspace(&mut tx, &id, &id, None, now).await?;
            let member = store::Member { email: &format!("{id}@example.com"), name: None, locale: None };
            store::put_owner(&mut tx, &id, &member, &billing::clock::new_id(), now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(super) fn engine(&self) -> &'static str {
        self.db.engine_name()
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
        let log = self.folder.path().join(format!("{name}.log"));
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

    async fn until(
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

    /// Waits until the receiver takes connections.
    pub(super) async fn ready(&self, web: &mut Process, patience: Duration) -> anyhow::Result<SocketAddr> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let connects = async || {
            web.alive()?;
            Ok(tokio::net::TcpStream::connect(address).await.is_ok())
        };
        self.until("the receiver is up", patience, connects, Duration::from_millis(20)).await?;
        Ok(address)
    }

    /// Waits until no event is left to be processed.
    pub(super) async fn drained(&self, worker: &mut Process, patience: Duration) -> anyhow::Result<()> {
        let none = async || {
            worker.alive()?;
            Ok(store::oldest_unfinished(&self.db).await?.is_none())
        };
        self.until("the backlog is processed", patience, none, Duration::from_millis(20)).await
    }

    /// Waits until every mail is sent; none may end otherwise.
    pub(super) async fn mailed(&self, worker: &mut Process, patience: Duration) -> anyhow::Result<()> {
        let count = async |status: &str| {
            let filter = EmailFilter { status: Some(status.to_owned()), limit: 1, ..EmailFilter::default() };
            store::list_emails(&self.db, &filter).await.map(|mails| mails.len())
        };
        let none = async || {
            worker.alive()?;
            anyhow::ensure!(count("dead").await? == 0, "a mail is dead");
            Ok(count("queued").await? == 0)
        };
        self.until("every mail is sent", patience, none, Duration::from_millis(50)).await
    }

    /// Waits until a single event is processed.
    pub(super) async fn finished(&self, load: &Load, patience: Duration) -> anyhow::Result<()> {
        let finished = async || {
            for id in load.ids() {
                if store::find_event(&self.db, id).await?.is_none_or(|event| event.status == "received") {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        self.until("the event is processed", patience, finished, Duration::from_millis(1)).await
    }

    /// Transactions per second of the receiver's own statement with one event each: by `pgbench` with 16 clients on
    /// PostgreSQL (`None` where there is none), by one writer on SQLite.
    pub(super) async fn yardstick(&self, length: Duration) -> anyhow::Result<Option<f64>> {
        if length.is_zero() {
            return Ok(None);
        }
        match &self.db {
            Engine::Postgres(_) => self.pgbench(length).await,
            Engine::Sqlite(_) => {
                let clock = Clock::system();
                let load = Load::mixed(2000, 1, clock.clone());
                let (started, mut done) = (Instant::now(), 0_u32);
                for body in load.bodies().cycle() {
                    if started.elapsed() >= length {
                        break;
                    }
                    let mut envelope = billing::stripe::Envelope::parse(body.as_bytes())?;
                    envelope.id = format!("yardstick_{}", billing::clock::new_id());
                    let incoming = Incoming { envelope, body: body.to_owned(), ignored: Some("yardstick".to_owned()) };
                    commit(&self.db, &[incoming], clock.now()).await?;
                    done += 1;
                }
                Ok(Some(f64::from(done) / started.elapsed().as_secs_f64()))
            }
        }
    }

    async fn pgbench(&self, length: Duration) -> anyhow::Result<Option<f64>> {
        let body = Load::mixed(1, 1, Clock::system()).bodies().next().unwrap_or_default().replace('\'', "''");
        let schema = &self.settings.database_schema;
        let script = format!(
            "\\set n random(1, 9000000000000000)\nbegin;\n\
             insert into {schema}.stripe_events (id, type, livemode, created, object_id, payload, received_at, status, processed_at)\n\
             values ('yardstick_' || :n, 'invoice.paid', false, now(), 'in_1', '{}', now(), 'ignored', now());\n\
             insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)\n\
             values ('yardstick_' || :n, '{schema}.yardstick', 'x', 'Done', 0, 12, now(), 0, ''::hstore);\ncommit;\n",
            body.replace(':', ": ")
        );
        let file = self.folder.path().join("yardstick.sql");
        std::fs::write(&file, script)?;
        let output = Command::new("pgbench")
            .args(["-n", "-M", "prepared", "-c", "16", "-j", "2", "-T", &length.as_secs().to_string(), "-f"])
            .arg(&file)
            .arg(&self.settings.database_url.0)
            .output()
            .await;
        let Ok(output) = output else {
            eprintln!("there is no pgbench on this machine; the yardstick is left out");
            return Ok(None);
        };
        let says = String::from_utf8_lossy(&output.stdout);
        let tps = says.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.map(Some).with_context(|| format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Takes everything away again.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
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
        Ok(())
    }
}
