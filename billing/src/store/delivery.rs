//! What has to be known of an address at the moment a mail goes there, and the addresses that get none.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::statement::{execute, fetch};
use super::{Db, Tx};

/// An address as it stands to a workspace.
#[derive(Clone, Debug, FromRow)]
pub struct Addressee {
    /// Of the person with that address.
    pub name: Option<String>,
    pub locale: Option<String>,
    /// What Stripe's customer prefers.
    pub customer_locale: Option<String>,
    pub is_owner: bool,
    pub opted_out: bool,
    /// What the server said when it refused the address for good.
    pub suppressed: Option<String>,
    pub workspace_name: String,
}

/// `None`: the workspace is gone.
pub async fn addressee(
    tx: &mut Tx,
    workspace_id: &str,
    address: &str,
    template: &str,
) -> sqlx::Result<Option<Addressee>> {
    fetch!(
        optional,
        tx,
        "select u.name, u.locale, coalesce(w.owner_id = u.id, false) as is_owner,
                coalesce((select max(o.facts ->> 'locale') from stripe_objects o
                          where o.workspace_id = w.id and o.kind = 'customer' and o.id = w.stripe_customer_id),
                         (select min(o.facts ->> 'locale') from stripe_objects o
                          where o.workspace_id = w.id and o.kind = 'customer')) as customer_locale,
                exists (select 1 from mail_opt_outs where workspace_id = w.id and template = $3) as opted_out,
                (select reason from mail_suppressions where mail_suppressions.address = lower($2)) as suppressed, w.name as workspace_name
         from workspaces w left join users u on lower(u.email) = lower($2) where w.id = $1",
        workspace_id,
        address,
        template
    )
}

/// An address that gets no mail.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Suppression {
    pub address: String,
    pub reason: String,
    pub email_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Sends nothing to the address any more. Once: a later refusal changes nothing.
pub async fn suppress(
    tx: &mut Tx,
    address: &str,
    reason: &str,
    email_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let new = execute!(
        tx,
        "insert into mail_suppressions (address, reason, email_id, created_at) values (lower($1), $2, $3, $4)
         on conflict (address) do nothing",
        address,
        reason,
        email_id,
        now
    )?;
    Ok(new == 1)
}

/// Lets mail go to the address again; `false`: it was free to.
pub async fn lift_suppression(tx: &mut Tx, address: &str) -> sqlx::Result<bool> {
    Ok(execute!(tx, "delete from mail_suppressions where address = lower($1)", address)? == 1)
}

/// The addresses that get no mail, the latest first.
pub async fn list_suppressions(db: &Db, limit: i64) -> sqlx::Result<Vec<Suppression>> {
    fetch!(
        all,
        db,
        "select address, reason, email_id, created_at from mail_suppressions order by created_at desc, address limit $1",
        limit
    )
}
