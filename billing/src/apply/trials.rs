//! The end of workspaces' own trials, and the reminders before it: each once.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::Policy;
use super::addressing::{self, Letter};
use crate::rules::{Mail, Note};
use crate::store::{self, AuditEntry, QueuedEmail, Tx};

/// What one batch of the sweep came to.
#[derive(Debug, Default)]
pub struct Swept {
    pub marked: usize,
    /// The mails that were queued; the caller enqueues their jobs in the same transaction.
    pub emails: Vec<QueuedEmail>,
}

/// Marks at most `limit` trials whose time is up: status, audit entry and mail, each trial once, whatever the number of
/// workers.
pub async fn trials_expired(tx: &mut Tx, policy: &Policy, limit: i64, now: DateTime<Utc>) -> sqlx::Result<Swept> {
    let expired = store::expire_trials(tx, now, limit).await?;
    let plan = &policy.rules.trial_plan;
    let mut entries = Vec::with_capacity(expired.len());
    let mut letters = Vec::new();
    for trial in &expired {
        let cause = format!("{}:{}", trial.id, trial.trial_ends_at.timestamp());
        let data = json!({"trial_ends_at": trial.trial_ends_at.timestamp(), "plan": plan});
        entries.push(AuditEntry {
            note: Note::new("trial_expired", &cause, None, data.clone()),
            workspace_id: Some(trial.id.clone()),
            stripe_event_id: None,
            occurred_at: trial.trial_ends_at,
        });
        // Who subscribed in time has nothing to be told; a subscription that does not run gives nothing.
        if !matches!(trial.subscription_status.as_str(), "active" | "trialing" | "past_due" | "cancel_at_period_end") {
            letters.push(Letter {
                workspace_id: trial.id.clone(),
                template: Mail::TrialExpired,
                dedupe_key: format!("{}:{cause}", Mail::TrialExpired.as_str()),
                data,
            });
        }
    }
    store::record_audit(tx, &entries, now).await?;
    let emails = addressing::queue(tx, &letters, now).await?;
    Ok(Swept { marked: expired.len(), emails })
}

/// Queues the reminders of at most `limit` trials that end in 3 days or in 1, each once, whatever the number of workers.
pub async fn trials_ending(tx: &mut Tx, policy: &Policy, limit: i64, now: DateTime<Utc>) -> sqlx::Result<Swept> {
    let ending = store::remind_trials(tx, now, limit).await?;
    let mut letters = Vec::new();
    for trial in &ending {
        // Who has subscribed has nothing to be reminded of.
        if matches!(trial.subscription_status.as_str(), "active" | "past_due" | "cancel_at_period_end") {
            continue;
        }
        let ends_at = trial.trial_ends_at.timestamp();
        let days = if trial.trial_reminder_days == 1 { 3 } else { 1 };
        letters.push(Letter {
            workspace_id: trial.id.clone(),
            template: Mail::TrialEnding,
            dedupe_key: format!("{}:{}:{ends_at}:{days}", Mail::TrialEnding.as_str(), trial.id),
            data: json!({"trial_ends_at": ends_at, "days": days, "plan": policy.rules.trial_plan}),
        });
    }
    let emails = addressing::queue(tx, &letters, now).await?;
    Ok(Swept { marked: ending.len(), emails })
}
