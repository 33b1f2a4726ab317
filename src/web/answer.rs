//! The one form of every error body: `{"error":{"code":"…","message":"…"}}`. The code is for programs and stays; the
//! message is for people and may change.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer. `message` goes to anybody on the internet: no cause of a 5xx, no secret.
pub(crate) fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}
