//! What one event says, before anything is known of the rest of the world.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

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

/// What has to be asked of Stripe: `GET /v1{path}`, of a connected account where one is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub path: String,
    pub account: Option<String>,
    /// Without an answer the event says enough to go by: where Stripe refuses it, that counts.
    pub can_do_without: bool,
}

impl Question {
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), account: None, can_do_without: false }
    }
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
    /// A short word for what the data say, to be a part of a cause: the same wherever and whenever it is made.
    pub fn word_for(data: &Value) -> String {
        hex::encode(&Sha256::digest(data.to_string())[..6])
    }

    pub fn new(kind: &str, cause: impl Into<String>, owner: Option<&str>, data: Value) -> Self {
        Self { kind: kind.to_owned(), cause: cause.into(), owner: owner.map(ToOwned::to_owned), data }
    }
}
