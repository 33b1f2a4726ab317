//! Ids that may repeat: of connected accounts, and, where the merchant makes them up, of live and test mode. Such an id
//! gets a prefix, which the store keeps in a column of its own.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rules::link::{self, TEST, join, sale_owner};
use crate::rules::{Note, Object, Owner, Question, Reading};
use crate::stripe::json::Json;

/// The connected accounts whose events count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Accounts {
    /// Only our own.
    #[default]
    Ours,
    Named(BTreeSet<String>),
    All,
}

impl Accounts {
    pub fn takes(&self, account: &str) -> bool {
        match self {
            Self::Ours => false,
            Self::Named(names) => names.contains(account),
            Self::All => account != MALFORMED,
        }
    }
}

/// Stands for an account whose id is none.
const MALFORMED: &str = "(malformed)";
/// Stripe's have 16 to 24 behind the prefix.
const ACCOUNT_BYTES: usize = 64;

/// Members of a note's data that are ids of objects.
const IDS: [&str; 4] = ["session", "invoice", "subscription", "charge"];

/// The connected account of an event. One that is no account's id is an account all the same, though none that anybody
/// names: such an event must not count as our own.
pub fn account_of<'a>(body: impl Into<Json<'a>>) -> Option<&'a str> {
    let body = body.into();
    let thin = || body.get("context")?.as_str().filter(|context| context.starts_with("acct_"));
    let account = match body.get("account").filter(|account| !account.is_null()) {
        None => thin()?,
        Some(account) => account.as_str().unwrap_or(MALFORMED),
    };
    let is_id = |rest: &str| rest.len() <= ACCOUNT_BYTES && super::valid(rest);
    match account.strip_prefix("acct_") {
        _ if account.is_empty() => None,
        Some(rest) if is_id(rest) => Some(account),
        _ => Some(MALFORMED),
    }
}

pub(super) fn scoped(reading: Reading, body: Json<'_>) -> Reading {
    let account = account_of(body).unwrap_or_default();
    let test = body.get("livemode").and_then(Json::as_bool) != Some(true);
    match reading {
        Reading::Ask(question) => {
            Reading::Ask(Question { account: Some(account.to_owned()).filter(|it| !it.is_empty()), ..question })
        }
        Reading::Facts { objects, notes } => Reading::Facts {
            objects: objects.into_iter().map(|object| of_object(object, account, test)).collect(),
            notes: if account.is_empty() {
                notes
            } else {
                notes.into_iter().map(|note| of_note(note, account)).collect()
            },
        },
        ignored @ Reading::Ignored(_) => ignored,
    }
}

fn of_object(object: Object, account: &str, test: bool) -> Object {
    let scope = match (account, test && object.kind.named_by_merchant()) {
        (account, false) => account.to_owned(),
        ("", true) => TEST.to_owned(),
        (account, true) => format!("{account}:{TEST}"),
    };
    in_scope(object, &scope)
}

/// An object of Stripe's by the names it has here.
pub(super) fn in_scope(mut object: Object, scope: &str) -> Object {
    object.id = join(scope, &object.id);
    object.owner = object.owner.map(|owner| of_owner(&owner, link::account_of(scope).unwrap_or_default()));
    object
}

fn of_note(mut note: Note, account: &str) -> Note {
    note.cause = join(account, &note.cause);
    note.owner = note.owner.map(|owner| of_owner(&owner, account));
    for name in IDS {
        if let Some(Value::String(id)) = note.data.get_mut(name) {
            *id = join(account, id);
        }
    }
    note
}

fn of_owner(owner: &str, account: &str) -> String {
    match Owner::parse(owner) {
        Owner::Customer(id) => join(account, id),
        Owner::Sale(id) => sale_owner(&join(account, id)),
    }
}
