//! Whose a Stripe object is: of a customer, and through the customer of a workspace.
//!
//! The authority is the stored link of a customer. Events only claim it; the first claim of an existing workspace makes
//! the link and stands. Nothing is ever guessed by e-mail address.
//!
//! Ids are unique within a scope: those of a connected account carry its id in front, `acct_1/cus_1`.

use super::Object;

const WORKSPACE: &str = "workspace:";
const SALE: &str = "sale:";
const CLAIM: &str = "claim:";

/// Whose an object is. Kept as text: a customer's id; `workspace:ID` for a session without a customer; `sale:ID` for
/// what was paid for a checkout session or an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner<'a> {
    Customer(&'a str),
    Workspace(&'a str),
    Sale(&'a str),
}

impl<'a> Owner<'a> {
    pub fn parse(text: &'a str) -> Self {
        if let Some(id) = text.strip_prefix(WORKSPACE) {
            return Self::Workspace(id);
        }
        text.strip_prefix(SALE).map_or(Self::Customer(text), Self::Sale)
    }

    /// A customer is the better answer; among equals the greater text, only to be deterministic.
    pub(crate) fn rank(text: &str) -> (bool, &str) {
        (matches!(Owner::parse(text), Owner::Customer(_)), text)
    }
}

/// The owner text of what was paid for the session or invoice `id`.
pub fn sale_owner(id: &str) -> String {
    format!("{SALE}{id}")
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

/// The scope of ids that the merchant made up in test mode.
pub(crate) const TEST: &str = "testmode";

/// Splits an id into its scope, empty for our own account, and the id that Stripe knows.
pub fn split(id: &str) -> (&str, &str) {
    match id.split_once('/') {
        Some((scope, id)) if scope.starts_with("acct_") || scope == TEST => (scope, id),
        _ => ("", id),
    }
}

/// Joins what [`split`] takes apart.
pub fn join(scope: &str, id: &str) -> String {
    if scope.is_empty() { id.to_owned() } else { format!("{scope}/{id}") }
}

/// The id that Stripe knows.
pub fn bare(id: &str) -> &str {
    split(id).1
}
