//! Who is written to: the owner, members with the roles `owner` and `billing`, and the addresses that a workspace names.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::rows::{as_json, ids};
use super::statement::{execute, fetch};
use super::{Db, Tx};

/// Somebody who is written to about a workspace.
#[derive(Clone, Debug, FromRow, Serialize, PartialEq, Eq)]
pub struct Recipient {
    #[serde(skip)]
    pub workspace_id: String,
    pub address: String,
    /// `None`: nobody has said.
    pub locale: Option<String>,
    /// `owner`, `member` (of the role `owner` or `billing`) or `named`.
    pub because: String,
    /// What their server said when it refused the address for good.
    pub suppressed: Option<String>,
}

macro_rules! recipients {
    ($workspaces:literal) => {
        concat!(
            "select workspace_id, address, locale, because, (select reason from mail_suppressions s where s.address = lower(r.address)) as suppressed
             from (select w.id as workspace_id, u.email as address, u.locale, 'owner' as because
                   from workspaces w join users u on u.id = w.owner_id where w.id ", $workspaces, "
                   union all
                   select m.workspace_id, u.email, u.locale, 'member'
                   from workspace_members m join users u on u.id = m.user_id
                   where m.role in ('owner', 'billing') and m.workspace_id ", $workspaces, "
                   union all
                   select n.workspace_id, n.address, (select u.locale from users u where lower(u.email) = lower(n.address)), 'named'
                   from mail_recipients n where n.workspace_id ", $workspaces, ") as r"
        )
    };
}

/// Everybody who is written to about these workspaces, each address once, the owner first.
pub async fn recipients_of(tx: &mut Tx, workspace_ids: &[&str]) -> sqlx::Result<Vec<Recipient>> {
    let sql = match tx {
        Tx::Postgres(_) => recipients!("= any(array(select jsonb_array_elements_text($1::jsonb)))"),
        Tx::Sqlite(_) => recipients!("in (select value from json_each($1))"),
    };
    let mut found: Vec<Recipient> = fetch!(all, tx, sql, as_json(workspace_ids)?)?;
    // Here, where bytes are compared, whatever collation the database has.
    let place = |one: &Recipient| ["owner", "member", "named"].iter().position(|because| *because == one.because);
    found.sort_by(|a, b| (&a.workspace_id, place(a), &a.address).cmp(&(&b.workspace_id, place(b), &b.address)));
    let mut seen = HashSet::new();
    let mut new = |one: &Recipient| seen.insert((one.workspace_id.clone(), one.address.to_lowercase()));
    Ok(found.into_iter().filter(|one| new(one)).collect())
}

/// Names addresses that are written to beside the owner. Safe to repeat.
pub async fn add_recipients(
    tx: &mut Tx,
    workspace_id: &str,
    addresses: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    execute!(
        tx,
        of &ids(addresses),
        "insert into mail_recipients (workspace_id, address, created_at) select $2, r.id, $3 from ",
        [id text],
        " as r where true on conflict (workspace_id, lower(address)) do nothing",
        workspace_id,
        now
    )
}

/// Takes addresses off the list; gives how many were on it.
pub async fn remove_recipients(tx: &mut Tx, workspace_id: &str, addresses: &[String]) -> sqlx::Result<u64> {
    execute!(
        tx,
        of &ids(addresses),
        "delete from mail_recipients where workspace_id = $2 and lower(address) in (select lower(r.id) from ",
        [id text],
        " as r)",
        workspace_id
    )
}

/// Ends the mails of these templates to a workspace. Safe to repeat.
pub async fn opt_out(tx: &mut Tx, workspace_id: &str, templates: &[String], now: DateTime<Utc>) -> sqlx::Result<u64> {
    execute!(
        tx,
        of &ids(templates),
        "insert into mail_opt_outs (workspace_id, template, created_at) select $2, r.id, $3 from ",
        [id text],
        " as r where true on conflict (workspace_id, template) do nothing",
        workspace_id,
        now
    )
}

/// Takes the mails of these templates up again; gives how many had been ended.
pub async fn opt_in(tx: &mut Tx, workspace_id: &str, templates: &[String]) -> sqlx::Result<u64> {
    execute!(
        tx,
        of &ids(templates),
        "delete from mail_opt_outs where workspace_id = $2 and template in (select r.id from ",
        [id text],
        " as r)",
        workspace_id
    )
}

/// The templates that a workspace does not want.
pub async fn opt_outs_of(db: &Db, workspace_id: &str) -> sqlx::Result<Vec<String>> {
    let found: Vec<(String,)> =
        fetch!(all, db, "select template from mail_opt_outs where workspace_id = $1 order by template", workspace_id)?;
    Ok(found.into_iter().map(|(template,)| template).collect())
}
