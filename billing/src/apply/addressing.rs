//! From a mail that a workspace's people are to have to one mail per address.
//!
//! The first address (the owner's, where there is one) has the plain dedupe key, the others have it with their address
//! behind. Who is written to is settled when the cause is first told: an address that is named later gets what happens
//! later, and a replay mails nobody anew.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::rules::Mail;
use crate::store::{self, NewEmail, QueuedEmail, Recipient, Tx};

/// A mail before it is known who gets it.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) workspace_id: String,
    pub(super) template: Mail,
    pub(super) dedupe_key: String,
    pub(super) data: Value,
}

/// Queues the letters whose cause is new, to everybody who is to have them. `letters` must not repeat a dedupe key.
pub(super) async fn queue(tx: &mut Tx, letters: &[Letter], now: DateTime<Utc>) -> sqlx::Result<Vec<QueuedEmail>> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let workspaces: HashSet<&str> = letters.iter().map(|letter| letter.workspace_id.as_str()).collect();
    let mut recipients: BTreeMap<String, Vec<Recipient>> = BTreeMap::new();
    for recipient in store::recipients_of(tx, &workspaces.into_iter().collect::<Vec<_>>()).await? {
        recipients.entry(recipient.workspace_id.clone()).or_default().push(recipient);
    }
    let of = |letter: &Letter| recipients.get(&letter.workspace_id).map_or(&[][..], Vec::as_slice);

    let first: Vec<NewEmail> =
        letters.iter().map(|letter| email(letter, of(letter).first(), letter.dedupe_key.clone(), now)).collect();
    let mut queued = store::queue_emails(tx, &first).await?;
    let is_new: HashSet<&str> = queued.iter().map(|email| email.id.as_str()).collect();
    let (mut new, mut told_anew) = (Vec::new(), Vec::new());
    for (letter, first) in letters.iter().zip(&first) {
        let emails = of(letter).iter().skip(1).map(|recipient| {
            let key = format!("{}:{}", letter.dedupe_key, recipient.address.to_lowercase());
            email(letter, Some(recipient), key, now)
        });
        if is_new.contains(first.id.as_str()) { new.extend(emails) } else { told_anew.extend(emails) }
    }
    store::retell_emails(tx, &told_anew).await?;
    queued.extend(store::queue_emails(tx, &new).await?);
    Ok(queued)
}

fn email(letter: &Letter, recipient: Option<&Recipient>, dedupe_key: String, now: DateTime<Utc>) -> NewEmail {
    NewEmail {
        id: crate::clock::new_id(),
        job_id: crate::clock::new_id(),
        workspace_id: letter.workspace_id.clone(),
        template: letter.template.as_str(),
        // Without an address the mail is kept and ends dead, where the operator sees it.
        recipient: recipient.map(|recipient| recipient.address.clone()).unwrap_or_default(),
        locale: recipient.and_then(|recipient| recipient.locale.clone()).unwrap_or_default(),
        dedupe_key,
        data: letter.data.clone(),
        created_at: now,
    }
}
