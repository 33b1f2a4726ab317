//! Stripe's objects as far as they are known: the merged facts, and whose they are.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::rows::{as_json, ids, time};
use super::statement::{execute, fetch};
use super::{Db, Tx};
use crate::rules::fact::stored;
use crate::rules::link::{bare, join, split};
use crate::rules::{Kind, Object};

/// An object with its link.
#[derive(Clone, Debug)]
pub struct ObjectRow {
    pub object: Object,
    /// As the events said; `None` while only an operator has named it.
    pub livemode: Option<bool>,
    /// Customers only: the workspace it is linked to.
    pub workspace_id: Option<String>,
    /// How often it was written; 0 for one that is new.
    pub version: i64,
}

impl ObjectRow {
    /// One that nothing is known of yet.
    pub fn new(object: Object) -> Self {
        Self { object, livemode: None, workspace_id: None, version: 0 }
    }
}

/// A row, unless it is of a kind of a later version, or its facts are no facts: those are left where they are.
struct Stored(Option<ObjectRow>);

impl<'r, R: Row> FromRow<'r, R> for Stored
where
    &'static str: ColumnIndex<R>,
    &'r str: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Json<&'r RawValue>: Decode<'r, R::Database> + Type<R::Database>,
    Option<bool>: Decode<'r, R::Database> + Type<R::Database>,
    Option<&'r str>: Decode<'r, R::Database> + Type<R::Database>,
{
    /// Read where it stands in the row: objects are most of what a batch reads.
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let text = |column| row.try_get::<&'r str, _>(column);
        let optional = |column| row.try_get::<Option<&'r str>, _>(column).map(|text| text.map(ToOwned::to_owned));
        let (kind, id) = (text("kind")?, text("id")?);
        let facts: Json<&'r RawValue> = row.try_get("facts")?;
        let fields = match stored::fields(facts.0.get(), text("writes")?) {
            Ok(fields) => fields,
            Err(error) => {
                tracing::error!(object.kind = kind, object.id = id, %error, "stored facts are unreadable");
                return Ok(Self(None));
            }
        };
        let Some(kind) = Kind::parse(kind) else { return Ok(Self(None)) };
        Ok(Self(Some(ObjectRow {
            object: Object { kind, id: join(text("scope")?, id), owner: optional("owner")?, fields },
            livemode: row.try_get("livemode")?,
            workspace_id: optional("workspace_id")?,
            version: row.try_get("version")?,
        })))
    }
}

/// Serializes the work on owners (customers, workspaces, or single objects) until the transaction ends, also for those
/// that have no row yet. Always in one order, so that two workers cannot wait for each other.
pub async fn lock_owners(tx: &mut Tx, owners: &[&str]) -> sqlx::Result<()> {
    if let Tx::Postgres(_) = tx {
        execute!(
            tx,
            "select pg_advisory_xact_lock(key) from (
                 select distinct hashtextextended(value, 42) as key from jsonb_array_elements_text($1::jsonb) order by 1
             ) as keys",
            as_json(owners)?
        )?;
    }
    // SQLite has one writer, and this transaction is it.
    Ok(())
}

