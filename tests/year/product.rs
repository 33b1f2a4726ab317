//! The product, driven through its own receiving and its own jobs, on a real database, with a clock of ours.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use billing::apply::{Policy, link_by_hand};
use billing::mail::{Mailer, Templates};
use billing::rules::{Rules, SpentRefund};
use billing::store::{self, Db, EventFilter, Member, PoolSizes, WorkspaceRow};
use billing::stripe::scope::Accounts;
use billing::stripe::{Envelope, Stripe};
use billing::{Catalogue, Clock, Plan, PlanKind};
use chrono::{DateTime, TimeDelta, Utc};
use jobs::receive::{Inbox, Incoming};
use jobs::{Context, ExpireTrials, Job, Links, ProcessEvents, Reconcile, Refresh, RemindTrials, Replay};
use serde_json::Value;
use sqlx::{Connection, Executor};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::On;
use crate::calendar::{DAY, at};
use crate::model::account::{PACKS, PLANS};

const SCHEMA: &str = "billing";

pub(crate) struct Product {
    pub(crate) context: Context,
    _dir: TempDir,
    /// The server, and the database to drop in the end.
    scratch: Option<(String, String)>,
}

impl Product {
    pub(crate) async fn new(on: On, now: i64, stripe: Stripe) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (url, scratch) = match on {
            On::Sqlite => (format!("sqlite://{}", dir.path().join("year.db").display()), None),
            On::Postgres => {
                #[expect(clippy::disallowed_methods, reason = "the one setting of the tests")]
                let server = std::env::var("TEST_DATABASE_URL").expect("set TEST_DATABASE_URL or run scripts/year");
                let name = format!("year_{}", billing::clock::new_id().to_lowercase());
                let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
                connection.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
                // No power cut is simulated here: that is scripts/chaos.
                let hurry = format!("alter database {name} set synchronous_commit = off");
                connection.execute(sqlx::AssertSqlSafe(hurry)).await.unwrap();
                let mut url: url::Url = server.parse().unwrap();
                url.set_path(&name);
                (url.to_string(), Some((server, name)))
            }
        };
        let sizes = PoolSizes { connections: 4, acquire_timeout: Duration::from_secs(30) };
        let db = Db::open(&url, SCHEMA, sizes).unwrap();
        jobs::migrate(&db, SCHEMA).await.unwrap();
        let outbox = format!("file://{}", dir.path().join("outbox").display());
        let context = Context {
            db,
            clock: Clock::manual(at(now)),
            policy: Arc::new(policy()),
            stripe: Some(stripe),
            mailer: Arc::new(Mailer::new(&outbox, "Billing <billing@example.com>").unwrap()),
            templates: Arc::new(Templates::load(None, None).unwrap()),
            links: Arc::new(Links::default()),
            batch_size: Arc::default(),
            running: TaskTracker::new(),
        };
        Self { context, _dir: dir, scratch }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.context.db
    }

    fn now(&self) -> DateTime<Utc> {
        self.context.clock.now()
    }

    /// Time never goes back.
    pub(crate) fn set_clock(&self, now: i64) {
        let by = at(now) - self.now();
        self.context.clock.advance(by.max(TimeDelta::zero()));
    }

    /// `workspaces put`.
    pub(crate) async fn put(&self, workspace: &str, trial_days: i64, customer: Option<&str>) {
        let (now, email) = (self.now(), format!("{workspace}@example.com"));
        let mut tx = self.db().begin().await.unwrap();
        let trial = (trial_days > 0).then(|| now + TimeDelta::days(trial_days));
        if store::put_workspace(&mut tx, workspace, workspace, trial, now).await.unwrap() {
            let member = Member { email: &email, name: None, locale: None };
            store::put_owner(&mut tx, workspace, &member, &billing::clock::new_id(), now).await.unwrap();
        }
        if let Some(customer) = customer {
            link_by_hand(&mut tx, workspace, customer, now).await.unwrap();
        }
        jobs::welcome(&mut tx, workspace, self.context.policy.spent_refund, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Receives what arrives in one commit.
    pub(crate) async fn receive(&self, bodies: &[Arc<str>]) {
        if bodies.is_empty() {
            return;
        }
        let batch: Vec<Incoming> = bodies
            .iter()
            .map(|body| Incoming {
                envelope: Envelope::parse(body.as_bytes()).unwrap(),
                body: body.to_string(),
                ignored: None,
            })
            .collect();
        Inbox::new(self.db().clone(), jobs::LANES).commit(&batch, self.now()).await.unwrap();
    }

    /// Runs a job on these events; what else waits is taken along.
    pub(crate) async fn process(&self, event_ids: Vec<String>) {
        ProcessEvents { event_ids, lane: 0 }.run(&self.context).await.unwrap();
    }

    /// Replays what was received in a day.
    pub(crate) async fn replay(&self, since: i64) {
        let filter =
            EventFilter { since: Some(at(since)), until: Some(at(since + DAY)), limit: 500, ..EventFilter::default() };
        let events = store::list_events(self.db(), &filter).await.unwrap();
        let processed = events.into_iter().filter(|event| event.status == "processed");
        let ids: Vec<String> = processed.map(|event| event.id).collect();
        jobs::replay_events(self.db(), &Replay::Ids(&ids)).await.unwrap();
        for some in ids.chunks(64) {
            self.process(some.to_vec()).await;
        }
    }

    pub(crate) async fn sweep(&self) {
        RemindTrials {}.run(&self.context).await.unwrap();
        ExpireTrials {}.run(&self.context).await.unwrap();
    }

    /// The hourly pass; gives those of the events that are here by now.
    pub(crate) async fn reconcile(&self, missing: &[&str]) -> HashSet<String> {
        Reconcile {}.run(&self.context).await.unwrap();
        store::known_events(self.db(), missing).await.unwrap()
    }

    /// Asks for the objects that wait to be asked for.
    pub(crate) async fn refresh(&self) {
        let sql = match self.db() {
            Db::Postgres(_) => {
                "select id, convert_from(job, 'UTF8') from apalis.jobs where job_type like '%.maintenance'"
            }
            Db::Sqlite(_) => "select id, cast(job as text) from Jobs where job_type = 'maintenance'",
        };
        let waiting: Vec<(String, String)> = self.texts(sql).await;
        for (_, job) in waiting {
            let mut job: Value = serde_json::from_str(&job).unwrap();
            if job["job"] == Refresh::NAME {
                let refresh: Refresh = serde_json::from_value(job["args"].take()).unwrap();
                refresh.run(&self.context).await.unwrap();
            }
        }
        self.clear_queue().await;
    }

    pub(crate) async fn workspace(&self, id: &str) -> Option<WorkspaceRow> {
        store::find_workspace(self.db(), id).await.unwrap()
    }

    /// Forgets the jobs that a worker would have finished.
    pub(crate) async fn clear_queue(&self) {
        match self.db() {
            Db::Postgres(pool) => {
                sqlx::query("delete from apalis.jobs").execute(pool).await.unwrap();
            }
            Db::Sqlite(file) => {
                sqlx::query("delete from Jobs").execute(&file.writer).await.unwrap();
            }
        }
    }

    /// Rows of text columns.
    pub(crate) async fn texts<R>(&self, sql: &'static str) -> Vec<R>
    where
        R: Send
            + Unpin
            + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
            + for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>,
    {
        match self.db() {
            Db::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
            Db::Sqlite(file) => sqlx::query_as(sql).fetch_all(&file.reader).await.unwrap(),
        }
    }

    pub(crate) async fn close(self) {
        self.db().close().await;
        if let Some((server, name)) = &self.scratch {
            let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
            let drop = format!("drop database if exists {name} with (force)");
            connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
        }
    }
}

fn policy() -> Policy {
    let plan = |id: &str, kind, prices: Vec<&str>, credits| Plan {
        id: id.to_owned(),
        name: id.to_owned(),
        kind,
        prices: prices.into_iter().map(ToOwned::to_owned).collect(),
        credits,
        limits: BTreeMap::new(),
    };
    let subscriptions =
        PLANS.iter().map(|it| plan(it.id, PlanKind::Subscription, vec![it.monthly, it.yearly], it.credits));
    let packs = PACKS.iter().map(|(id, price, _, credits)| plan(id, PlanKind::OneTime, vec![price], *credits));
    Policy {
        catalogue: Catalogue::new(subscriptions.chain(packs).collect(), BTreeMap::new()),
        rules: Rules::default(),
        spent_refund: SpentRefund::Negative,
        accounts: Accounts::default(),
        livemode: None,
    }
}
