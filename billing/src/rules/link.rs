//! Whose a Stripe object is: of a customer, and through the customer of a workspace.
//!
//! The authority is the stored link of a customer. Events only claim it; the first claim of an existing workspace makes
//! the link and stands. Nothing is ever guessed by e-mail address.

use super::Object;

const WORKSPACE: &str = "workspace:";
const CLAIM: &str = "claim:";

/// Whose an object is. Kept as text: a customer's id, or `workspace:ID` for a session without a customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner<'a> {
    Customer(&'a str),
    Workspace(&'a str),
}

impl<'a> Owner<'a> {
    pub fn parse(text: &'a str) -> Self {
        text.strip_prefix(WORKSPACE).map_or(Self::Customer(text), Self::Workspace)
    }

    /// A customer is the better answer; among equals the greater text, only to be deterministic.
    pub(crate) fn rank(text: &str) -> (bool, &str) {
        (matches!(Owner::parse(text), Owner::Customer(_)), text)
    }
}

/// The owner text of a thing that names a workspace but no customer.
pub fn workspace_owner(workspace_id: &str) -> String {
    format!("{WORKSPACE}{workspace_id}")
}

/// The customer's field in which `workspace_id` asks for the link.
pub fn claim_field(workspace_id: &str) -> String {
    format!("{CLAIM}{workspace_id}")
}

/// The workspaces that ask for a customer, the earliest claim first.
pub fn claims(customer: &Object) -> Vec<(&str, &super::Register)> {
    let mut claims: Vec<_> =
        customer.fields.iter().filter_map(|(field, register)| Some((field.strip_prefix(CLAIM)?, register))).collect();
    claims.sort_by_key(|(_, register)| (register.value.as_i64(), &register.key.event));
    claims
}
