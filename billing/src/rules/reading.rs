//! What one event says, before anything is known of the rest of the world.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Object;

/// The outcome of reading one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Nothing here is for us, for this reason; kept and counted.
    Ignored(String),
    /// The event needs an answer of Stripe's before it can be read.
    Ask(Question),
    /// What it says: parts of objects, and things that happened.
    Facts { objects: Vec<Object>, notes: Vec<Note> },
}

/// What has to be asked of Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The line items of a checkout session: `GET /v1/checkout/sessions/{id}/line_items`.
    LineItems { session_id: String },
}

/// A thing that happened, told by a single event, once per `(kind, cause)`. It becomes an audit entry, and, once its
/// owner is linked to a workspace, its effects. Being a function of one event alone, the set of notes is the same in any
/// order of arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub kind: String,
    /// What makes it one thing: an invoice and attempt, a session, a subscription ..
    pub cause: String,
    /// Whose it is; see [`super::Owner`].
    pub owner: Option<String>,
    pub data: Value,
}

impl Note {
    pub fn new(kind: &str, cause: impl Into<String>, owner: Option<&str>, data: Value) -> Self {
        Self { kind: kind.to_owned(), cause: cause.into(), owner: owner.map(ToOwned::to_owned), data }
    }
}
