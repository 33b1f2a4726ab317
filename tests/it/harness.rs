//! A product's installation for one test: its database, its processes, its commands.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use billing::stripe::Secrets;
use serde_json::Value;
use sqlx::{Connection, Executor};
use tempfile::TempDir;

pub(crate) const SECRET: &str = "whsec_integration";
/// The build under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_billingd");

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Makes `on_sqlite::name` and `on_postgres::name` of each test.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::harness::Site::new(crate::harness::On::Sqlite).await).await })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::harness::Site::new(crate::harness::On::Postgres).await).await })+
        }
    };
}
pub(crate) use on_both;

/// An installation. Everything it started is stopped when it is dropped.
pub(crate) struct Site {
    pub(crate) on: On,
    pub(crate) dir: TempDir,
    pub(crate) url: String,
    port: u16,
    processes: Vec<(String, Child)>,
    /// What is run: this build, or another one.
    pub(crate) binary: PathBuf,
    variables: Vec<(String, String)>,
    client: reqwest::Client,
    /// The server and the database to drop in the end.
    scratch: Option<(String, String)>,
}

impl Site {
    /// A migrated installation without any process.
    pub(crate) async fn new(on: On) -> Self {
        match on {
            On::Sqlite => Self::on_sqlite(tempfile::tempdir().unwrap()).await,
            On::Postgres => Self::on_postgres(postgres_server()).await,
        }
    }

    /// The same with its file in `dir`.
    pub(crate) async fn on_sqlite(dir: TempDir) -> Self {
        Self::made(On::Sqlite, dir, String::new()).await
    }

    /// The same on the server at `server`.
    pub(crate) async fn on_postgres(server: String) -> Self {
        Self::made(On::Postgres, tempfile::tempdir().unwrap(), server).await
    }

    async fn made(on: On, dir: TempDir, server: String) -> Self {
        let (url, scratch) = match on {
            On::Sqlite => (format!("sqlite://{}", dir.path().join("site.db").display()), None),
            On::Postgres => {
                let name = format!("it_{}", billing::clock::new_id().to_lowercase());
                let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
                connection.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
                let mut url: url::Url = server.parse().unwrap();
                url.set_path(&name);
                (url.to_string(), Some((server, name)))
            }
        };
        let port = free_port();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let (processes, variables, binary) = (Vec::new(), Vec::new(), BINARY.into());
        let site = Self { on, dir, url, port, processes, binary, variables, client, scratch };
        site.ok(&["migrate"]);
        site
    }

