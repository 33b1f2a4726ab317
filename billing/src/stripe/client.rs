//! Asking Stripe. Requests are async-stripe's (paths, queries, versions, connected accounts); they are sent by a client
//! of our own, because the rate limit's `Retry-After` has to be seen, and answers are kept as plain JSON, because a
//! typed answer is lost whole as soon as one field is missing.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};
use stripe_client_core::{CustomizedStripeRequest, RequestBuilder, StripeClient, StripeClientErr, StripeMethod};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Answer;
use crate::rules::Question;

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Reads per second, of the 100 that Stripe allows an account: the product needs the rest.
pub const READS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("it is not zero");
/// The longest answer; Stripe's own are a few kilobytes an object.
const ANSWER_BYTES: usize = 8 << 20;
/// Questions of a process on their way at one moment: a Stripe that is slow to answer holds up so many jobs and no more.
const QUESTIONS: usize = 2;
/// Who finds no turn comes back after this long at the soonest, and at the latest.
const AGAIN_LEAST: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(30);
/// Pages of 100 that one question may take.
const PAGES: usize = 20;
/// After a 429 that does not say when, and the longest that is waited for one that does.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
const RETRY_AFTER_MOST: Duration = Duration::from_secs(600);

/// A client with the account's key. Clones share the rate limit.
#[derive(Clone)]
pub struct Stripe(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    key: String,
    base: String,
    reads: DefaultDirectRateLimiter,
    turns: Semaphore,
    /// When the last of those is to come back who found no turn, and how long after the one before.
    next: Mutex<Instant>,
    pace: Duration,
}

impl std::fmt::Debug for Stripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stripe(***)")
    }
}

/// A page of a list of Stripe's.
#[derive(Clone, Debug)]
pub struct Page {
    pub items: Vec<Value>,
    /// There are more behind it.
    pub more: bool,
    /// When it was asked for, in seconds since the epoch, by Stripe's clock.
    pub asked_at: i64,
}

/// Why Stripe did not answer the question.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// Asking again later may help: the network, a fault of Stripe's.
    #[error("stripe did not answer: {0}")]
    Transient(String),
    /// Too many questions; after this long there may be more.
    #[error("stripe asks for patience: {} s", .0.as_secs())]
    Limited(Duration),
    /// There is no such object.
    #[error("stripe knows nothing of it")]
    NotFound,
    /// Asking again will not help: no permission, a wrong key.
    #[error("stripe refused: {0}")]
    Refused(String),
    #[error("the Stripe client cannot be made: {0}")]
    Settings(String),
}

impl StripeClientErr for StripeError {
    fn deserialize_err(message: impl std::fmt::Display) -> Self {
        Self::Transient(format!("the answer is no JSON: {message}"))
    }
}

impl Stripe {
    /// `base` replaces `https://api.stripe.com/`, for tests and proxies; `reads_per_second` is this process's share.
    ///
    /// # Errors
    /// The key or the base URL is unusable.
    pub fn new(key: &str, base: Option<&str>, reads_per_second: NonZeroU32) -> Result<Self, StripeError> {
        let settings = |problem: String| StripeError::Settings(problem);
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(settings("the key has characters that no key has".to_owned()));
        }
        let base = base.unwrap_or("https://api.stripe.com/").trim_end_matches('/').to_owned();
        reqwest::Url::parse(&base).map_err(|error| settings(error.to_string()))?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("billingd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| settings(error.to_string()))?;
        let reads = RateLimiter::direct(Quota::per_second(reads_per_second));
        let (turns, next) = (Semaphore::new(QUESTIONS), Mutex::new(Instant::now()));
        let pace = Duration::from_secs(1) / reads_per_second.get();
        Ok(Self(Arc::new(Inner { http, key: key.to_owned(), base, reads, turns, next, pace })))
    }

    /// A turn to ask, to be held until there is an answer. While others ask: after how long to try again, for each who
    /// is told so a time of its own, no more a second than may be asked; a thousand that came back every few seconds would
    /// keep the workers from all other work.
    pub fn turn(&self) -> Result<SemaphorePermit<'_>, Duration> {
        self.0.turns.try_acquire().map_err(|_| {
            let now = Instant::now();
            let mut next = self.0.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = (*next + self.0.pace).clamp(now + AGAIN_LEAST, now + AGAIN_MOST);
            *next - now
        })
    }

    /// The answer to a question: an object, a list to its end, or null where there is no such object. `now` is our clock's;
    /// when it was asked is told by Stripe's own clock where the answer has it, for that is what events are dated by.
    pub async fn answer(&self, question: &Question, now: DateTime<Utc>) -> Result<Answer, StripeError> {
        let dated = Dated { client: self, asked_at: OnceLock::new() };
        let value = match dated.whole(question).await {
            Err(StripeError::NotFound) => Value::Null,
            answer => answer?,
        };
        Ok(Answer { value, asked_at: dated.asked_at(now) })
    }

    /// The page of a list behind the item `after`, or its first. `now` is our clock's, for a Stripe that does not tell its own.
    pub async fn page(
        &self,
        path: &str,
        after: Option<&str>,
        account: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Page, StripeError> {
        let dated = Dated { client: self, asked_at: OnceLock::new() };
        let path = after.map_or_else(|| path.to_owned(), |after| behind(path, after));
        let mut list = dated.get(&path, account).await?;
        let more = list["has_more"] == true;
        let Value::Array(items) = list["data"].take() else {
            return Err(StripeError::Transient("the answer is no list".to_owned()));
        };
        Ok(Page { items, more, asked_at: dated.asked_at(now) })
    }

    /// Asks for the account's balance, which every key may read, to see that the key works.
    pub async fn check(&self) -> Result<(), StripeError> {
        Dated { client: self, asked_at: OnceLock::new() }.get("/balance", None).await.map(drop)
    }
}

