//! Asking Stripe. The client is async-stripe's (retries, idempotency keys, versions); answers are kept as plain JSON,
//! because a typed answer is lost whole as soon as one field is missing.

use std::time::Duration;

use serde_json::Value;
use stripe::{Client, ClientBuilder, RequestStrategy};
use stripe_client_core::{RequestBuilder, StripeMethod};

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tries per call before the caller's own durable retry takes over.
const TRIES: u32 = 2;

/// A client with the account's key.
#[derive(Clone)]
pub struct Stripe(Client);

impl std::fmt::Debug for Stripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stripe(***)")
    }
}

/// Why Stripe did not answer the question.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// Asking again later may help: the network, a rate limit, a fault of Stripe's.
    #[error("stripe did not answer: {0}")]
    Transient(String),
    /// Asking again will not help: no such object, no permission, a wrong key.
    #[error("stripe refused: {0}")]
    Refused(String),
    #[error("the Stripe client cannot be made: {0}")]
    Settings(String),
}

impl Stripe {
    /// `base` replaces `https://api.stripe.com/`, for tests and proxies.
    ///
    /// # Errors
    /// The key or the base URL is unusable.
    pub fn new(key: &str, base: Option<&str>) -> Result<Self, StripeError> {
        let mut builder =
            ClientBuilder::new(key).timeout(TIMEOUT).request_strategy(RequestStrategy::ExponentialBackoff(TRIES));
        if let Some(base) = base {
            builder = builder.url(if base.ends_with('/') { base.to_owned() } else { format!("{base}/") });
        }
        builder.build().map(Self).map_err(|error| StripeError::Settings(error.to_string()))
    }

    /// The line items of a checkout session, at most 100 of them (Stripe's own limit for a session).
    pub async fn line_items(&self, session_id: &str) -> Result<Value, StripeError> {
        self.get(&format!("/checkout/sessions/{session_id}/line_items?limit=100")).await
    }

    /// Asks for the account's balance, which every key may read, to see that the key works.
    pub async fn check(&self) -> Result<(), StripeError> {
        self.get("/balance").await.map(drop)
    }

    async fn get(&self, path: &str) -> Result<Value, StripeError> {
        let answer: miniserde::json::Value =
            RequestBuilder::new(StripeMethod::Get, path).customize().send(&self.0).await.map_err(classify)?;
        serde_json::from_str(&miniserde::json::to_string(&answer))
            .map_err(|error| StripeError::Transient(format!("the answer is no JSON: {error}")))
    }
}

fn classify(error: stripe::StripeError) -> StripeError {
    match error {
        stripe::StripeError::Stripe(error, status)
            if (400..500).contains(&status) && !matches!(status, 409 | 424 | 429) =>
        {
            StripeError::Refused(format!("{status} {}", error.message.as_deref().unwrap_or("without a message")))
        }
        stripe::StripeError::Stripe(_, status) => StripeError::Transient(format!("status {status}")),
        stripe::StripeError::ConfigError(error) => StripeError::Settings(error),
        other => StripeError::Transient(other.to_string()),
    }
}
