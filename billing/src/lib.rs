//! Rules and state of billing: what Stripe's events mean for a product's workspaces.
//!
//! Knows no HTTP server and no queue. `rules` is pure; `store` holds the only SQL; `stripe` reads what Stripe sends;
//! `mail` writes to people; [`apply`] joins them in one transaction.

pub mod apply;
pub mod chaos;
pub mod clock;
pub mod mail;
pub mod plans;
pub mod rules;
pub mod store;
pub mod stripe;

pub use clock::Clock;
pub use plans::{Catalogue, Plan, PlanKind};
pub use store::{Db, Engine, Tx};