/// A client that remembers when its first request was sent, by the clock of who answers.
struct Dated<'a> {
    client: &'a Stripe,
    /// Seconds since the epoch.
    asked_at: OnceLock<i64>,
}

impl Dated<'_> {
    /// Seconds since the epoch; by our clock where nobody told.
    fn asked_at(&self, now: DateTime<Utc>) -> i64 {
        self.asked_at.get().copied().unwrap_or(now.timestamp())
    }

    async fn whole(&self, question: &Question) -> Result<Value, StripeError> {
        let account = question.account.as_deref();
        let mut answer = self.get(&question.path, account).await?;
        let mut pages = 1;
        while answer["object"] == "list" && answer["has_more"] == true && pages < PAGES {
            let Some(last) = answer["data"].as_array().and_then(|items| items.last()?["id"].as_str()) else { break };
            let mut next = self.get(&behind(&question.path, last), account).await?;
            let (Some(items), Some(more)) = (answer["data"].as_array_mut(), next["data"].as_array_mut()) else { break };
            items.append(more);
            answer["has_more"] = next["has_more"].take();
            pages += 1;
        }
        if answer["has_more"] == true {
            answer["has_more"] = json!(false);
            tracing::warn!(
                question.path,
                pages,
                "a list of Stripe's is longer than anybody needs; the rest is left out"
            );
        }
        Ok(answer)
    }

    async fn get(&self, path: &str, account: Option<&str>) -> Result<Value, StripeError> {
        self.client.0.reads.until_ready().await;
        let mut request = RequestBuilder::new(StripeMethod::Get, path).customize();
        if let Some(account) = account {
            let account = account.parse().map_err(|_| StripeError::Refused(format!("{account} is no account")))?;
            request = request.account_id(account);
        }
        let answer: miniserde::json::Value = request.send(self).await?;
        serde_json::from_str(&miniserde::json::to_string(&answer)).map_err(StripeError::deserialize_err)
    }
}

impl StripeClient for Dated<'_> {
    type Err = StripeError;

    /// One try: the caller's job is what tries again, durably.
    async fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, StripeError> {
        let (request, config) = request.into_pieces();
        let Inner { http, key, base, .. } = &*self.client.0;
        let mut http = http.get(format!("{base}/v1{}", request.path)).bearer_auth(key);
        http = http.header("Stripe-Version", stripe_client_core::VERSION.as_str());
        if let Some(account) = &config.account_id {
            http = http.header("Stripe-Account", account.as_str());
        }
        let sent = Instant::now();
        let mut answer = http.send().await.map_err(|error| transient(&error))?;
        if let Some(answered_at) = answer.headers().get(DATE).and_then(date) {
            // Whole seconds, rounded down: too early does no harm, too late would hide what happened meanwhile.
            let under_way = sent.elapsed().as_secs_f64().ceil() as i64;
            self.asked_at.get_or_init(|| answered_at - under_way);
        }
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| transient(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(StripeError::Refused(format!("the answer is longer than {ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            status if status.is_success() => Ok(body.freeze()),
            StatusCode::NOT_FOUND => Err(StripeError::NotFound),
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = retry_after.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs);
                Err(StripeError::Limited(wait.clamp(AGAIN_LEAST, RETRY_AFTER_MOST)))
            }
            StatusCode::CONFLICT | StatusCode::FAILED_DEPENDENCY => {
                Err(StripeError::Transient(format!("status {status}")))
            }
            status if status.is_client_error() => Err(StripeError::Refused(format!("{status} {}", told(&body)))),
            status => Err(StripeError::Transient(format!("status {status}"))),
        }
    }
}

/// The path of the page behind an item.
fn behind(path: &str, item: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}starting_after={item}")
}

/// Seconds since the epoch.
fn date(value: &HeaderValue) -> Option<i64> {
    DateTime::parse_from_rfc2822(value.to_str().ok()?).ok().map(|at| at.timestamp())
}

/// The deepest cause: the outer ones repeat the URL.
fn transient(error: &reqwest::Error) -> StripeError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    StripeError::Transient(cause.to_string())
}

/// Stripe's own words, without what they may quote of the key.
fn told(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = body["error"]["type"].as_str().unwrap_or("without a message");
    let message =
        body["error"]["message"].as_str().filter(|message| !message.contains("_test_") && !message.contains("_live_"));
    format!("{kind} {}", message.unwrap_or_default()).trim_end().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_turn_has_a_time_of_its_own_to_come_back() {
        let stripe = Stripe::new("sk_test_x", None, READS_PER_SECOND).unwrap();
        let held = [stripe.turn().unwrap(), stripe.turn().unwrap()];
        let agains: Vec<Duration> = (0..1000).map(|_| stripe.turn().unwrap_err()).collect();
        assert!(agains.iter().all(|again| (AGAIN_LEAST..=AGAIN_MOST).contains(again)));
        let in_a_second = agains.iter().filter(|again| **again < Duration::from_secs(5)).count();
        assert!(in_a_second <= 81, "{in_a_second} within four seconds");
        drop(held);
        assert!(stripe.turn().is_ok());
    }
}
