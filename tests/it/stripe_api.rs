//! A server that answers as Stripe's API is documented to, for what events do not tell.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use crate::harness::Site;

#[derive(Clone, Default)]
pub(crate) struct StripeApi {
    inner: Arc<Mutex<Inner>>,
    /// Nothing but lists is answered while somebody holds it.
    gate: Arc<RwLock<()>>,
}

#[derive(Default)]
struct Inner {
    answers: HashMap<String, Value>,
    /// What there is of the lists, by account, newest first.
    lists: HashMap<(Option<String>, &'static str), Vec<Value>>,
    /// Lists answer 500 so many times before they answer.
    failing_lists: usize,
    /// Pages of lists, as they were asked for.
    listed: Vec<(String, Option<String>)>,
    /// Paths that the key may not read.
    refused: HashSet<String>,
    /// Answers 429 so many times before it answers.
    limited: usize,
    /// Answers 500 so many times before it answers.
    failing: usize,
    /// The `Date` of every answer, where it is not now.
    date: Option<&'static str>,
    /// Path with query, and the account it was asked for.
    asked: Vec<(String, Option<String>)>,
}

impl StripeApi {
    /// One that the site has a key for.
    pub(crate) async fn of(site: &mut Site) -> Self {
        let api = Self::default();
        site.set("STRIPE_API_BASE", &api.start().await);
        site.set("STRIPE_API_KEY", "sk_test_key");
        api
    }

    /// Starts the server, and gives its base URL.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    /// What there is at a path under `/v1`, without its query.
    pub(crate) fn has(&self, path: &str, answer: Value) {
        self.inner.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// The key may not read it.
    pub(crate) fn refuses(&self, path: &str) {
        self.inner.lock().unwrap().refused.insert(path.to_owned());
    }

    /// Lets everybody wait who asks for anything but a list.
    pub(crate) async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        self.gate.clone().write_owned().await
    }

    pub(crate) fn limit(&self, times: usize) {
        self.inner.lock().unwrap().limited = times;
    }

    pub(crate) fn fail(&self, times: usize) {
        self.inner.lock().unwrap().failing = times;
    }

    pub(crate) fn date(&self, date: &'static str) {
        self.inner.lock().unwrap().date = Some(date);
    }

    /// What one of the lists has for an account, newest first.
    pub(crate) fn lists(&self, account: Option<&str>, path: &'static str, items: Vec<Value>) {
        self.inner.lock().unwrap().lists.insert((account.map(ToOwned::to_owned), path), items);
    }

    pub(crate) fn fail_lists(&self, times: usize) {
        self.inner.lock().unwrap().failing_lists = times;
    }

    pub(crate) fn listed(&self) -> Vec<(String, Option<String>)> {
        self.inner.lock().unwrap().listed.clone()
    }

    /// Without the lists, which workers ask for by schedule.
    pub(crate) fn asked(&self) -> Vec<(String, Option<String>)> {
        self.inner.lock().unwrap().asked.clone()
    }
}

const LISTS: [&str; 3] = ["/events", "/subscriptions", "/accounts"];

/// A page as Stripe gives it: what was made in the time that is asked for, behind `starting_after`; of subscriptions those
/// that have not been cancelled.
fn list(inner: &mut Inner, account: Option<String>, path: &'static str, query: &str) -> Response {
    if inner.refused.contains(path) {
        return (StatusCode::FORBIDDEN, r#"{"error":{"type":"invalid_request_error"}}"#).into_response();
    }
    if inner.failing_lists > 0 {
        inner.failing_lists -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let number = |name: &str, otherwise: i64| query.get(name).map_or(otherwise, |value| value.parse().unwrap());
    let made = number("created[gte]", i64::MIN)..=number("created[lte]", i64::MAX);
    let all = inner.lists.get(&(account, path)).cloned().unwrap_or_default();
    let mut items = all
        .into_iter()
        .filter(|item| made.contains(&item["created"].as_i64().unwrap()) && item["status"] != "canceled")
        .skip_while(|item| query.get("starting_after").is_some_and(|after| item["id"] != *after))
        .skip(usize::from(query.contains_key("starting_after")));
    let data: Vec<Value> = items.by_ref().take(number("limit", 10) as usize).collect();
    let has_more = items.next().is_some();
    json!({"object": "list", "url": format!("/v1{path}"), "has_more": has_more, "data": data})
        .to_string()
        .into_response()
}

async fn answer(State(api): State<StripeApi>, headers: HeaderMap, request: Request) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let path = request.uri().to_string();
    let account = text("stripe-account");
    let listing = LISTS.into_iter().find(|list| request.uri().path().trim_start_matches("/v1") == *list);
    if listing.is_some() {
        api.inner.lock().unwrap().listed.push((path.clone(), account.clone()));
    } else {
        api.inner.lock().unwrap().asked.push((path.clone(), account.clone()));
        drop(api.gate.read().await);
    }
    let mut inner = api.inner.lock().unwrap();
    if text("authorization").as_deref() != Some("Bearer sk_test_key") || text("stripe-version").is_none() {
        return (StatusCode::UNAUTHORIZED, r#"{"error":{"type":"invalid_request_error"}}"#).into_response();
    }
    if let Some(listing) = listing {
        return list(&mut inner, account, listing, request.uri().query().unwrap_or_default());
    }
    if inner.limited > 0 {
        inner.limited -= 1;
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], r#"{"error":{"type":"rate_limit"}}"#)
            .into_response();
    }
    if inner.failing > 0 {
        inner.failing -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let path = path.trim_start_matches("/v1").split('?').next().unwrap();
    if inner.refused.contains(path) {
        return (StatusCode::FORBIDDEN, r#"{"error":{"type":"invalid_request_error"}}"#).into_response();
    }
    match inner.answers.get(path) {
        Some(answer) => {
            let mut response = answer.to_string().into_response();
            if let Some(date) = inner.date {
                response.headers_mut().insert("date", date.parse().unwrap());
            }
            response
        }
        None => {
            (StatusCode::NOT_FOUND, json!({"error": {"type": "invalid_request_error"}}).to_string()).into_response()
        }
    }
}
