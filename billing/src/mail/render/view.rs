//! What the sentences of a mail may speak of, made from its data: days and amounts in the locale's manner, links checked.

use chrono::DateTime;
use fluent_bundle::{FluentArgs, FluentValue};
use serde_json::Value;

use super::RenderContext;
use crate::mail::locale::Locale;
use crate::mail::one_line;
use crate::rules::Mail;

/// Values that a mail may lack and that a detail may show. Sentences ask for each with `$has_…`.
pub(in crate::mail) const DETAILS: [&str; 9] =
    ["plan", "number", "amount", "attempt", "credits", "paid_on", "ends_on", "trial_ends_on", "next_attempt_on"];

/// All that sentences may speak of, beside the `$has_…` of [`DETAILS`] and of `recipient`.
pub(in crate::mail) const VALUES: [&str; 19] = [
    "workspace",
    "recipient",
    "stage",
    "way",
    "is_owner",
    "is_later",
    "goes_on",
    "has_invoice",
    "has_portal",
    "has_app",
    "plan",
    "number",
    "amount",
    "attempt",
    "credits",
    "paid_on",
    "ends_on",
    "trial_ends_on",
    "next_attempt_on",
];

/// What a mail knows.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a condition that sentences name")]
pub(super) struct View {
    pub(super) workspace_name: String,
    recipient_name: Option<String>,
    is_owner: bool,
    plan: Option<String>,
    /// The invoice's number, for people.
    number: Option<String>,
    amount: Option<String>,
    attempt: Option<i64>,
    credits: Option<i64>,
    paid_on: Option<String>,
    ends_on: Option<String>,
    trial_ends_on: Option<String>,
    /// The subscription goes on after its trial, and is paid for from then on.
    goes_on: bool,
    /// `None`: there is none, or its day is not known or over; see `last_attempt`.
    next_attempt_on: Option<String>,
    /// Stripe says that no further attempt is planned.
    last_attempt: bool,
    has_invoice: bool,
    has_portal: bool,
    has_app: bool,
    /// The ways out, the best first: kind (`invoice`, `portal`, `app`) and address.
    pub(super) links: Vec<(&'static str, String)>,
}

impl View {
    pub(super) fn new(template: Mail, data: &Value, context: &RenderContext, locale: &Locale) -> Self {
        let text = |field: &str| data[field].as_str().map(one_line).filter(|text| !text.is_empty());
        let day = |field: &str| {
            let at = DateTime::from_timestamp(data[field].as_i64()?, 0)?;
            Some(locale.day(at))
        };
        let amount = data["amount_due"].as_i64().or_else(|| data["amount"].as_i64());
        let invoice_url = data["hosted_invoice_url"].as_str().and_then(web_address);
        let portal_url = context.portal_url.as_deref().and_then(web_address);
        let app_url = context.app_url.as_deref().and_then(web_address);
        let ahead = |field: &str| data[field].as_i64().is_some_and(|at| at > context.now.timestamp());
        let attempt = data["attempt"].as_i64();
        let mut view = Self {
            workspace_name: one_line(&context.workspace_name),
            is_owner: context.is_owner,
            recipient_name: context.recipient_name.as_deref().map(one_line).filter(|name| !name.is_empty()),
            plan: context.plan_name.as_deref().map(one_line).or_else(|| text("plan")),
            number: text("number"),
            amount: amount.zip(text("currency")).map(|(amount, currency)| locale.amount(amount, &currency)),
            attempt,
            credits: data["credits"].as_i64(),
            paid_on: day("paid_at"),
            ends_on: day("ends_at"),
            trial_ends_on: day("trial_ends_at").or_else(|| day("trial_end")),
            goes_on: data["goes_on"] == true,
            last_attempt: data.get("next_payment_attempt").is_some_and(Value::is_null),
            next_attempt_on: day("next_payment_attempt").filter(|_| ahead("next_payment_attempt")),
            has_invoice: invoice_url.is_some(),
            has_portal: portal_url.is_some(),
            has_app: app_url.is_some(),
            links: Vec::new(),
        };
        let invoice = invoice_url.map(|url| ("invoice", url));
        let portal = portal_url.map(|url| ("portal", url));
        let app = app_url.map(|url| ("app", url));
        // The portal shows and changes a subscription that exists; a new one is bought in the product.
        view.links = match template {
            Mail::PaymentFailed
            | Mail::PaymentActionRequired
            | Mail::PaymentSucceeded
            | Mail::SubscriptionCancelled => [invoice, portal, app],
            Mail::TrialEnding if data["subscription"].is_string() => [invoice, portal, app],
            Mail::CreditsGranted | Mail::SubscriptionEnded | Mail::TrialEnding | Mail::TrialExpired => {
                [invoice, app, portal]
            }
        }
        .into_iter()
        .flatten()
        .take(2)
        .collect();
        view
    }

