//! Pure functions from facts to state and effects: no I/O, no clock, no async.

pub mod effect;
pub mod entitlement;
pub mod explain;
pub mod fact;
pub mod link;
pub mod project;
pub mod reading;
pub mod retell;
pub mod settle;
pub mod truth;

pub use effect::{Effect, Mail, effects_of};
pub use entitlement::{Billing, Limits, billing_of};
pub use fact::{Kind, Object, Register, WriteKey};
pub use link::Owner;
pub use project::{Rules, WorkspaceState, project};
pub use reading::{Note, Question, Reading};
pub use settle::SpentRefund;
