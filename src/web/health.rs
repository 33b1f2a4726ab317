//! What the platform asks: does the process live, can it do its work, and how does it do.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use billing::Db;
use billing::store::{SchemaState, schema_state};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

#[cfg(test)]
mod tests;

/// A database that answers later than this is as good as gone.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// Probes within this time share one look at the database: the port may be public, and a flood of probes must not take
/// the connections that events need. Short enough that nobody is told yesterday's news.
const PROBE_SHARED: Duration = Duration::from_millis(100);

/// What the health handlers share; cloning is cheap.
#[derive(Clone)]
pub(crate) struct Health {
    db: Db,
    metrics: PrometheusHandle,
    /// The last look and when it ended. Held while looking, so that one probe looks and the others wait for it.
    last: Arc<Mutex<Option<(Instant, Readiness)>>>,
    /// The last text of the metrics, shared likewise: to write it takes longer than most requests.
    text: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

/// The body of `/readyz`: each part by itself, so that it says which one fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    ready: bool,
    /// `ok` or `unreachable`.
    database: &'static str,
    /// `current`, what is wrong with it, or `unknown` while the database does not answer.
    schema: String,
}

impl Health {
    pub(crate) fn new(db: Db, metrics: PrometheusHandle) -> Self {
        Self { db, metrics, last: Arc::default(), text: Arc::default() }
    }

    async fn metrics_text(&self) -> Bytes {
        let mut text = self.text.lock().await;
        if let Some((at, text)) = &*text
            && at.elapsed() < PROBE_SHARED
        {
            return text.clone();
        }
        let fresh = Bytes::from(self.metrics.render());
        *text = Some((Instant::now(), fresh.clone()));
        fresh
    }

    async fn readiness(&self) -> Readiness {
        let mut last = self.last.lock().await;
        if let Some((at, readiness)) = &*last
            && at.elapsed() < PROBE_SHARED
        {
            return readiness.clone();
        }
        let readiness = match timeout(PROBE_TIME, look(&self.db)).await {
            Ok(readiness) => readiness,
            Err(_elapsed) => {
                tracing::warn!(probe_seconds = PROBE_TIME.as_secs(), "not ready: the database does not answer in time");
                Readiness::unreachable()
            }
        };
        *last = Some((Instant::now(), readiness.clone()));
        readiness
    }
}

impl Readiness {
    fn unreachable() -> Self {
        Self { ready: false, database: "unreachable", schema: "unknown".to_owned() }
    }
}

async fn look(db: &Db) -> Readiness {
    if let Err(error) = db.ping().await {
        tracing::warn!(%error, "not ready: the database does not answer");
        return Readiness::unreachable();
    }
    match schema_state(db).await {
        Ok(SchemaState::Current) => Readiness { ready: true, database: "ok", schema: "current".to_owned() },
        // During a rollout the newer program has migrated already, and the older ones must go on receiving.
        Ok(state @ SchemaState::Ahead { .. }) => Readiness { ready: true, database: "ok", schema: state.to_string() },
        Ok(state) => Readiness { ready: false, database: "ok", schema: state.to_string() },
        Err(error) => {
            tracing::warn!(%error, "not ready: the schema cannot be read");
            Readiness { ready: false, database: "ok", schema: "unknown".to_owned() }
        }
    }
}

/// `GET /healthz`: 200 while the process lives, whatever else is broken; restarting it would not mend a database.
pub(super) async fn alive() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

/// `GET /readyz`: 200 when the database answers and the schema fits, else 503.
pub(super) async fn ready(State(health): State<Health>) -> Response {
    let readiness = health.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// `GET /metrics`: Prometheus text.
pub(super) async fn metrics(State(health): State<Health>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics_text().await).into_response()
}
