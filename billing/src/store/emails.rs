//! Mails, once per cause; sent by jobs that claim them first.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

use super::rows::{self, time};
use super::statement::{execute, fetch, newest};
use super::{Db, Tx};

/// A mail to be written.
#[derive(Clone, Debug, Serialize)]
pub struct NewEmail {
    pub id: String,
    pub workspace_id: String,
    pub template: &'static str,
    pub recipient: String,
    /// Empty: decided when it is sent.
    pub locale: String,
    pub dedupe_key: String,
    pub data: Value,
    #[serde(serialize_with = "time")]
    pub created_at: DateTime<Utc>,
    /// The job that will send it: a fresh id, under which the caller enqueues it.
    pub job_id: String,
}

/// A mail that was queued, and the id of the job that is to send it.
#[derive(Clone, Debug, FromRow, Serialize, PartialEq, Eq)]
pub struct QueuedEmail {
    pub id: String,
    pub job_id: String,
    pub template: String,
}

/// Queues the mails whose cause is new, and gives them. A mail that nobody has tried to send yet takes over the new
/// data: an earlier event tells of its cause anew. `emails` must not repeat a dedupe key.
pub async fn queue_emails(tx: &mut Tx, emails: &[NewEmail]) -> sqlx::Result<Vec<QueuedEmail>> {
    if emails.is_empty() {
        return Ok(Vec::new());
    }
    let queued: Vec<QueuedEmail> = fetch!(
        all,
        tx,
        of emails,
        "insert into emails (id, workspace_id, template, recipient, locale, dedupe_key, data, status, created_at, job_id)
         select r.id, r.workspace_id, r.template, r.recipient, r.locale, r.dedupe_key, r.data, 'queued', r.created_at, r.job_id from ",
        [id text, workspace_id text, template text, recipient text, locale text, dedupe_key text, data jsonb,
         created_at timestamptz, job_id text],
        " as r where true on conflict (dedupe_key) do update set data = excluded.data
         where emails.status = 'queued' and emails.attempts = 0 and emails.data <> excluded.data
         returning id, job_id, template"
    )?;
    let new: HashSet<&str> = emails.iter().map(|email| email.id.as_str()).collect();
    Ok(queued.into_iter().filter(|email| new.contains(email.id.as_str())).collect())
}

/// Gives new data to mails that nobody has tried to send yet; those that were never queued are left alone.
pub async fn retell_emails(tx: &mut Tx, emails: &[NewEmail]) -> sqlx::Result<u64> {
    if emails.is_empty() {
        return Ok(0);
    }
    execute!(
        tx,
        of emails,
        "update emails set data = r.data from ",
        [dedupe_key text, data jsonb],
        " as r where emails.dedupe_key = r.dedupe_key and emails.status = 'queued' and emails.attempts = 0"
    )
}

/// Notes where a mail goes, and in which locale.
pub async fn address_email(tx: &mut Tx, id: &str, recipient: &str, locale: &str) -> sqlx::Result<u64> {
    execute!(tx, "update emails set recipient = $2, locale = $3 where id = $1", id, recipient, locale)
}

/// A mail as it is kept.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct EmailRow {
    pub id: String,
    pub workspace_id: String,
    pub template: String,
    pub recipient: String,
    pub locale: String,
    pub dedupe_key: String,
    pub data: Json<Value>,
    pub status: String,
    pub attempts: i64,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

/// Claims a queued mail for sending for so many seconds, so that no second worker sends it meanwhile. `None`: it is finished,
/// or somebody else is at it. The time is the database's: a worker whose clock is slow would claim what another is at.
pub async fn claim_email(tx: &mut Tx, id: &str, seconds: i64) -> sqlx::Result<Option<EmailRow>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "update emails set attempts = attempts + 1, claimed_until = now() + make_interval(secs => $2::bigint)
             where id = $1 and status = 'queued' and (claimed_until is null or claimed_until <= now())
             returning id, workspace_id, template, recipient, locale, dedupe_key, data, status, attempts, created_at, sent_at, last_error"
        }
        Tx::Sqlite(_) => {
            "update emails set attempts = attempts + 1, claimed_until = strftime('%FT%H:%M:%f+00:00', 'now', $2 || ' seconds')
             where id = $1 and status = 'queued'
               and (claimed_until is null or claimed_until <= strftime('%FT%H:%M:%f+00:00', 'now'))
             returning id, workspace_id, template, recipient, locale, dedupe_key, data, status, attempts, created_at, sent_at, last_error"
        }
    };
    fetch!(optional, tx, sql, id, seconds)
}

