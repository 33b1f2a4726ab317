//! The sweep that makes the inbox the truth and the queue only the wake-up: whatever waits without a live job gets one.
//! It is a loop of the worker's and no job, so that no fault of the queue can stop it.

use billing::apply::apply;
use billing::rules::SpentRefund;
use billing::store::{self, Db, Engine};
use chrono::{DateTime, TimeDelta, Utc};

use crate::tuning::by_index;
use crate::{Context, process_events, send_email};

/// What waits for less is on its way.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// Rows per kind and sweep.
const BATCH: i64 = 1000;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    pub events: usize,
    pub emails: usize,
    /// Customers whose workspace has come without our being told.
    pub links: usize,
}

/// Gives jobs to stranded events and mails, and links to customers whose workspace exists by now.
pub async fn rescue(context: &Context) -> sqlx::Result<Rescued> {
    let db = &context.db;
    let now = context.clock.now();
    let before = now - PATIENCE;

    let events = EVENTS.stranded(db, before).await?;
    let emails = EMAILS.stranded(db, before).await?;
    let mut tx = db.begin().await?;
    process_events::give_job(&mut tx, &events).await?;
    let rescued_emails = emails.len();
    send_email::enqueue_again(&mut tx, emails).await?;
    tx.commit().await?;

    let customers = store::claimable(db, BATCH).await?;
    if !customers.is_empty() {
        let mut tx = db.begin().await?;
        let applied = apply(&mut tx, Vec::new(), &customers, context.policy.spent_refund, now).await?;
        send_email::enqueue_emails(&mut tx, &applied.emails).await?;
        tx.commit().await?;
    }

    let rescued = Rescued { events: events.len(), emails: rescued_emails, links: customers.len() };
    if rescued != Rescued::default() {
        tracing::warn!(?rescued, "gave jobs to what had none");
        metrics::counter!("billingd_rescued_total", "what" => "event").increment(events.len() as u64);
        metrics::counter!("billingd_rescued_total", "what" => "email").increment(rescued_emails as u64);
    }
    Ok(rescued)
}

/// A table whose rows wait for a job.
struct Waiting {
    table: &'static str,
    status: &'static str,
    /// The time since when.
    since: &'static str,
}

const EVENTS: Waiting = Waiting { table: "stripe_events", status: "received", since: "received_at" };
const EMAILS: Waiting = Waiting { table: "emails", status: "queued", since: "created_at" };

impl Waiting {
    /// What waits since before then and has no job that will come to it, the oldest first; however much waits before it that
    /// has one, as while Stripe or the mail server is down.
    async fn stranded(&self, db: &Db, before: DateTime<Utc>) -> sqlx::Result<Vec<String>> {
        let Self { table, status, since } = self;
        let sql = |jobs: &str, collation: &str| {
            sqlx::AssertSqlSafe(format!(
                "select w.id from {table} as w where w.status = '{status}' and w.{since} < $1
                   and not exists (select 1 from {jobs} as j where j.id = w.job_id{collation}
                                   and (j.status in ('Pending', 'Queued', 'Running')
                                        or j.status = 'Failed' and j.attempts < j.max_attempts))
                 order by w.{since} limit {BATCH}"
            ))
        };
        let found: Vec<(String,)> = match db {
            Engine::Postgres(pool) => {
                let mut tx = by_index(pool).await?;
                // As the key of the jobs has it.
                let sql = sql("apalis.jobs", " collate \"default\"");
                let found = sqlx::query_as(sql).bind(before).fetch_all(&mut *tx).await?;
                tx.commit().await?;
                found
            }
            Engine::Sqlite(file) => sqlx::query_as(sql("Jobs", "")).bind(before).fetch_all(&file.reader).await?,
        };
        Ok(found.into_iter().map(|(id,)| id).collect())
    }
}

/// Looks at what waits for workspaces that have just come; for `workspaces put`.
pub async fn welcome(
    tx: &mut store::Tx,
    workspace_id: &str,
    spent: SpentRefund,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let waiting = store::customers_of(tx, &[workspace_id]).await?;
    let applied = apply(tx, Vec::new(), &waiting, spent, now).await?;
    send_email::enqueue_emails(tx, &applied.emails).await
}