    /// By the names that catalogues use. All are always there; what is absent is empty, and its `has_…` says `no`.
    pub(super) fn values(&self) -> FluentArgs<'_> {
        let later = self.attempt.is_some_and(|attempt| attempt > 1);
        let mut values = FluentArgs::new();
        values.set("workspace", self.workspace_name.as_str());
        values.set("recipient", self.recipient_name.as_deref().unwrap_or_default());
        values.set("has_recipient", yes(self.recipient_name.is_some()));
        values.set(
            "stage",
            match (self.last_attempt, later) {
                (true, _) => "last",
                (false, true) => "later",
                (false, false) => "first",
            },
        );
        values.set(
            "way",
            match (self.has_invoice, self.has_portal, self.has_app) {
                (true, ..) => "invoice",
                (false, true, _) => "portal",
                (false, false, true) => "app",
                (false, false, false) => "none",
            },
        );
        for (name, holds) in [
            ("is_owner", self.is_owner),
            ("is_later", later),
            ("goes_on", self.goes_on),
            ("has_invoice", self.has_invoice),
            ("has_portal", self.has_portal),
            ("has_app", self.has_app),
        ] {
            values.set(name, yes(holds));
        }
        for name in DETAILS {
            let value = self.detail(name);
            values.set(format!("has_{name}"), yes(value.is_some()));
            values.set(name, value.unwrap_or_else(|| FluentValue::from("")));
        }
        values
    }

    /// The value of a detail as a reader sees it. `None`: the mail has none.
    pub(super) fn shown(&self, name: &str) -> Option<String> {
        match self.detail(name)? {
            FluentValue::String(text) => Some(text.into_owned()),
            FluentValue::Number(number) => Some(number.as_string().into_owned()),
            FluentValue::Custom(_) | FluentValue::None | FluentValue::Error => None,
        }
    }

    fn detail(&self, name: &str) -> Option<FluentValue<'_>> {
        let text = |text: &'_ Option<String>| text.clone().map(FluentValue::from);
        match name {
            "plan" => text(&self.plan),
            "number" => text(&self.number),
            "amount" => text(&self.amount),
            "attempt" => self.attempt.map(FluentValue::from),
            // A number, so that its plural can be chosen.
            "credits" => self.credits.map(FluentValue::from),
            "paid_on" => text(&self.paid_on),
            "ends_on" => text(&self.ends_on),
            "trial_ends_on" => text(&self.trial_ends_on),
            "next_attempt_on" => text(&self.next_attempt_on),
            _ => None,
        }
    }
}

fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

/// The address, if a person may follow it: `http` or `https`, in one piece. Anything else (`javascript:`, `data:`, a
/// relative path) is no link of ours.
fn web_address(text: &str) -> Option<String> {
    let url = text.trim();
    let (scheme, rest) = url.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let whole = !rest.is_empty() && !rest.starts_with('/') && one_line(rest) == rest && !rest.contains(' ');
    (known && whole && !rest.contains(['<', '>', '"', '\\'])).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_become_links() {
        let cases = [
            ("https://invoice.stripe.com/i/acct_1/test_1?s=ap", true),
            (" HTTPS://example.com ", true),
            ("http://localhost:3000/billing", true),
            ("javascript:alert(1)", false),
            ("javascript://example.com/%0aalert(1)", false),
            ("data:text/html,hello", false),
            ("//example.com", false),
            ("/billing", false),
            ("https://", false),
            ("https:///etc", false),
            ("https://example.com/a b", false),
            ("https://example.com/\r\nBcc: x", false),
            ("https://example.com/\"><script>", false),
            ("", false),
        ];
        for (text, is_link) in cases {
            assert_eq!(web_address(text).is_some(), is_link, "{text}");
        }
    }
}
