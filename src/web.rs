//! The HTTP side of the program: the receiver of Stripe's events, health, and the server that carries any router.
//!
//! The way of an event: `server` (connections) -> `receiver` (bounded body, verify, envelope) -> `committer` (one
//! transaction for all that wait) -> 200. Every hold on the way is bounded, and what does not fit is refused at once.

mod answer;
mod body;
mod committer;
mod health;
mod lingering;
mod receiver;
mod seats;
mod server;
#[cfg(test)]
pub(crate) mod testing;
mod whole;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use billing::stripe::Secrets;
use billing::{Clock, Db};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::api::{ApiState, api_routes};

pub(crate) use answer::refuse;
use body::Bodies;
pub(crate) use committer::{Queue, start_committers};
use health::Health;
pub(crate) use server::{Limits, serve};

/// What an operator may change about the receiver.
#[derive(Clone, Debug)]
pub(crate) struct WebSettings {
    pub(crate) secrets: Secrets,
    /// The one mode this instance takes; an event of the other is stored as `ignored`. `None`: both are taken.
    pub(crate) livemode: Option<bool>,
    /// The largest body taken; a larger one is answered 413.
    pub(crate) max_body_bytes: usize,
    /// Requests that may wait for a commit at one moment; the next one is answered 503 at once. Fewer than may speak
    /// (`Limits::max_speaking`), by more than are read, committed and answered meanwhile: else those who wait hold every
    /// place, and who comes then is refused only after he has stood in line for one, and not at once.
    pub(crate) queue_requests: usize,
    /// Bodies held in memory at one moment, being read or waiting, all together; what would exceed it is answered 503
    /// at once. Without it, `queue_requests` bodies of `max_body_bytes` would be a gibibyte.
    pub(crate) buffered_bytes: usize,
    /// How many batches of events may be processed at a time, in all workers together; see `jobs::LANES`.
    pub(crate) event_lanes: i16,
    /// From the end of the headers to the answer. Stripe gives up after some 20 s; it is told earlier.
    pub(crate) answer_within: Duration,
}

impl WebSettings {
    /// The defaults: 1 MiB a body, 512 waiting requests, 16 MiB of bodies, 10 s, both modes.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            livemode: None,
            max_body_bytes: 1024 * 1024,
            queue_requests: 512,
            buffered_bytes: 16 * 1024 * 1024,
            event_lanes: jobs::LANES,
            answer_within: Duration::from_secs(10),
        }
    }
}

/// What the receiver's handlers share; cloning is cheap.
#[derive(Clone)]
pub(crate) struct WebState {
    clock: Clock,
    settings: Arc<WebSettings>,
    bodies: Bodies,
    queue: Queue,
    health: Health,
    /// Which refusals are logged: anybody can cause any number of them, and so fill a disk. The metric counts all. The others
    /// are those that wait (see `receiver`).
    refusals_told: Arc<DefaultDirectRateLimiter>,
}

/// Refusals that are logged a second.
const REFUSALS_TOLD: NonZeroU32 = NonZeroU32::new(10).unwrap();

impl WebState {
    /// `queue` is what [`start_committers`] gave for the same database.
    pub(crate) fn new(db: Db, clock: Clock, settings: WebSettings, queue: Queue, metrics: PrometheusHandle) -> Self {
        Self {
            clock,
            bodies: Bodies::new(settings.max_body_bytes, settings.buffered_bytes),
            settings: Arc::new(settings),
            queue,
            health: Health::new(db, metrics),
            refusals_told: Arc::new(RateLimiter::direct(Quota::per_second(REFUSALS_TOLD))),
        }
    }
}

/// All that `billingd web` answers: the receiver, health and metrics; and what is given beside them.
pub(crate) fn receiver_router(state: WebState, beside: impl IntoIterator<Item = Router>) -> Router {
    let health = state.health.clone();
    let routes = receiver_routes(state).merge(health.routes());
    with_fallbacks(beside.into_iter().fold(routes, Router::merge))
}

/// All that `billingd api` answers: the API, health and metrics.
pub(crate) fn api_router(api: ApiState, db: Db, metrics: PrometheusHandle) -> Router {
    with_fallbacks(api_routes(api).merge(Health::new(db, metrics).routes()))
}

/// All that `billingd worker` answers, where it is to: health and metrics.
pub(crate) fn health_router(db: Db, metrics: PrometheusHandle) -> Router {
    with_fallbacks(Health::new(db, metrics).routes())
}

/// `POST /webhooks/stripe` alone, to be merged with other routes; [`with_fallbacks`] comes last.
pub(crate) fn receiver_routes(state: WebState) -> Router {
    receiver::describe_metrics();
    Router::new().route("/webhooks/stripe", post(receiver::receive)).with_state(state)
}

/// Answers in JSON what no route takes. Called once, after every route is in.
pub(crate) fn with_fallbacks(router: Router) -> Router {
    router
        .method_not_allowed_fallback(|| async {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take that method; see the Allow header",
            )
        })
        .fallback(not_found)
}

async fn not_found(uri: Uri) -> Response {
    tracing::debug!(path = uri.path(), "no such path");
    refuse(StatusCode::NOT_FOUND, "not_found", "no such path")
}

impl Health {
    fn routes(self) -> Router {
        Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route("/metrics", get(health::metrics))
            .with_state(self)
    }
}