/// The named objects; all customers and subscriptions of `owners`, and the payments of sales among them.
pub async fn objects_of(tx: &mut Tx, named: &[(Kind, &str)], owners: &[&str]) -> sqlx::Result<Vec<ObjectRow>> {
    let wanted: BTreeSet<&str> = named.iter().map(|(_, id)| *id).chain(owners.iter().copied()).collect();
    let ids: BTreeSet<&str> = wanted.iter().map(|id| bare(id)).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    // Arrays rather than joins: the planner then takes the indexes whatever it thinks of the tables' sizes.
    let sql = match tx {
        Tx::Postgres(_) => {
            "select kind, id, scope, livemode, owner, workspace_id, version, facts, writes from stripe_objects
             where id = any(array(select jsonb_array_elements_text($1::jsonb)))
             union all
             select kind, id, scope, livemode, owner, workspace_id, version, facts, writes from stripe_objects
             where kind in ('subscription', 'payment_intent') and owner = any(array(select jsonb_array_elements_text($2::jsonb)))
               and id not in (select jsonb_array_elements_text($1::jsonb))"
        }
        Tx::Sqlite(_) => {
            "select kind, id, scope, livemode, owner, workspace_id, version, facts, writes from stripe_objects
             where id in (select value from json_each($1))
             union
             select kind, id, scope, livemode, owner, workspace_id, version, facts, writes from stripe_objects
             where kind in ('subscription', 'payment_intent') and owner in (select value from json_each($2))"
        }
    };
    let stored: Vec<Stored> = fetch!(all, tx, sql, as_json(&ids)?, as_json(owners)?)?;
    // One id may stand in several scopes.
    let owners: HashSet<&str> = owners.iter().copied().collect();
    let ours = |row: &ObjectRow| {
        wanted.contains(row.object.id.as_str())
            || row.object.owner.as_deref().is_some_and(|owner| owners.contains(owner))
    };
    Ok(stored.into_iter().filter_map(|stored| stored.0).filter(ours).collect())
}

/// The customers that are linked to the workspaces or asked for by them.
pub async fn customers_of(tx: &mut Tx, workspace_ids: &[&str]) -> sqlx::Result<Vec<String>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "select '' as scope, customer from stripe_claims
             where workspace_id = any(array(select jsonb_array_elements_text($1::jsonb)))
             union
             select scope, id from stripe_objects
             where workspace_id is not null and workspace_id = any(array(select jsonb_array_elements_text($1::jsonb)))"
        }
        Tx::Sqlite(_) => {
            "select '' as scope, customer from stripe_claims where workspace_id in (select value from json_each($1))
             union
             select scope, id from stripe_objects
             where workspace_id is not null and workspace_id in (select value from json_each($1))"
        }
    };
    let found: Vec<(String, String)> = fetch!(all, tx, sql, as_json(workspace_ids)?)?;
    let customers: BTreeSet<String> = found.into_iter().map(|(scope, id)| join(&scope, &id)).collect();
    Ok(customers.into_iter().collect())
}

/// Subscriptions of the scope that have not ended as far as is known, `(owner, id)` in this order, from behind `after`.
pub async fn open_subscriptions(
    db: &Db,
    scope: &str,
    after: &(String, String),
    limit: i64,
) -> sqlx::Result<Vec<(String, String)>> {
    // In the words of the index by owner.
    fetch!(
        all,
        db,
        "select owner, id from stripe_objects
         where kind in ('subscription', 'payment_intent') and kind = 'subscription' and scope = $1
           and owner >= $2 and (owner > $2 or id > $3)
           and coalesce(facts ->> 'status', '') not in ('canceled', 'incomplete_expired')
         order by owner, id limit $4",
        scope,
        &after.0,
        &after.1,
        limit
    )
}

/// The customers that wait for a workspace that exists by now, because the product made it without telling us.
pub async fn claimable(db: &Db, limit: i64) -> sqlx::Result<Vec<String>> {
    let found: Vec<(String,)> = fetch!(
        all,
        db,
        "select distinct c.customer from stripe_claims c join workspaces w on w.id = c.workspace_id limit $1",
        limit
    )?;
    Ok(found.into_iter().map(|(customer,)| customer).collect())
}

/// Notes that workspaces ask for customers that are linked to none: pairs of the customer and the workspace.
pub async fn keep_claims(tx: &mut Tx, claims: &[(&str, &str)]) -> sqlx::Result<u64> {
    #[derive(Serialize)]
    struct Claim<'a> {
        customer: &'a str,
        workspace_id: &'a str,
    }
    let claims: Vec<Claim<'_>> =
        claims.iter().map(|(customer, workspace_id)| Claim { customer, workspace_id }).collect();
    execute!(
        tx,
        of &claims,
        "insert into stripe_claims (workspace_id, customer) select r.workspace_id, r.customer from ",
        [customer text, workspace_id text],
        " as r where true on conflict do nothing"
    )
}

