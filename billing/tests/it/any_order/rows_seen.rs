//! The rows of a database as far as people and programs can see them, without the ids and times of the run.

use billing::store::{Db, Engine};
use serde_json::{Value, json};
use sqlx::FromRow;
use sqlx::types::Json;

/// Everything that must not depend on the order of arrival.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) workspaces: Vec<Value>,
    pub(super) objects: Vec<Value>,
    pub(super) ledger: Vec<(i64, String, String)>,
    pub(super) audit: Vec<Value>,
    pub(super) emails: Vec<(String, String, String, Value)>,
    /// Workspace and customer.
    pub(super) claims: Vec<(String, String)>,
}

macro_rules! all {
    ($db:expr, $sql:expr) => {
        match $db {
            Engine::Postgres(pool) => sqlx::query_as($sql).fetch_all(pool).await,
            Engine::Sqlite(file) => sqlx::query_as($sql).fetch_all(&file.reader).await,
        }
        .expect("the rows")
    };
}

#[derive(FromRow)]
struct ObjectRow {
    kind: String,
    id: String,
    livemode: Option<bool>,
    owner: Option<String>,
    workspace_id: Option<String>,
    facts: Json<Value>,
    writes: String,
}

#[derive(FromRow)]
struct AuditRow {
    workspace_id: Option<String>,
    kind: String,
    cause: String,
    owner: Option<String>,
    stripe_event_id: Option<String>,
    occurred_at: chrono::DateTime<chrono::Utc>,
    data: Json<Value>,
}

impl Rows {
    pub(super) async fn of(db: &Db) -> Self {
        let workspaces = billing::store::list_workspaces(db, "", 10).await.expect("the workspaces");
        let workspaces = workspaces
            .iter()
            .map(|row| json!({"id": row.id, "state": row.state(), "credits": row.credits, "trial": row.trial_ends_at}))
            .collect();
        let objects: Vec<ObjectRow> = all!(
            db,
            "select kind, id, livemode, owner, workspace_id, facts, writes from stripe_objects order by kind, id, scope"
        );
        let objects = objects
            .into_iter()
            .map(|row| {
                json!({
                    "kind": row.kind, "id": row.id, "livemode": row.livemode, "owner": row.owner,
                    "workspace": row.workspace_id, "facts": row.facts.0, "writes": row.writes,
                })
            })
            .collect();
        let audit: Vec<AuditRow> = all!(
            db,
            "select workspace_id, kind, cause, owner, stripe_event_id, occurred_at, data from audit_events order by kind, cause"
        );
        let audit = audit
            .into_iter()
            .map(|row| {
                json!({
                    "workspace": row.workspace_id, "kind": row.kind, "cause": row.cause, "owner": row.owner,
                    "event": row.stripe_event_id, "occurred_at": row.occurred_at, "data": row.data.0,
                })
            })
            .collect();
        let emails: Vec<(String, String, String, Json<Value>)> =
            all!(db, "select dedupe_key, template, workspace_id, data from emails order by dedupe_key");
        Self {
            workspaces,
            objects,
            ledger: all!(db, "select delta, reason, source_id from credit_ledger order by reason, source_id"),
            audit,
            claims: all!(db, "select workspace_id, customer from stripe_claims order by workspace_id, customer"),
            emails: emails
                .into_iter()
                .map(|(key, template, workspace, data)| (key, template, workspace, data.0))
                .collect(),
        }
    }

    /// Table by table, so that a difference can be read.
    pub(super) fn assert_same(&self, other: &Self, context: &str) {
        assert_eq!(self.workspaces, other.workspaces, "{context}: workspaces");
        assert_eq!(self.ledger, other.ledger, "{context}: ledger");
        assert_eq!(self.emails, other.emails, "{context}: mails");
        assert_eq!(self.claims, other.claims, "{context}: claims");
        for (table, ours, theirs) in [("audit", &self.audit, &other.audit), ("objects", &self.objects, &other.objects)]
        {
            assert_eq!(ours.len(), theirs.len(), "{context}: {table}");
            for (row, wanted) in ours.iter().zip(theirs) {
                assert_eq!(row, wanted, "{context}: {table}");
            }
        }
    }
}

/// Asserts that the ledger adds up: credits are the sum of the entries, and the balances make one chain from zero.
pub(super) async fn assert_balanced(db: &Db, context: &str) {
    let workspaces: Vec<(String, i64)> = all!(db, "select id, credits from workspaces");
    let entries: Vec<(String, i64, i64)> = all!(db, "select workspace_id, delta, balance_after from credit_ledger");
    for (id, credits) in &workspaces {
        // Each entry leads from one balance to the next: every balance but the first and the last is left as often as
        // it is come to.
        let mut open = std::collections::BTreeMap::from([(0, -1)]);
        *open.entry(*credits).or_insert(0) += 1;
        let mut sum = 0;
        for (_, delta, after) in entries.iter().filter(|(of, ..)| of == id) {
            *open.entry(after - delta).or_insert(0) += 1;
            *open.entry(*after).or_insert(0) -= 1;
            sum += delta;
        }
        assert_eq!(sum, *credits, "{context}: the sum of {entries:?}");
        assert!(open.values().all(|count| *count == 0), "{context}: the balances of {entries:?}");
    }
}
