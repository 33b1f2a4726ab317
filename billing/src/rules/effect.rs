//! What a note makes happen in its workspace: credits and mail, each keyed by the note's cause.

use serde_json::Value;

use super::Note;

/// Something a workspace gets because of a note.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Credits, once per `(reason, source_id)`.
    Credits { delta: i64, reason: &'static str, source_id: String },
    /// A mail to the workspace's people, once per `dedupe_key` and address.
    Mail { template: Mail, dedupe_key: String, data: Value },
}

/// The mails there are; the text is the template's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mail {
    PaymentFailed,
    PaymentActionRequired,
    PaymentSucceeded,
    CreditsGranted,
    SubscriptionCancelled,
    SubscriptionEnded,
    TrialEnding,
    TrialExpired,
}

impl Mail {
    pub const ALL: [Self; 8] = [
        Self::PaymentFailed,
        Self::PaymentActionRequired,
        Self::PaymentSucceeded,
        Self::CreditsGranted,
        Self::SubscriptionCancelled,
        Self::SubscriptionEnded,
        Self::TrialEnding,
        Self::TrialExpired,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::PaymentFailed => "payment_failed",
            Self::PaymentActionRequired => "payment_action_required",
            Self::PaymentSucceeded => "payment_succeeded",
            Self::CreditsGranted => "credits_granted",
            Self::SubscriptionCancelled => "subscription_cancelled",
            Self::SubscriptionEnded => "subscription_ended",
            Self::TrialEnding => "trial_ending",
            Self::TrialExpired => "trial_expired",
        }
    }

    /// Whether it has to go even to who would rather not have it: what they owe, and what they lose.
    pub fn is_essential(self) -> bool {
        !matches!(self, Self::PaymentSucceeded | Self::CreditsGranted | Self::TrialEnding)
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mail| mail.as_str() == text)
    }
}

/// Ledger reason of credits bought in a checkout session.
pub const PURCHASE: &str = "purchase";
/// Ledger reason of credits that come with a paid period.
pub const PERIOD: &str = "period";

/// The effects of one note.
pub fn effects_of(note: &Note) -> Vec<Effect> {
    let mail = |template: Mail| Effect::Mail {
        template,
        dedupe_key: format!("{}:{}", template.as_str(), note.cause),
        data: note.data.clone(),
    };
    match note.kind.as_str() {
        "payment_failed" => vec![mail(Mail::PaymentFailed)],
        "payment_action_required" => vec![mail(Mail::PaymentActionRequired)],
        "payment_succeeded" => vec![mail(Mail::PaymentSucceeded)],
        "subscription_cancelled" => vec![mail(Mail::SubscriptionCancelled)],
        "subscription_deleted" => vec![mail(Mail::SubscriptionEnded)],
        "trial_will_end" => vec![mail(Mail::TrialEnding)],
        "credits_granted" => {
            let delta = note.data["credits"].as_i64().unwrap_or(0);
            let purchase = note.data["reason"] == PURCHASE;
            let reason = if purchase { PURCHASE } else { PERIOD };
            let mut effects = vec![Effect::Credits { delta, reason, source_id: note.cause.clone() }];
            if purchase {
                effects.push(mail(Mail::CreditsGranted));
            }
            effects
        }
        _ => Vec::new(),
    }
}
