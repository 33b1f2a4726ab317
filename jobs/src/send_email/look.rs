//! The look at the facts before a mail goes: whether it is still true, and what it has to say by now.

use billing::rules::retell::retell;
use billing::rules::truth::{Present, untrue};
use billing::rules::{Kind, Mail};
use billing::store::{self, Addressee, EmailRow, Tx};
use chrono::TimeDelta;
use serde_json::Value;

use crate::{Context, Failure};

/// A mail waits this long at most for an event that is in the inbox and may take its place.
const HOLD_MOST: TimeDelta = TimeDelta::minutes(10);
/// Such an event was received this long before the mail's cause was processed, or later.
const INBOX_BEHIND: TimeDelta = TimeDelta::hours(1);

/// What came of the look.
pub(super) enum Look {
    /// It must not go any more, for this reason.
    Skip(&'static str),
    /// It may become untrue in a moment, for this reason.
    Wait(&'static str),
    /// It cannot be delivered, for this reason.
    Bury(&'static str),
    /// It goes, and says this to them.
    Say { data: Value, address: String, to: Addressee },
}

/// Looks, in the transaction that claims the mail.
pub(super) async fn look(tx: &mut Tx, email: &EmailRow, mail: Mail, context: &Context) -> Result<Look, Failure> {
    let now = context.clock.now();
    let data = &email.data.0;
    let named = |field: &str| data[field].as_str().unwrap_or_default().to_owned();
    let (invoice, subscription) = (named("invoice"), named("subscription"));
    let known = store::objects_of(tx, &[(Kind::Invoice, &invoice), (Kind::Subscription, &subscription)], &[]).await?;
    let Some(workspace) = store::lock_workspaces(tx, &[&email.workspace_id]).await?.pop() else {
        return Ok(Look::Skip("the workspace is gone"));
    };
    let action_required = match (mail, data["attempt"].as_i64()) {
        (Mail::PaymentFailed, Some(attempt)) => {
            store::has_happened(tx, "payment_action_required", &format!("{invoice}:{attempt}")).await?
        }
        _ => false,
    };
    let find = |kind: Kind, id: &str| {
        known.iter().map(|row| &row.object).find(|object| object.kind == kind && object.id == id)
    };
    let present = Present {
        invoice: find(Kind::Invoice, &invoice),
        subscription: find(Kind::Subscription, &subscription),
        workspace: &workspace.state(),
        action_required,
        trial_ends_at: workspace.trial_ends_at,
        now,
    };
    if let Some(reason) = untrue(mail, data, &present) {
        return Ok(Look::Skip(reason));
    }
    if mail == Mail::PaymentFailed && now - email.created_at < HOLD_MOST {
        let since = email.created_at - INBOX_BEHIND;
        if store::awaits_action(tx, &invoice, since).await? {
            return Ok(Look::Wait("an event about an action that this payment requires is not processed yet"));
        }
    }
    let address = match email.recipient.as_str() {
        // There was nobody to write to when it was queued; perhaps there is by now.
        "" => store::recipients_of(tx, &[&email.workspace_id]).await?.into_iter().next().map(|one| one.address),
        address => Some(address.to_owned()),
    };
    let Some(address) = address else {
        return Ok(Look::Bury("the workspace has no owner with an address"));
    };
    let Some(to) = store::addressee(tx, &email.workspace_id, &address, mail.as_str()).await? else {
        return Ok(Look::Skip("the workspace is gone"));
    };
    if to.opted_out && !mail.is_essential() {
        return Ok(Look::Skip("the workspace does not want these mails; `billingd workspaces mail` shows it"));
    }
    if to.suppressed.is_some() {
        return Ok(Look::Bury(
            "its server has refused the address for good; `billingd emails suppressed` shows and lifts it",
        ));
    }
    Ok(Look::Say { data: retell(mail, data, &present), address, to })
}
