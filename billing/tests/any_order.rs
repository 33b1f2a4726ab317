//! Any order and any repetition of the same events ends in the same state: of the facts in memory, and of the rows in
//! both engines. And it is the right state, story by story.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support {
    pub(crate) mod bodies;
    pub(crate) mod reading;
    pub(crate) mod stories;
    #[path = "../../src/store/testing.rs"]
    pub(crate) mod testing;

    pub(crate) use billing::store::{Db, PoolSizes, lock_migrations, migrate};
}

mod any_order {
    mod facts;
    mod rows;
    mod rows_seen;
}
