//! What the tests of this package share.

pub(crate) mod bodies;
pub(crate) mod ground;
pub(crate) mod reading;
pub(crate) mod stories;
#[path = "../../src/store/testing.rs"]
pub(crate) mod testing;

pub(crate) use billing::store::{Db, PoolSizes, lock_migrations, migrate};
