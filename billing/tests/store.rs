//! Every function of the store, on both engines.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support {
    #[path = "../../src/store/testing.rs"]
    pub(crate) mod testing;

    pub(crate) use billing::store::{Db, PoolSizes, lock_migrations, migrate};
}
pub(crate) use support::testing;

mod store {
    mod audit;
    mod directory;
    mod emails;
    mod events;
    mod given;
    mod ledger;
    mod links;
    mod migrations;
    mod trials;
}
