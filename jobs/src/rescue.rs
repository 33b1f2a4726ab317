//! The sweep that makes the inbox the truth and the queue only the wake-up: whatever waits without a live job gets one.
//! It is a loop of the worker's and no job, so that no fault of the queue can stop it.

use billing::apply::apply;
use billing::rules::SpentRefund;
use billing::store;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{Context, manage, process_events, send_email};

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

    let events = without_job(context, store::stranded_events(db, before, BATCH).await?).await?;
    let emails = without_job(context, store::stranded_emails(db, before, BATCH).await?).await?;
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

async fn without_job(context: &Context, waiting: Vec<(String, Option<String>)>) -> sqlx::Result<Vec<String>> {
    let carriers: Vec<&str> = waiting.iter().filter_map(|(_, job_id)| job_id.as_deref()).collect();
    let live = manage::live_jobs(&context.db, &carriers).await?;
    Ok(waiting
        .into_iter()
        .filter(|(_, job_id)| job_id.as_ref().is_none_or(|job_id| !live.contains(job_id)))
        .map(|(id, _)| id)
        .collect())
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
