//! What a mail speaks of when it is only to be looked at.

use serde_json::{Value, json};

use super::RenderContext;
use crate::rules::Mail;

/// 2 November 2026.
const DAY: i64 = 1_793_577_600;

/// Data of a made-up cause, with everything that the mail can say.
pub fn sample_data(mail: Mail) -> Value {
    let invoice = "https://invoice.stripe.com/i/acct_1/test_1?s=ap&x=1";
    match mail {
        Mail::PaymentFailed | Mail::PaymentActionRequired => json!({
            "invoice": "in_1", "number": "ACME-0001", "attempt": 1, "amount_due": 4900, "currency": "brl",
            "next_payment_attempt": DAY, "hosted_invoice_url": invoice,
        }),
        Mail::PaymentSucceeded => json!({
            "invoice": "in_1", "number": "ACME-0001", "amount": 4900, "currency": "brl", "paid_at": DAY,
            "hosted_invoice_url": invoice,
        }),
        Mail::CreditsGranted => json!({"credits": 10, "plan": "credits10", "session": "cs_1"}),
        Mail::SubscriptionCancelled => json!({"subscription": "sub_1", "plan": "pro", "ends_at": DAY}),
        Mail::SubscriptionEnded => json!({"subscription": "sub_1", "plan": "pro"}),
        Mail::TrialEnding => json!({"trial_ends_at": DAY, "days": 3, "plan": "pro"}),
        Mail::TrialExpired => json!({"trial_ends_at": DAY, "plan": "pro"}),
    }
}

/// A made-up workspace and its owner.
pub fn sample_context(locale: &str) -> RenderContext {
    RenderContext {
        workspace_name: "Acme".to_owned(),
        recipient_name: Some("Zoë".to_owned()),
        is_owner: true,
        locale: locale.to_owned(),
        plan_name: None,
        app_url: Some("https://app.example.com/billing".to_owned()),
        portal_url: Some("https://billing.stripe.com/p/login/test_1".to_owned()),
        now: chrono::DateTime::UNIX_EPOCH,
    }
}
