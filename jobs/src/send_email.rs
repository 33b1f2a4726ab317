//! `send-email`: claim, see whether it is still true, send, write down.
//!
//! A crash between the server's 250 and our commit sends the mail again, with the same Message-ID; that is the one
//! window in which a mail can arrive twice, and it cannot be closed from this side of SMTP.

mod look;
mod sending;

use std::time::{Duration, Instant};

use billing::mail::SendError;
use billing::rules::Mail;
use billing::store::{self, CarriedEmail, Db, EmailRow, QueuedEmail, Tx};
use serde::{Deserialize, Serialize};

use self::look::{Look, look};
use self::sending::{CLAIM_SECONDS, Claimed};

use crate::bounded::{bounded, done_within};
use crate::{Context, Done, Failure, Job, Policy, Queue, queue};

/// To claim a mail and look whether it is still true.
const CLAIM_MOST: Duration = Duration::from_secs(20);
/// To write down what became of it, in one try.
const WRITE_MOST: Duration = Duration::from_secs(15);
/// Between two tries to write down that a mail has gone, and how long there are some: a mail of which that is not written down
/// goes again.
const SENT_AGAIN: Duration = Duration::from_millis(500);
const SENT_MOST: Duration = Duration::from_mins(10);

/// A failed payment is mailed after this wait. Where the bank asks for an action, Stripe tells so in another event of the
/// same moment, and which of the two comes first is chance; only the mail about the action must go. After that it waits
/// only for such an event that is in the inbox already. One that comes still later is told in a mail of its own although
/// the failure has been: the failure's mail does not say what to do, and without the action the payment fails again.
const HOLD: Duration = Duration::from_secs(3);

/// One queued mail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SendEmail {
    pub email_id: String,
}

impl Job for SendEmail {
    const NAME: &'static str = "send-email";
    const QUEUE: Queue = Queue::Mail;
    /// Retries after 10 s, 20 s, 40 s .. then every 6 h, for three days in all; then dead.
    const POLICY: Policy = Policy {
        max_attempts: 22,
        backoff: Duration::from_secs(10),
        backoff_most: Duration::from_secs(6 * 3600),
        timeout: Duration::from_mins(21),
    };

    async fn run(&self, context: &Context) -> Result<Done, Failure> {
        let late = |reason| Failure::Retry(format!("to claim the mail {reason}"));
        let Some(claimed) = bounded(CLAIM_MOST, self.claim(context)).await.map_err(late)?? else { return Ok(Done) };
        billing::chaos::point("mail.claimed");
        let sent = claimed.send(context).await;
        if sent.is_ok() {
            billing::chaos::point("mail.sent");
        }
        write_down(context, &claimed.email, sent).await
    }

    async fn bury(&self, context: &Context, reason: &str) -> sqlx::Result<()> {
        finish(context, &self.email_id, "dead", Some(reason)).await
    }
}

impl SendEmail {
    /// Claims the mail, committed before anything is sent: nobody else sends it meanwhile. `None`: there is nothing to send.
    async fn claim(&self, context: &Context) -> Result<Option<Claimed>, Failure> {
        let (now, since) = (context.clock.now(), Instant::now());
        let mut tx = context.db.begin().await?;
        let Some(mut email) = store::claim_email(&mut tx, &self.email_id, CLAIM_SECONDS).await? else {
            drop(tx);
            return self.not_ours(context).await.map(|Done| None);
        };
        let mail = template(&email)?;
        let (data, address, to) = match look(&mut tx, &email, mail, context).await? {
            Look::Say { data, address, to } => (data, address, to),
            Look::Skip(reason) => {
                store::finish_email(&mut tx, &email.id, "skipped", Some(reason), now).await?;
                tx.commit().await?;
                count(&email.template, "skipped");
                return Ok(None);
            }
            // The claim goes with the transaction.
            Look::Wait(reason) => {
                return Err(Failure::Snooze { after: Duration::from_secs(2), reason: reason.to_owned() });
            }
            // Its attempts are not used up by what only a person can change.
            Look::Bury(reason) => return Err(Failure::Cancel(reason.to_owned())),
        };
        let wanted = to.locale.as_deref().or(to.customer_locale.as_deref()).unwrap_or_default();
        let locale = context.templates.locale_for(wanted);
        if locale != email.locale || address != email.recipient {
            store::address_email(&mut tx, &email.id, &address, locale).await?;
            locale.clone_into(&mut email.locale);
            email.recipient = address;
        }
        tx.commit().await?;
        Ok(Some(Claimed { email, mail, data, to, since }))
    }

    /// The mail could not be claimed: it is finished, or another worker is at it and may yet fail.
    async fn not_ours(&self, context: &Context) -> Result<Done, Failure> {
        match store::find_email(&context.db, &self.email_id).await? {
            Some(email) if email.status == "queued" => Err(Failure::Snooze {
                after: Duration::from_secs(5),
                reason: "another worker has claimed the mail".to_owned(),
            }),
            _ => Ok(Done),
        }
    }
}

