//! Events that never came.

use billing::store;
use billing::stripe::{Envelope, has_reader};
use serde_json::{Value, json};

use super::Pass;
use super::pages::Pages;
use super::report::MissingEvent;
use crate::receive::{Inbox, Incoming, other_mode};
use crate::{Failure, LANES};

/// Compares Stripe's list with the inbox, and puts what is missing there. What has come and is dead, or waits, is not
/// missing: that is for the operator, and for the workers.
pub(super) async fn look(pass: &mut Pass<'_>, account: Option<&str>) -> Result<(), Failure> {
    let window = pass.window;
    let mut pages = Pages::new(
        format!(
            "/events?limit=100&created%5Bgte%5D={}&created%5Blte%5D={}",
            window.since.timestamp(),
            window.until.timestamp()
        ),
        account,
    );
    let mut inbox = Inbox::new(pass.context.db.clone(), LANES);
    while let Some(page) = pages.next(pass).await? {
        // The newest come first.
        let oldest = page.items.last().and_then(|event| event["created"].as_i64());
        if oldest.is_some_and(|at| at < window.since.timestamp()) {
            pages.stop();
        }
        let told: Vec<Incoming> = page
            .items
            .into_iter()
            .filter_map(|event| incoming(event, account, pass.context.policy.livemode))
            .filter(|event| event.envelope.created.is_none_or(|at| at >= window.since && at <= window.until))
            .filter(|event| has_reader(&event.envelope.kind))
            .collect();
        let ids: Vec<&str> = told.iter().map(|event| event.envelope.id.as_str()).collect();
        let known = store::known_events(&pass.context.db, &ids).await?;
        pass.report.events_listed += told.len() as u64;
        let missing: Vec<Incoming> = told.into_iter().filter(|event| !known.contains(&event.envelope.id)).collect();
        if pass.repairs && !missing.is_empty() {
            inbox.commit(&missing, pass.context.clock.now()).await?;
            tracing::info!(events = missing.len(), "events that never came went into the inbox");
        }
        for Incoming { envelope, .. } in missing {
            pass.report.missing(MissingEvent {
                id: envelope.id,
                kind: envelope.kind,
                created: envelope.created,
                account: envelope.account,
                object_id: envelope.object_id,
            });
        }
        (pass.progress)(&pass.report);
    }
    Ok(())
}

/// A listed event as it would have come. Asked on behalf of an account, Stripe leaves out whose events these are.
fn incoming(mut event: Value, account: Option<&str>, livemode: Option<bool>) -> Option<Incoming> {
    if let (Some(account), Some(members)) = (account, event.as_object_mut()) {
        members.entry("account").or_insert_with(|| json!(account));
    }
    let body = event.to_string();
    match Envelope::parse(body.as_bytes()) {
        Ok(envelope) => Some(Incoming { ignored: other_mode(livemode, envelope.livemode), envelope, body }),
        Err(error) => {
            tracing::warn!(%error, "Stripe lists an event that is none");
            None
        }
    }
}
