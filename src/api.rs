//! The billing API under `/v1`: what a product's own backend or front end asks. Every route checks who asks, and for
//! which workspace.

mod auth;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use billing::apply::Policy;
use billing::{Clock, Db};

pub(crate) use auth::TokenKey;

/// An answer that takes longer is not waited for: the database is gone, and would keep the request's place.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// What the API's handlers share; cloning is cheap.
#[derive(Clone)]
pub(crate) struct ApiState {
    db: Db,
    clock: Clock,
    policy: Arc<Policy>,
    key: Arc<TokenKey>,
}

impl ApiState {
    pub(crate) fn new(db: Db, clock: Clock, policy: Policy, key: TokenKey) -> Self {
        Self { db, clock, policy: Arc::new(policy), key: Arc::new(key) }
    }
}

/// The routes under `/v1`, to be merged with others.
pub(crate) fn api_routes(state: ApiState) -> Router {
    Router::new()
        .route("/v1/plans", get(routes::plans))
        .route("/v1/workspaces/{id}/billing", get(routes::billing))
        .layer(from_fn(in_time))
        .with_state(state)
}

async fn in_time(request: Request, next: Next) -> Response {
    let late = |_| {
        tracing::warn!("the API did not answer within {} s", ANSWER_WITHIN.as_secs());
        routes::unavailable()
    };
    tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await.unwrap_or_else(late)
}
