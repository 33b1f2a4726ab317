//! Ids that may repeat: of connected accounts, and, where the merchant makes them up, of live and test mode. Such an id
//! gets a prefix, which the store keeps in a column of its own.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rules::link::{TEST, join, sale_owner};
use crate::rules::{Note, Object, Owner, Question, Reading};

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
            Self::All => true,
        }
    }
}

/// Members of a note's data that are ids of objects.
const IDS: [&str; 4] = ["session", "invoice", "subscription", "charge"];

/// The connected account of an event.
pub fn account_of(body: &Value) -> Option<&str> {
    let thin = || body["context"].as_str().filter(|context| context.starts_with("acct_"));
    body["account"].as_str().or_else(thin).filter(|account| !account.is_empty())
}

pub(super) fn scoped(reading: Reading, body: &Value) -> Reading {
    let account = account_of(body).unwrap_or_default();
    let test = body["livemode"] != true;
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

fn of_object(mut object: Object, account: &str, test: bool) -> Object {
    let scope = match (account, test && object.kind.named_by_merchant()) {
        (account, false) => account.to_owned(),
        ("", true) => TEST.to_owned(),
        (account, true) => format!("{account}:{TEST}"),
    };
    object.id = join(&scope, &object.id);
    object.owner = object.owner.map(|owner| of_owner(&owner, account));
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
        Owner::Workspace(_) => owner.to_owned(),
    }
}
