//! Posting events the way Stripe does: signed, over HTTP.

use std::time::Duration;

use billing::stripe::Secrets;
use serde::Serialize;
use serde_json::Value;

/// Stripe itself gives up after some 20 s.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends to one endpoint.
pub(crate) struct Sender {
    client: reqwest::Client,
    url: String,
    secrets: Secrets,
}

/// What the endpoint answered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `null` where the answer was no JSON.
    pub(crate) body: Value,
}

impl Sender {
    pub(crate) fn new(url: &str, secrets: Secrets) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // Stripe follows no redirect: it counts as a failure. And what is signed goes to the endpoint alone.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .build()?;
        Ok(Self { client, url: url.to_owned(), secrets })
    }

    /// Posts `body` with a signature of `at` (unix seconds).
    pub(crate) async fn post(&self, body: &str, at: i64) -> anyhow::Result<Answer> {
        let answer = self
            .client
            .post(&self.url)
            .header("Stripe-Signature", self.secrets.sign(body.as_bytes(), at))
            .header("Content-Type", "application/json; charset=utf-8")
            .body(body.to_owned())
            .send()
            .await
            .map_err(|error| {
                let hint = if error.is_connect() { "; is billingd running there?" } else { "" };
                anyhow::anyhow!("{} does not answer: {}{hint}", self.url, root_cause(&error))
            })?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or_default() })
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