/// Enqueues the sending of mails, in the transaction that queued them.
pub async fn enqueue_emails(tx: &mut Tx, emails: &[QueuedEmail]) -> sqlx::Result<()> {
    let jobs: Vec<SendEmail> = emails.iter().map(|email| SendEmail { email_id: email.id.clone() }).collect();
    let after = |email: &QueuedEmail| {
        if email.template == Mail::PaymentFailed.as_str() { HOLD } else { Duration::ZERO }
    };
    let timed: Vec<_> =
        emails.iter().zip(&jobs).map(|(email, job)| (email.job_id.as_str(), job, after(email))).collect();
    queue::enqueue_all_after(tx, &timed).await.map(drop)
}

/// Gives dead mails back to the queue, all or those named, each with a new job that has all its attempts; gives the ids of
/// those that were dead.
pub async fn retry_emails(db: &Db, ids: Option<&[String]>) -> sqlx::Result<Vec<String>> {
    let mut tx = db.begin().await?;
    let revived = store::revive_emails(&mut tx, ids).await?;
    let jobs: Vec<&str> = revived.iter().filter_map(|(_, job_id)| job_id.as_deref()).collect();
    queue::forget(&mut tx, &jobs).await?;
    let ids: Vec<String> = revived.into_iter().map(|(id, _)| id).collect();
    enqueue_again(&mut tx, ids.clone()).await?;
    tx.commit().await?;
    Ok(ids)
}

/// Gives new jobs to mails whose own are lost.
pub(crate) async fn enqueue_again(tx: &mut Tx, email_ids: Vec<String>) -> sqlx::Result<()> {
    let carried: Vec<CarriedEmail> =
        email_ids.into_iter().map(|id| CarriedEmail { id, job_id: billing::clock::new_id() }).collect();
    let jobs: Vec<SendEmail> = carried.iter().map(|email| SendEmail { email_id: email.id.clone() }).collect();
    let by_id: Vec<(&str, &SendEmail)> = carried.iter().map(|email| email.job_id.as_str()).zip(&jobs).collect();
    queue::enqueue_all(tx, &by_id).await?;
    store::set_email_jobs(tx, &carried).await?;
    Ok(())
}

fn template(email: &EmailRow) -> Result<Mail, Failure> {
    Mail::parse(&email.template).ok_or_else(|| Failure::Cancel(format!("there is no template {:?}", email.template)))
}

/// Dead, and no other mail goes there: both or neither.
async fn refused(context: &Context, email: &EmailRow, reason: &str) -> sqlx::Result<()> {
    let now = context.clock.now();
    let mut tx = context.db.begin().await?;
    store::suppress(&mut tx, &email.recipient, reason, &email.id, now).await?;
    store::finish_email(&mut tx, &email.id, "dead", Some(reason), now).await?;
    tx.commit().await?;
    tracing::warn!(email.id = email.id, reason, "an address is refused for good and gets no more mail");
    count(&email.template, "refused");
    Ok(())
}

/// What becomes of the mail, and of its job.
async fn write_down(context: &Context, email: &EmailRow, sent: Result<(), SendError>) -> Result<Done, Failure> {
    let late = |reason| Failure::Retry(format!("to write down what became of the mail: {reason}"));
    match sent {
        Ok(()) => {
            // A database that fails for a while would otherwise make it go again.
            let started = Instant::now();
            while let Err(reason) = done_within(WRITE_MOST, finish(context, &email.id, "sent", None)).await {
                tracing::warn!(email.id = email.id, reason, "a mail went, and that is not written down yet");
                if started.elapsed() > SENT_MOST {
                    return Err(late(reason));
                }
                tokio::time::sleep(SENT_AGAIN).await;
            }
            count(&email.template, "sent");
            Ok(Done)
        }
        Err(SendError::Transient(reason)) => {
            done_within(WRITE_MOST, finish(context, &email.id, "queued", Some(&reason))).await.map_err(late)?;
            Err(Failure::Retry(reason))
        }
        Err(SendError::Permanent(reason)) => Err(Failure::Cancel(reason)),
        Err(SendError::Refused(reason)) => {
            done_within(WRITE_MOST, refused(context, email, &reason)).await.map_err(late)?;
            Err(Failure::Cancel(reason))
        }
    }
}

async fn finish(context: &Context, id: &str, status: &str, error: Option<&str>) -> sqlx::Result<()> {
    let mut tx = context.db.begin().await?;
    store::finish_email(&mut tx, id, status, error, context.clock.now()).await?;
    tx.commit().await?;
    if status == "dead" {
        tracing::error!(email.id = id, reason = error, "a mail is dead");
        count("any", "dead");
    }
    Ok(())
}

fn count(template: &str, outcome: &'static str) {
    metrics::counter!("billingd_mails_total", "template" => template.to_owned(), "outcome" => outcome).increment(1);
}
