//! Everything that is Stripe's: the signature, the envelope, what an event's body says, and asking back.

pub mod client;
pub mod envelope;
mod json;
mod path;
mod read;
pub mod signature;

pub use client::{Page, Stripe, StripeError};
pub use envelope::{Envelope, NotAnEvent};
pub use json::{Body, Json};
pub use path::Unreadable;
pub use read::scope;
pub use read::{Answer, Answers, Fetched, REFRESH, created_of, has_reader, question_about, read, read_fetched};
pub use signature::{Refusal, Secrets};
