//! Which events may be processed side by side.
//!
//! Two batches of one moment have workspaces in common, so one waits for the other's locks, and while it waits it holds
//! events that grow older. Therefore each event has a lane, by whose it is, and of each lane there is one batch at a time, in
//! all processes together: who comes next takes along all that has come in until then. What belongs together but does not
//! name its customer may be in two lanes; that costs a wait for a lock, and nothing else, for the lanes are not what keeps
//! batches apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use billing::store::Db;
use billing::stripe::Envelope;

/// More would split the events of a moment into smaller batches, each of which costs what a batch costs; fewer would leave
/// the database idle while a worker computes.
const POSTGRES: i16 = 3;
/// SQLite has one writer.
const SQLITE: i16 = 1;

/// How many there are.
pub(crate) fn count(db: &Db) -> i16 {
    match db {
        Db::Postgres(_) => POSTGRES,
        Db::Sqlite(_) => SQLITE,
    }
}

/// The lane of an event: that of its customer.
pub(crate) fn of(envelope: &Envelope, db: &Db) -> i16 {
    let whose = envelope.customer.as_ref().or(envelope.object_id.as_ref()).unwrap_or(&envelope.id);
    let mut hasher = DefaultHasher::new();
    (&envelope.account, whose).hash(&mut hasher);
    (hasher.finish() % u64::from(count(db).unsigned_abs())) as i16
}
