//! Sending a mail that is claimed, however long the server takes.

use std::time::{Duration, Instant};

use billing::mail::{MAIL_LIMIT, Message, RenderContext, SendError, render};
use billing::rules::Mail;
use billing::store::{self, Addressee, EmailRow};
use serde_json::Value;

use crate::Context;
use crate::bounded::done_within;

/// How long a claim lasts: the mails of a worker that died wait for its end.
pub(super) const CLAIM_SECONDS: i64 = 45;
/// Who is still at the mail claims it anew so often, and gives up trying to after so long.
const CLAIM_AGAIN: Duration = Duration::from_secs(10);
const CLAIM_TRY: Duration = Duration::from_secs(5);
/// When who could not claim it anew leaves it, a moment before another may have it.
const CLAIM_OVER: Duration = Duration::from_secs(40);

/// A server's time for a mail in the last attempts: what RFC 5321 (4.5.3.2.6) has a sender wait for.
const PATIENCE_MOST: Duration = Duration::from_mins(10);

/// A mail that nobody else sends meanwhile, with what has been looked up for it.
pub(super) struct Claimed {
    pub(super) email: EmailRow,
    pub(super) mail: Mail,
    /// What it says by now.
    pub(super) data: Value,
    pub(super) to: Addressee,
    /// When it began to be claimed.
    pub(super) since: Instant,
}

impl Claimed {
    /// Sends it, and claims it anew for as long as that takes.
    pub(super) async fn send(&self, context: &Context) -> Result<(), SendError> {
        tokio::select! {
            sent = hand_over(context, self) => sent,
            reason = self.keep(context) => Err(SendError::Transient(reason)),
        }
    }

    /// Keeps the claim, and gives why it is lost.
    async fn keep(&self, context: &Context) -> String {
        let mut since = self.since;
        loop {
            tokio::time::sleep(CLAIM_AGAIN).await;
            let now = Instant::now();
            match done_within(CLAIM_TRY, keep_claim(context, &self.email)).await {
                Ok(true) => since = now,
                Ok(false) => return "the mail took so long that another worker claimed it".to_owned(),
                Err(reason) if since.elapsed() + CLAIM_AGAIN + CLAIM_TRY > CLAIM_OVER => {
                    return format!("the mail took long and could not be claimed anew: {reason}");
                }
                Err(reason) => {
                    tracing::warn!(
                        email.id = self.email.id,
                        reason,
                        "a mail takes long, and could not be claimed anew"
                    );
                }
            }
        }
    }
}

/// A server's time for a mail. Most that are late are gone, and another connection finds one that is not; but one that only
/// takes its time would get the mail with every attempt, so each has twice the time of the one before.
fn patience(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 10) - 1).unwrap_or_default();
    MAIL_LIMIT.saturating_mul(2_u32.saturating_pow(doublings)).min(PATIENCE_MOST)
}

async fn keep_claim(context: &Context, email: &EmailRow) -> sqlx::Result<bool> {
    let mut tx = context.db.begin().await?;
    let kept = store::keep_claim(&mut tx, &email.id, email.attempts, CLAIM_SECONDS).await?;
    tx.commit().await?;
    Ok(kept)
}

async fn hand_over(context: &Context, claimed: &Claimed) -> Result<(), SendError> {
    let Claimed { email, mail, data, to, .. } = claimed;
    let mail = *mail;
    let plan = data["plan"].as_str().and_then(|id| context.policy.catalogue.find(id));
    let now = context.clock.now();
    let render_context = RenderContext {
        workspace_name: to.workspace_name.clone(),
        recipient_name: to.name.clone(),
        is_owner: to.is_owner,
        locale: email.locale.clone(),
        plan_name: plan.map(|plan| plan.name.clone()),
        app_url: context.links.app_url.clone(),
        portal_url: context.links.portal_url.clone(),
        now,
    };
    let rendered = render(&context.templates, mail, data, &render_context)
        .map_err(|error| SendError::Permanent(error.to_string()))?;
    let message = Message {
        dedupe_key: email.dedupe_key.clone(),
        template: mail,
        to_address: email.recipient.clone(),
        to_name: to.name.clone(),
        subject: rendered.subject,
        text: rendered.text,
        html: rendered.html,
        unsubscribe: context.links.unsubscribe.as_ref().and_then(|link| link.address(mail, &email.workspace_id)),
        date: now,
    };
    context.mailer.send(&message, patience(email.attempts)).await
}

#[cfg(test)]
mod tests {
    use super::super::{CLAIM_MOST, SENT_MOST, SendEmail};
    use super::*;
    use crate::Job;

    #[test]
    fn a_server_has_more_time_with_each_attempt_and_a_job_has_more_than_that() {
        for (attempt, seconds) in [(1, 30), (2, 60), (5, 480), (6, 600), (22, 600), (i64::MAX, 600), (0, 30)] {
            assert_eq!(patience(attempt).as_secs(), seconds, "attempt {attempt}");
        }
        assert!(CLAIM_MOST + PATIENCE_MOST + SENT_MOST < SendEmail::POLICY.timeout);
        assert!((CLAIM_AGAIN + CLAIM_TRY) * 2 < CLAIM_OVER, "kept although one try fails");
        assert!(CLAIM_OVER.as_secs() < CLAIM_SECONDS as u64);
    }
}
