//! The store and the rules together, on both engines.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod any_order;
mod store;
mod support;

use support::testing;
