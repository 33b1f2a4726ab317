//! The part of Stripe's API that is asked for what never came: the events of the accounts whose key the product has, and
//! all subscriptions as they are. By simulated time.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::DATE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use billing::stripe::Stripe;
use serde_json::{Value, json};

use crate::calendar::at;

#[derive(Clone, Default)]
pub(crate) struct Listed(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    now: i64,
    /// Bodies by when they happened and their ids.
    events: BTreeMap<(i64, String), Arc<str>>,
    /// When each happened.
    created: HashMap<String, i64>,
    subscriptions: BTreeMap<String, Value>,
}

impl Listed {
    /// Starts the server, and gives a client that asks it.
    pub(crate) async fn start(&self) -> Stripe {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/v1/events", get(events))
            .route("/v1/subscriptions", get(subscriptions))
            .route("/v1/subscriptions/{id}", get(subscription))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let without_limit = NonZeroU32::new(1_000_000).unwrap();
        Stripe::new("sk_test_year", Some(&base), without_limit).unwrap()
    }

    pub(crate) fn lists_event(&self, created: i64, id: &str, body: &Arc<str>) {
        let mut inner = self.0.lock().unwrap();
        inner.created.insert(id.to_owned(), created);
        inner.events.insert((created, id.to_owned()), body.clone());
    }

    /// What the time is, and how subscriptions are at that time.
    pub(crate) fn is_now(&self, now: i64, subscriptions: impl Iterator<Item = Value>) {
        let mut inner = self.0.lock().unwrap();
        inner.now = now;
        inner.subscriptions = subscriptions.map(|it| (it["id"].as_str().unwrap().to_owned(), it)).collect();
    }
}

type Asked = HashMap<String, String>;

fn read(query: Option<String>) -> Asked {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

fn number(asked: &Asked, name: &str, otherwise: i64) -> i64 {
    asked.get(name).map_or(otherwise, |value| value.parse().unwrap())
}

fn dated(now: i64, answer: impl IntoResponse) -> Response {
    let date = at(now).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    ([(DATE, date)], answer).into_response()
}

/// The newest first.
async fn events(State(listed): State<Listed>, RawQuery(asked): RawQuery) -> Response {
    let asked = read(asked);
    let inner = listed.0.lock().unwrap();
    let from = (number(&asked, "created[gte]", i64::MIN), String::new());
    let to = match asked.get("starting_after") {
        Some(after) => (inner.created[after], after.clone()),
        None => (number(&asked, "created[lte]", i64::MAX - 1).min(inner.now) + 1, String::new()),
    };
    let mut found = inner.events.range(from..to).rev().map(|(_, body)| body);
    let limit = number(&asked, "limit", 10) as usize;
    let data: Vec<Value> = found.by_ref().take(limit).map(|body| serde_json::from_str(body).unwrap()).collect();
    let page = json!({"object": "list", "has_more": found.next().is_some(), "data": data});
    dated(inner.now, page.to_string())
}

async fn subscriptions(State(listed): State<Listed>, RawQuery(asked): RawQuery) -> Response {
    let asked = read(asked);
    let inner = listed.0.lock().unwrap();
    let after = asked.get("starting_after").cloned().unwrap_or_default();
    let mut found =
        inner.subscriptions.range(after.clone()..).filter(|(id, it)| **id != after && it["status"] != "canceled");
    let data: Vec<&Value> = found.by_ref().take(number(&asked, "limit", 10) as usize).map(|(_, it)| it).collect();
    let page = json!({"object": "list", "has_more": found.next().is_some(), "data": data});
    dated(inner.now, page.to_string())
}

async fn subscription(State(listed): State<Listed>, Path(id): Path<String>) -> Response {
    let inner = listed.0.lock().unwrap();
    let found = inner.subscriptions.get(&id);
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let answer = found.cloned().unwrap_or_else(|| json!({"error": {"type": "invalid_request_error"}}));
    (status, dated(inner.now, answer.to_string())).into_response()
}
