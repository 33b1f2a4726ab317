//! What tests do to a database beside telling events.

use billing::apply::{apply, link_by_hand};
use billing::rules::SpentRefund;
use billing::store::{Db, Engine, Tx, customers_of};
use chrono::{DateTime, Utc};

/// The second half of `workspaces put`, as the command does it: the workspace is there, and may get a customer.
pub(crate) async fn link(tx: &mut Tx, workspace: &str, customer: Option<&str>, spent: SpentRefund, now: DateTime<Utc>) {
    let mut also = customers_of(tx, &[workspace]).await.unwrap();
    if let Some(customer) = customer {
        link_by_hand(tx, workspace, customer, now).await.unwrap();
        also.push(customer.to_owned());
    }
    apply(tx, Vec::new(), &also, spent, now).await.unwrap();
}

/// Empties the tables, in the order that their references allow.
pub(crate) async fn clear(db: &Db) {
    for table in [
        "emails",
        "credit_ledger",
        "audit_events",
        "stripe_objects",
        "stripe_claims",
        "workspace_members",
        "workspaces",
        "users",
    ] {
        let sql = sqlx::AssertSqlSafe(format!("delete from {table}"));
        match db {
            Engine::Postgres(pool) => sqlx::query(sql).execute(pool).await.map(drop),
            Engine::Sqlite(file) => sqlx::query(sql).execute(&file.writer).await.map(drop),
        }
        .unwrap();
    }
}
