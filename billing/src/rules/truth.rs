//! Whether a mail that was queued is still true at the moment of sending.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::project::Subscription;
use super::{Mail, Object, WorkspaceState};

const DAY_SECONDS: i64 = 86_400;

/// What is known when a mail is about to go.
#[derive(Debug)]
pub struct Present<'a> {
    pub invoice: Option<&'a Object>,
    pub subscription: Option<&'a Object>,
    pub workspace: &'a WorkspaceState,
    /// Stripe told of the same attempt of the same invoice that the bank wants it confirmed.
    pub action_required: bool,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

/// Why the mail must not be sent any more; `None` while it is true.
pub fn untrue(mail: Mail, data: &Value, present: &Present<'_>) -> Option<&'static str> {
    let runs = matches!(
        present.workspace.subscription_status.as_str(),
        "active" | "trialing" | "past_due" | "cancel_at_period_end"
    );
    match mail {
        Mail::PaymentFailed | Mail::PaymentActionRequired => {
            let answered = match present.invoice.and_then(|invoice| invoice.text("status")) {
                Some("paid") => Some("the invoice has been paid"),
                Some("void") => Some("the invoice has been voided"),
                _ => None,
            };
            // One attempt, one mail: the one that says what to do.
            let doubled = mail == Mail::PaymentFailed && present.action_required;
            answered.or(doubled.then_some("the mail about the action this attempt requires says it"))
        }
        Mail::SubscriptionCancelled => {
            let subscription = present.subscription.and_then(Subscription::of)?;
            if subscription.will_end() || subscription.shown_status() == "deleted" {
                let request = subscription.object.int("canceled_at");
                let same = request.is_none() || data["canceled_at"].as_i64() == request;
                (!same && subscription.will_end()).then_some("the cancellation was undone and made anew")
            } else {
                Some("the cancellation was undone")
            }
        }
        Mail::SubscriptionEnded => {
            let other =
                present.workspace.subscription_id.as_deref() != data["subscription"].as_str().map(super::link::bare);
            (runs && other).then_some("another subscription has taken its place")
        }
        Mail::TrialEnding if data["subscription"].is_string() => {
            let other =
                present.workspace.subscription_id.as_deref() != data["subscription"].as_str().map(super::link::bare);
            let subscription = present.subscription.and_then(Subscription::of)?;
            if runs && other {
                Some("another subscription has taken its place")
            } else if subscription.status != "trialing" {
                Some("the subscription is not on trial any more")
            } else if subscription.object.int("trial_end") != data["trial_end"].as_i64() {
                Some("the trial's end has moved")
            } else {
                is_over(data["trial_end"].as_i64(), present.now)
            }
        }
        Mail::TrialEnding => {
            let ends_at = data["trial_ends_at"].as_i64();
            let last_day = ends_at.is_some_and(|ends_at| present.now.timestamp() >= ends_at - DAY_SECONDS);
            if runs && present.workspace.subscription_id.is_some() {
                Some("the workspace has subscribed")
            } else if present.trial_ends_at.map(|ends_at| ends_at.timestamp()) != ends_at {
                Some("the trial's end has moved")
            } else if last_day && data["days"] != 1 {
                Some("the reminder of the last day takes its place")
            } else {
                is_over(ends_at, present.now)
            }
        }
        Mail::TrialExpired => {
            if runs && present.workspace.subscription_id.is_some() {
                Some("the workspace has subscribed")
            } else if present.trial_ends_at.is_some_and(|ends_at| present.now < ends_at) {
                Some("the trial has been extended")
            } else {
                None
            }
        }
        Mail::PaymentSucceeded | Mail::CreditsGranted => None,
    }
}

fn is_over(ends_at: Option<i64>, now: DateTime<Utc>) -> Option<&'static str> {
    ends_at.is_some_and(|ends_at| now.timestamp() >= ends_at).then_some("the trial has ended")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::fact::{Kind, OWN, WriteKey};

    fn object(kind: Kind, fields: &[(&str, Value)]) -> Object {
        let mut object = Object::new(kind, "x");
        let key = WriteKey { terminal: false, at: 1, rank: OWN, changed: true, event: "evt_1".into() };
        for (field, value) in fields {
            object.write(*field, value.clone(), &key);
        }
        object
    }

    fn present(workspace: &WorkspaceState) -> Present<'_> {
        Present {
            invoice: None,
            subscription: None,
            workspace,
            action_required: false,
            trial_ends_at: None,
            now: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_attempt_that_requires_an_action_is_told_by_that_mail_alone() {
        let workspace = WorkspaceState::default();
        let present = Present { action_required: true, ..present(&workspace) };
        assert!(untrue(Mail::PaymentFailed, &json!({}), &present).is_some());
        assert!(untrue(Mail::PaymentActionRequired, &json!({}), &present).is_none());
    }

    #[test]
    fn a_failure_that_was_paid_meanwhile_is_not_mailed() {
        let workspace = WorkspaceState { subscription_status: "active".to_owned(), ..WorkspaceState::default() };
        for (status, sent) in [("open", true), ("uncollectible", true), ("paid", false), ("void", false)] {
            let invoice = object(Kind::Invoice, &[("status", json!(status))]);
            let present = Present { invoice: Some(&invoice), ..present(&workspace) };
            assert_eq!(untrue(Mail::PaymentFailed, &json!({}), &present).is_none(), sent, "{status}");
        }
    }

    #[test]
    fn a_trial_that_is_over_moved_or_bought_is_not_reminded_of() {
        let at = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap();
        let subscribed = |status: &str| WorkspaceState {
            subscription_id: Some("sub_1".to_owned()),
            subscription_status: status.to_owned(),
            ..WorkspaceState::default()
        };
        let (ends, day) = (1_000_000, DAY_SECONDS);
        let alone = WorkspaceState { subscription_status: "trialing".to_owned(), ..WorkspaceState::default() };
        let cases = [
            (3, ends, ends - 3 * day, alone.clone(), true),
            (3, ends, ends - day, alone.clone(), false),
            (1, ends, ends - day, alone.clone(), true),
            (1, ends, ends, alone.clone(), false),
            (3, ends + day, ends - 3 * day, alone, false),
            (3, ends, ends - 3 * day, subscribed("active"), false),
            (3, ends, ends - 3 * day, subscribed("incomplete"), true),
        ];
        for (days, trial_ends, now, workspace, sent) in cases {
            let data = json!({"trial_ends_at": ends, "days": days});
            let present = Present { trial_ends_at: Some(at(trial_ends)), now: at(now), ..present(&workspace) };
            assert_eq!(untrue(Mail::TrialEnding, &data, &present).is_none(), sent, "{days} {trial_ends} {now}");
        }
        // Stripe's own trial; Stripe also tells at once of one that is cut short.
        let data = json!({"subscription": "x", "trial_end": ends});
        let cases = [
            ("trialing", ends, 1, true),
            ("active", ends, 1, false),
            ("trialing", ends + 1, 1, false),
            ("trialing", ends, ends, false),
        ];
        for (status, trial_end, now, sent) in cases {
            let fields = [("status", json!(status)), ("trial_end", json!(trial_end))];
            let subscription = object(Kind::Subscription, &fields);
            let workspace = WorkspaceState { subscription_id: Some("x".to_owned()), ..subscribed(status) };
            let present = Present { subscription: Some(&subscription), now: at(now), ..present(&workspace) };
            assert_eq!(untrue(Mail::TrialEnding, &data, &present).is_none(), sent, "{status} {trial_end} {now}");
        }
    }

    #[test]
    fn a_cancellation_that_was_undone_is_not_mailed() {
        let workspace = WorkspaceState::default();
        let cases = [
            (json!(true), json!(5), true),
            (json!(false), Value::Null, false),
            // Undone and cancelled anew: the later request has a mail of its own.
            (json!(true), json!(9), false),
        ];
        for (flag, canceled_at, sent) in cases {
            let fields = [
                ("status", json!("active")),
                ("cancel_at_period_end", flag),
                ("canceled_at", canceled_at),
                ("cancel_at", Value::Null),
            ];
            let subscription = object(Kind::Subscription, &fields);
            let present = Present { subscription: Some(&subscription), ..present(&workspace) };
            assert_eq!(untrue(Mail::SubscriptionCancelled, &json!({"canceled_at": 5}), &present).is_none(), sent);
        }
    }
}
