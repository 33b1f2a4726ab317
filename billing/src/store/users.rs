//! People: who owns a workspace and is written to.

use chrono::{DateTime, Utc};

use super::statement::{execute, fetch};
use super::{Db, Tx};

/// An owner as the operator names them.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    pub email: &'a str,
    /// `None` leaves the name as it is.
    pub name: Option<&'a str>,
    /// `None` leaves the locale as it is; a new person has none, and Stripe's preference counts.
    pub locale: Option<&'a str>,
}

/// Finds the person by address (whatever its case) or makes one, and makes them a member of the workspace with the role
/// `owner`; who was the owner before is a plain member from then on. Gives the person's id. Safe to call twice.
pub async fn put_owner(
    tx: &mut Tx,
    workspace_id: &str,
    member: &Member<'_>,
    new_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<String> {
    let (id,): (String,) = fetch!(
        one,
        tx,
        "insert into users (id, email, name, locale, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)
         on conflict (lower(email)) do update set name = coalesce($3, users.name), locale = coalesce($4, users.locale), updated_at = $5
         returning id",
        new_id,
        member.email,
        member.name,
        member.locale,
        now
    )?;
    execute!(
        tx,
        "update workspace_members set role = 'member'
         where workspace_id = $1 and user_id <> $2 and user_id = (select owner_id from workspaces where id = $1)",
        workspace_id,
        &id
    )?;
    execute!(tx, "update workspaces set owner_id = $2 where id = $1", workspace_id, &id)?;
    execute!(
        tx,
        "insert into workspace_members (workspace_id, user_id, role) values ($1, $2, 'owner')
         on conflict (workspace_id, user_id) do update set role = 'owner'",
        workspace_id,
        &id
    )?;
    Ok(id)
}

/// Whether a user owns a workspace or is a member of it.
pub async fn is_member(db: &Db, workspace_id: &str, user_id: &str) -> sqlx::Result<bool> {
    let (found,): (i64,) = fetch!(
        one,
        db,
        "select (select count(*) from workspaces where id = $1 and owner_id = $2)
              + (select count(*) from workspace_members where workspace_id = $1 and user_id = $2)",
        workspace_id,
        user_id
    )?;
    Ok(found > 0)
}
