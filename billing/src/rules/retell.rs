//! What a mail says, as of the moment of sending: its cause stays, what has been learnt since is said instead.

use serde_json::Value;

use super::Mail;
use super::project::Subscription;
use super::truth::Present;

/// The mail's data with the present facts laid over it.
pub fn retell(mail: Mail, data: &Value, present: &Present<'_>) -> Value {
    let mut data = data.clone();
    if let (Mail::PaymentFailed | Mail::PaymentActionRequired, Some(invoice), Some(said)) =
        (mail, present.invoice, data.as_object_mut())
    {
        for field in ["number", "amount_due", "currency", "hosted_invoice_url"] {
            if let Some(register) = invoice.register(field).filter(|register| !register.value.is_null()) {
                said.insert(field.to_owned(), register.value.clone());
            }
        }
        // Null is "no further attempt"; a member that is missing is "nobody told".
        match invoice.register("next_payment_attempt") {
            Some(register) => said.insert("next_payment_attempt".to_owned(), register.value.clone()),
            None => said.remove("next_payment_attempt"),
        };
    }
    if let (Mail::TrialEnding, Some(subscription), Some(said)) =
        (mail, present.subscription.and_then(Subscription::of), data.as_object_mut())
    {
        said.insert("goes_on".to_owned(), Value::Bool(!subscription.will_end()));
    }
    if let (Mail::TrialEnding | Mail::SubscriptionCancelled, true, Some(plan), Some(said)) =
        (mail, data["plan"].is_null(), &present.workspace.subscription_plan, data.as_object_mut())
    {
        said.insert("plan".to_owned(), Value::String(plan.clone()));
    }
    data
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::rules::fact::{Kind, OWN, WriteKey};
    use crate::rules::{Object, WorkspaceState};

    #[test]
    fn a_next_attempt_that_was_told_later_is_the_one_that_is_said() {
        let workspace = WorkspaceState::default();
        let key = WriteKey { terminal: false, at: 1, rank: OWN, changed: true, event: "evt_1".into() };
        let queued = json!({"invoice": "in_1", "attempt": 1, "next_payment_attempt": 5, "number": "A-1"});
        let cases = [
            (Some(json!(9)), json!({"invoice": "in_1", "attempt": 1, "next_payment_attempt": 9, "number": "A-1"})),
            (
                Some(Value::Null),
                json!({"invoice": "in_1", "attempt": 1, "next_payment_attempt": null, "number": "A-1"}),
            ),
            (None, json!({"invoice": "in_1", "attempt": 1, "number": "A-1"})),
        ];
        for (fact, said) in cases {
            let mut invoice = Object::new(Kind::Invoice, "in_1");
            invoice.write("number", Value::Null, &key);
            if let Some(fact) = fact {
                invoice.write("next_payment_attempt", fact, &key);
            }
            let present = Present {
                invoice: Some(&invoice),
                subscription: None,
                workspace: &workspace,
                action_required: false,
                trial_ends_at: None,
                now: DateTime::UNIX_EPOCH,
            };
            assert_eq!(retell(Mail::PaymentFailed, &queued, &present), said);
            assert_eq!(retell(Mail::CreditsGranted, &queued, &present), queued);
        }
    }
}
