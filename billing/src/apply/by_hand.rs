//! The link at an operator's word.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::rules::fact::{OWN, WriteKey};
use crate::rules::{Kind, Object};
use crate::store::{self, ObjectRow, Tx};

/// Why a customer was not linked by hand.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("customer {customer} is linked to workspace {workspace_id}, and the first link stands")]
    Elsewhere { customer: String, workspace_id: String },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Links a customer to a workspace at an operator's word; tell [`super::apply`] of the customer afterwards. Safe to
/// repeat.
pub async fn link_by_hand(
    tx: &mut Tx,
    workspace_id: &str,
    customer: &str,
    now: DateTime<Utc>,
) -> Result<(), LinkError> {
    store::lock_owners(tx, &[customer]).await?;
    let known = store::objects_of(tx, &[(Kind::Customer, customer)], &[]).await?.pop();
    let mut row = known.unwrap_or_else(|| ObjectRow::new(Object::new(Kind::Customer, customer)));
    if let Some(elsewhere) = row.workspace_id.as_deref().filter(|linked| *linked != workspace_id) {
        return Err(LinkError::Elsewhere { customer: customer.to_owned(), workspace_id: elsewhere.to_owned() });
    }
    let at = now.timestamp();
    let key = WriteKey { terminal: false, at, rank: OWN, changed: true, event: "".into() };
    row.object.owner = Some(customer.to_owned());
    row.object.write("linked_by_hand", json!(at), &key);
    row.workspace_id = Some(workspace_id.to_owned());
    store::save_objects(tx, std::iter::once(&row), now).await?;
    store::drop_claims(tx, &[customer]).await?;
    Ok(())
}