/// Claims a mail for so many seconds more, by who has claimed it for this attempt and is still at it. `false`: somebody else has
/// claimed it since, or it is finished.
pub async fn keep_claim(tx: &mut Tx, id: &str, attempt: i64, seconds: i64) -> sqlx::Result<bool> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "update emails set claimed_until = now() + make_interval(secs => $2::bigint)
             where id = $1 and status = 'queued' and claimed_until is not null and attempts = $3"
        }
        Tx::Sqlite(_) => {
            "update emails set claimed_until = strftime('%FT%H:%M:%f+00:00', 'now', $2 || ' seconds')
             where id = $1 and status = 'queued' and claimed_until is not null and attempts = $3"
        }
    };
    Ok(execute!(tx, sql, id, seconds, attempt)? == 1)
}

/// Ends a mail (`sent`, `skipped`, `dead`), or gives it back to the queue (`queued`) with the reason.
pub async fn finish_email(
    tx: &mut Tx,
    id: &str,
    status: &str,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let touched = execute!(
        tx,
        "update emails set status = $2, last_error = $3, claimed_until = null,
                sent_at = case when $2 = 'sent' then $4 else sent_at end
         where id = $1 and status = 'queued'",
        id,
        status,
        error,
        now
    )?;
    Ok(touched == 1)
}

pub async fn find_email(db: &Db, id: &str) -> sqlx::Result<Option<EmailRow>> {
    fetch!(
        optional,
        db,
        "select id, workspace_id, template, recipient, locale, dedupe_key, data, status, attempts, created_at, sent_at, last_error
         from emails where id = $1",
        id
    )
}

/// The newest mails of a workspace, oldest first.
pub async fn emails_of(db: &Db, workspace_id: &str, limit: i64) -> sqlx::Result<Vec<EmailRow>> {
    let mut rows: Vec<EmailRow> = fetch!(
        all,
        db,
        newest!(
            db,
            "select id, workspace_id, template, recipient, locale, dedupe_key, data, status, attempts, created_at, sent_at, last_error
             from emails where workspace_id = $1",
            "limit $2"
        ),
        workspace_id,
        limit
    )?;
    rows.reverse();
    Ok(rows)
}

/// A mail that is in want of a job, and the id of the job that it gets.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct CarriedEmail {
    pub id: String,
    pub job_id: String,
}

/// Notes which job carries which mail.
pub async fn set_email_jobs(tx: &mut Tx, carried: &[CarriedEmail]) -> sqlx::Result<u64> {
    execute!(
        tx,
        of carried,
        "update emails set job_id = r.job_id from ",
        [id text, job_id text],
        " as r where emails.id = r.id"
    )
}

/// Which mails to list; an absent condition is none.
#[derive(Clone, Debug, Default)]
pub struct EmailFilter {
    pub status: Option<String>,
    pub template: Option<String>,
    pub workspace_id: Option<String>,
    pub limit: i64,
}

/// The newest mails first.
pub async fn list_emails(db: &Db, filter: &EmailFilter) -> sqlx::Result<Vec<EmailRow>> {
    fetch!(
        all,
        db,
        "select id, workspace_id, template, recipient, locale, dedupe_key, data, status, attempts, created_at, sent_at, last_error
         from emails where ($1 is null or status = $1) and ($2 is null or template = $2) and ($3 is null or workspace_id = $3)
         order by created_at desc, id desc limit $4",
        &filter.status,
        &filter.template,
        &filter.workspace_id,
        filter.limit
    )
}

/// Gives dead mails back to the queue, all or those named; gives each with the job that carried it last.
pub async fn revive_emails(tx: &mut Tx, ids: Option<&[String]>) -> sqlx::Result<Vec<(String, Option<String>)>> {
    match ids {
        None => fetch!(
            all,
            tx,
            "update emails set status = 'queued', claimed_until = null where status = 'dead' returning id, job_id"
        ),
        Some(ids) => fetch!(
            all,
            tx,
            of &rows::ids(ids),
            "update emails set status = 'queued', claimed_until = null where status = 'dead' and id in (select r.id from ",
            [id text],
            " as r) returning id, job_id"
        ),
    }
}

/// Gives dead mails back to the queue.
pub async fn requeue_emails(tx: &mut Tx, ids: &[String]) -> sqlx::Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(revive_emails(tx, Some(ids)).await?.len() as u64)
}