    /// Sets a variable for what is run from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("DATABASE_URL", &self.url)
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("PORT", self.port.to_string())
            .env("BIND_ADDR", "127.0.0.1")
            .env("SMTP_URL", "file://outbox")
            .env("MAIL_FROM", "Billing <billing@example.com>")
            .env("PAYMENTS_HOBBY_SUBSCRIPTION_PLAN_ID", "price_hobby")
            .env("PAYMENTS_PRO_SUBSCRIPTION_PLAN_ID", "price_pro")
            .env("PAYMENTS_CREDITS_10_PLAN_ID", "price_credits_10")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that has to succeed, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?} failed: {says}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Starts a process that goes on; its log is `<name>.log`.
    pub(crate) fn start(&mut self, args: &[&str]) {
        self.start_with(args, &[]);
    }

    /// The same with more variables.
    pub(crate) fn start_with(&mut self, args: &[&str], variables: &[(&str, &str)]) {
        self.start_as(&args.join("-"), args, variables);
    }

    /// The same under a name of its own, for its log and to be stopped by.
    pub(crate) fn start_as(&mut self, name: &str, args: &[&str], variables: &[(&str, &str)]) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("{name}.log")))
            .unwrap();
        let mut command = self.command(args);
        let child = command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.processes.push((name.to_owned(), child));
    }

    /// Starts the receiver and waits until it is ready.
    pub(crate) async fn start_web(&mut self) {
        self.start(&["web"]);
        self.ready().await;
    }

    pub(crate) async fn ready(&self) {
        eventually("the receiver is ready", async || {
            let answer = self.client.get(self.at("/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills all processes of that name, as a power cut would.
    pub(crate) fn kill(&mut self, name: &str) {
        for (_, child) in self.processes.iter_mut().filter(|(known, _)| known == name) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.processes.retain(|(known, _)| known != name);
    }

    /// Asks the processes of that name to stop, and gives how they ended.
    pub(crate) async fn stop(&mut self, name: &str) -> Vec<std::process::ExitStatus> {
        let (mine, rest) = std::mem::take(&mut self.processes).into_iter().partition(|(known, _)| known == name);
        self.processes = rest;
        let mut mine: Vec<(String, Child)> = mine;
        for (_, child) in &mine {
            assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        }
        let mut ended = Vec::new();
        for (name, child) in &mut mine {
            ended.push(eventually(&format!("{name} stops"), async || child.try_wait().unwrap()).await);
        }
        ended
    }

    pub(crate) fn is_running(&mut self, name: &str) -> bool {
        self.processes
            .iter_mut()
            .filter(|(known, _)| known == name)
            .all(|(_, child)| child.try_wait().unwrap().is_none())
    }

    /// Signs and posts a body the way Stripe does.
    pub(crate) async fn post_text(&self, body: &str) -> (u16, Value) {
        let signature = Secrets::parse(SECRET).unwrap().sign(body.as_bytes(), crate::bodies::now());
        self.post_raw(body.as_bytes().to_vec(), &signature).await
    }

    pub(crate) async fn post_raw(&self, body: Vec<u8>, signature: &str) -> (u16, Value) {
        let request = self.client.post(self.at("/webhooks/stripe")).header("Stripe-Signature", signature).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn post(&self, event: &Value) -> (u16, Value) {
        self.post_text(&event.to_string()).await
    }

    /// Posts events that all have to be taken.
    pub(crate) async fn post_all(&self, events: &[Value]) {
        for event in events {
            let (status, answer) = self.post(event).await;
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// Waits until every event is finished, and gives how they ended.
    pub(crate) async fn settle(&self) -> Vec<Value> {
        eventually("every event is finished", async || {
            let events = self.json(&["events", "list", "--limit", "10000", "--json"]);
            let events = events.as_array().unwrap().clone();
            events.iter().all(|event| event["status"] != "received").then_some(events)
        })
        .await
    }

    pub(crate) fn workspace(&self, id: &str) -> Value {
        self.json(&["workspaces", "show", id, "--json"])
    }

    /// Runs one query and gives its rows as JSON objects made by the query itself (one text column).
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let rows: Vec<(String,)> = match self.on {
            On::Sqlite => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_as(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap()
            }
            On::Postgres => {
                let mut connection = self.postgres().await;
                sqlx::query_as(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap()
            }
        };
        rows.into_iter().map(|(row,)| row).collect()
    }

    /// Runs statements that give nothing.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self.on {
            On::Sqlite => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                connection.execute(sql).await.unwrap();
            }
            On::Postgres => {
                self.postgres().await.execute(sql).await.unwrap();
            }
        }
    }

    pub(crate) async fn postgres(&self) -> sqlx::PgConnection {
        let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
        connection.execute("set search_path = billing, public").await.unwrap();
        connection
    }

    /// The server of the site's database, and its name there.
    pub(crate) async fn admin(&self) -> sqlx::PgConnection {
        let (server, _) = self.scratch.as_ref().unwrap();
        sqlx::PgConnection::connect(server).await.unwrap()
    }

    pub(crate) fn database_name(&self) -> String {
        self.scratch.as_ref().unwrap().1.clone()
    }

    /// The mails of the outbox, in the order of their names.
    pub(crate) fn outbox(&self) -> Vec<String> {
        read_all(&self.dir.path().join("outbox"))
    }
}

fn read_all(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "eml"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["web", "worker", "serve---worker"] {
                if let Ok(log) = std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))) {
                    eprintln!("--- {name}.log\n{}", log.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
                }
            }
        }
        for (_, child) in &mut self.processes {
            let gone = child.kill().and_then(|()| child.wait());
            drop(gone);
        }
        if let Some((server, name)) = self.scratch.take() {
            let drop_it = async move {
                let mut connection = sqlx::PgConnection::connect(&server).await?;
                connection.execute(sqlx::AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await
            };
            // A runtime of its own: the test's is busy dropping us.
            let dropped = std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(drop_it)
            });
            drop(dropped.join());
        }
    }
}

/// A port that nobody has, of those below the ones that the kernel gives to whoever connects somewhere.
pub(crate) fn free_port() -> u16 {
    let random = || 10_000 + u16::try_from(RandomState::new().build_hasher().finish() % 20_000).unwrap();
    std::iter::repeat_with(random).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Tries until it gives something; 60 s at most, far beyond what any of it may take.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Python with the peers that `scripts/test` installs: Stripe's own SDK and an SMTP server.
pub(crate) fn python() -> Command {
    #[expect(clippy::disallowed_methods, reason = "made by scripts/test")]
    let python = std::env::var("BILLINGD_TEST_PYTHON");
    Command::new(python.expect("set BILLINGD_TEST_PYTHON to a Python with stripe and aiosmtpd, or run scripts/test"))
}

/// The server for tests. Never skipped silently.
fn postgres_server() -> String {
    #[expect(clippy::disallowed_methods, reason = "the one setting of the tests")]
    let server = std::env::var("TEST_DATABASE_URL");
    server.expect("set TEST_DATABASE_URL to a PostgreSQL server, or run scripts/test, which starts one")
}
