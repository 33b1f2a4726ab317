//! The look at the facts before a mail goes: whether it is still true, and what it has to say by now.

use billing::rules::retell::retell;
use billing::rules::truth::{Present, untrue};
use billing::rules::{Kind, Mail};
use billing::store::{self, EmailRow, Tx};
use serde_json::Value;

use crate::{Context, Failure};

/// What came of the look.
pub(super) enum Look {
    /// It must not go any more, for this reason.
    Skip(&'static str),
    /// It goes, and says this.
    Say(Value),
}

/// Looks, in the transaction that claims the mail.
pub(super) async fn look(tx: &mut Tx, email: &EmailRow, mail: Mail, context: &Context) -> Result<Look, Failure> {
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
        now: context.clock.now(),
    };
    Ok(match untrue(mail, data, &present) {
        Some(reason) => Look::Skip(reason),
        None => Look::Say(retell(mail, data, &present)),
    })
}
