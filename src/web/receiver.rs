//! `POST /webhooks/stripe`: bounded body, verify, read the envelope, commit, 200. No rule and no call to Stripe is made
//! here, so that an answer is a matter of one commit.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use billing::stripe::{Envelope, NotAnEvent, Refusal, signature};
use jobs::receive::{Incoming, other_mode};
use tokio::time::{Instant, sleep, timeout_at};

use super::WebState;
use super::answer::refuse;
use super::body::Unread;
use super::committer::NotCommitted;

#[cfg(test)]
mod tests;

/// What a sender that honours it waits before it tries again. Stripe keeps to a schedule of its own.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// What a refusal waits where there are more than are told of: who sends nothing that is good, as fast as it is answered,
/// would have both cores to himself. With its body gone it costs a place to speak, of which there are many.
const MANY_REFUSED: Duration = Duration::from_millis(10);

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the body is larger than {max_body_bytes} bytes")]
    TooLarge { max_body_bytes: usize },
    #[error("the body ended before it was complete")]
    Broken,
    #[error("the body did not come in time")]
    SlowBody,
    #[error(transparent)]
    Signature(#[from] Refusal),
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error(transparent)]
    NotAnEvent(#[from] NotAnEvent),
    #[error("the bodies of other requests take all the memory there is for them")]
    NoRoom,
    #[error(transparent)]
    NotCommitted(#[from] NotCommitted),
    #[error("the database did not take the event in time")]
    SlowStore,
}

/// What became of a request, for log and metric.
#[derive(Default)]
struct Named {
    id: Option<String>,
    kind: Option<String>,
}

pub(super) async fn receive(State(state): State<WebState>, request: Request) -> Response {
    let mut named = Named::default();
    match take(&state, request, &mut named).await {
        Ok((outcome, duplicate)) => {
            count(outcome);
            tracing::debug!(event.id = named.id, event.kind = named.kind, outcome, "event stored");
            let body = if duplicate {
                r#"{"received":true,"duplicate":true}"#
            } else {
                r#"{"received":true,"duplicate":false}"#
            };
            ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
        }
        Err(refused) => {
            let (status, outcome, code) = refused.sorted();
            count(outcome);
            let told = state.refusals_told.check().is_ok();
            if told {
                tracing::warn!(
                    event.id = named.id,
                    event.kind = named.kind,
                    outcome,
                    code,
                    "webhook refused: {refused}"
                );
            } else {
                tracing::debug!(
                    event.id = named.id,
                    event.kind = named.kind,
                    outcome,
                    code,
                    "webhook refused: {refused}"
                );
            }
            if !told && status.is_client_error() {
                sleep(MANY_REFUSED).await;
            }
            refused.answer(status, code)
        }
    }
}

/// The four steps. Gives the outcome's name and whether the event was there already.
async fn take(state: &WebState, request: Request, named: &mut Named) -> Result<(&'static str, bool), Refused> {
    if !state.queue.has_room() {
        // Before any work: what it costs to refuse must not add to what there is too much of.
        return Err(NotCommitted::Overloaded.into());
    }
    let settings = &*state.settings;
    let deadline = Instant::now() + settings.answer_within;
    let (parts, body) = request.into_parts();
    let held = timeout_at(deadline, state.bodies.read(body)).await.map_err(|_elapsed| Refused::SlowBody)?;
    let held = held.map_err(|unread| match unread {
        Unread::TooLarge => Refused::TooLarge { max_body_bytes: settings.max_body_bytes },
        Unread::NoRoom => Refused::NoRoom,
        Unread::Broken => Refused::Broken,
    })?;

    let header = signature_header(&parts.headers)?;
    signature::verify(&settings.secrets, header, &held.bytes, state.clock.now().timestamp())?;

    billing::chaos::point("received.verified");

    let body = String::from_utf8(held.bytes).map_err(|_| Refused::NotUtf8)?;
    let envelope = Envelope::parse(body.as_bytes())?;
    named.id = Some(envelope.id.clone());
    named.kind = Some(envelope.kind.clone());
    let ignored = other_mode(settings.livemode, envelope.livemode);
    let outcome = if ignored.is_some() { "ignored" } else { "accepted" };

    let commit = state.queue.commit(Incoming { envelope, body, ignored }, held.place);
    let duplicate = timeout_at(deadline, commit).await.map_err(|_elapsed| Refused::SlowStore)??;
    Ok((if duplicate { "duplicate" } else { outcome }, duplicate))
}

/// The one `Stripe-Signature`. Two of them are nobody's honest request: which one counts would be a guess.
fn signature_header(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all("stripe-signature").iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(Refusal::Malformed),
        (first, _) => Ok(first.map(HeaderValue::as_bytes)),
    }
}

impl Refused {
    /// Status, the metric's outcome, and the stable code in the body.
    fn sorted(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "body_too_large"),
            Self::Broken => (StatusCode::BAD_REQUEST, "bad_body", "body_incomplete"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "timeout", "body_timeout"),
            Self::Signature(refusal) => (StatusCode::BAD_REQUEST, "bad_signature", refusal.code()),
            Self::NotUtf8 => (StatusCode::BAD_REQUEST, "bad_body", "not_json"),
            Self::NotAnEvent(not) => (StatusCode::BAD_REQUEST, "bad_body", not.code()),
            Self::NoRoom | Self::NotCommitted(_) | Self::SlowStore => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "unavailable")
            }
        }
    }

    fn answer(&self, status: StatusCode, code: &str) -> Response {
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // Whatever the cause is, it is ours and not the sender's to read.
            let mut response = refuse(status, code, "the event cannot be stored now; send it again");
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            return response;
        }
        let mut response = refuse(status, code, &self.to_string());
        if matches!(self, Self::SlowBody | Self::Broken | Self::TooLarge { .. }) {
            // The rest of the body, if any, is not read as the next request.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("billingd_webhooks_total", "outcome" => outcome).increment(1);
}

/// Gives the metrics their words. The recorder must be installed by then.
pub(super) fn describe_metrics() {
    metrics::describe_counter!(
        "billingd_webhooks_total",
        "Requests to the receiver by outcome: accepted, duplicate, ignored, bad_signature, bad_body, too_large, unavailable, timeout; unheard: refused before it was read"
    );
    metrics::describe_histogram!("billingd_ingest_batch_events", "Events that shared one commit");
    metrics::describe_histogram!(
        "billingd_ingest_commit_seconds",
        metrics::Unit::Seconds,
        "Time of one commit of events"
    );
}