/// Forgets the claims of customers that have got their link.
pub async fn drop_claims(tx: &mut Tx, customers: &[&str]) -> sqlx::Result<u64> {
    execute!(
        tx,
        of &ids(customers),
        "delete from stripe_claims where customer in (select r.id from ",
        [id text],
        " as r)"
    )
}

#[derive(Serialize)]
struct Written<'a> {
    kind: &'a str,
    id: &'a str,
    scope: &'a str,
    livemode: Option<bool>,
    owner: Option<&'a str>,
    workspace_id: Option<&'a str>,
    version: i64,
    /// JSON.
    facts: String,
    writes: String,
    #[serde(serialize_with = "time")]
    updated_at: DateTime<Utc>,
}

/// Writes objects as they are now known.
///
/// # Errors
/// Beside the database's: another transaction wrote one of them since it was read, for two tellings of one object may
/// name different owners and so hold different locks. What was read is stale then, and running again is right.
pub async fn save_objects<'a>(
    tx: &mut Tx,
    objects: impl Iterator<Item = &'a ObjectRow>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let objects: Vec<Written<'_>> = objects
        .map(|row| {
            Ok(Written {
                kind: row.object.kind.as_str(),
                id: bare(&row.object.id),
                scope: split(&row.object.id).0,
                livemode: row.livemode,
                owner: row.object.owner.as_deref(),
                workspace_id: row.workspace_id.as_deref(),
                version: row.version,
                facts: serde_json::to_string(&stored::Values(&row.object.fields))?,
                writes: stored::writes(&row.object.fields)?,
                updated_at: now,
            })
        })
        .collect::<serde_json::Result<_>>()
        .map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let written = execute!(
        tx,
        of &objects,
        "insert into stripe_objects (kind, id, scope, livemode, owner, workspace_id, version, facts, writes, updated_at)
         select r.kind, r.id, r.scope, r.livemode, r.owner, r.workspace_id, r.version + 1, r.facts, r.writes, r.updated_at from ",
        [kind text, id text, scope text, livemode boolean, owner text, workspace_id text, version bigint, facts json,
         writes text, updated_at timestamptz],
        " as r where true
         on conflict (id, kind, scope) do update set livemode = excluded.livemode, owner = excluded.owner,
             workspace_id = excluded.workspace_id, version = excluded.version, facts = excluded.facts,
             writes = excluded.writes, updated_at = excluded.updated_at
         where stripe_objects.version = excluded.version - 1"
    )?;
    if written != objects.len() as u64 {
        let stale = objects.len() as u64 - written;
        return Err(sqlx::Error::Protocol(format!("{stale} objects were written by another transaction meanwhile")));
    }
    Ok(())
}

/// A price or plan of Stripe's, as far as events told of it.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct PriceRow {
    pub id: String,
    /// `price`, or `plan` of the time before.
    pub kind: String,
    pub livemode: Option<bool>,
    pub account: Option<String>,
    pub product_id: Option<String>,
    pub product_name: Option<String>,
    pub nickname: Option<String>,
    pub lookup_key: Option<String>,
    /// In the currency's minor unit.
    pub unit_amount: Option<i64>,
    pub currency: Option<String>,
    pub interval: Option<String>,
    pub active: bool,
}

/// Stripe's catalogue, at most 1,000 prices of it.
pub async fn list_prices(db: &Db) -> sqlx::Result<Vec<PriceRow>> {
    fetch!(
        all,
        db,
        "select id, kind, livemode, account, product_id, product_name, nickname, lookup_key, unit_amount, currency, interval, active
         from stripe_plans order by id, kind limit 1000"
    )
}
