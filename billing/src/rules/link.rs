//! Whose a Stripe object is: of a customer, and through the customer of a workspace.
//!
//! The authority is the stored link of a customer. Events only claim it; the first claim of an existing workspace makes
//! the link and stands. Nothing is ever guessed by e-mail address.
//!
//! Ids are unique within a scope: those of a connected account carry its id in front, `acct_1/cus_1`.
//!
//! Where Stripe names no customer (a guest's checkout, a subscription of an account) but metadata name a workspace, the
//! object belongs to the workspace's *guest*: a customer that is kept like any other under the id `workspace:ID`.

use super::Object;

const GUEST: &str = "workspace:";
const SALE: &str = "sale:";
const CLAIM: &str = "claim:";
/// How Stripe's ids of checkout sessions begin.
const SESSION: &str = "cs_";

/// Whose an object is. Kept as text: a customer's id, or `sale:ID` for what was paid for a checkout session or an
/// invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner<'a> {
    Customer(&'a str),
    Sale(&'a str),
}

impl<'a> Owner<'a> {
    pub fn parse(text: &'a str) -> Self {
        text.strip_prefix(SALE).map_or(Self::Customer(text), Self::Sale)
    }

    /// Decides between two owners of one object, the greater stands: Stripe's customer over a guest; the session over
    /// the invoice that it makes of its payment, since the session is what grants; among equals the greater text, only
    /// to be deterministic.
    pub(crate) fn rank(text: &str) -> (bool, &str) {
        let better = match Owner::parse(text) {
            Owner::Customer(id) => !is_guest(id),
            Owner::Sale(id) => bare(id).starts_with(SESSION),
        };
        (better, text)
    }
}

/// The owner text of what was paid for the session or invoice `id`.
pub fn sale_owner(id: &str) -> String {
    format!("{SALE}{id}")
}

/// The customer's id of what names a workspace but no customer.
pub(crate) fn guest_of(workspace_id: &str) -> String {
    format!("{GUEST}{workspace_id}")
}

/// Whether a customer is a guest, whom Stripe knows nothing of.
pub(crate) fn is_guest(customer: &str) -> bool {
    bare(customer).starts_with(GUEST)
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

/// The connected account of a scope; `None` for our own.
pub(crate) fn account_of(scope: &str) -> Option<&str> {
    scope.split(':').next().filter(|account| account.starts_with("acct_"))
}

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
