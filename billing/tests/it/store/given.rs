//! What the tests of the store begin with.

use billing::apply::Policy;
use billing::rules::SpentRefund;
use billing::rules::{Note, Rules};
use billing::store::{AuditEntry, Db, Engine, Member, Tx, put_owner, put_workspace};
use billing::{Catalogue, apply::Told};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z plus some seconds.
pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

pub(super) fn policy() -> Policy {
    Policy {
        catalogue: Catalogue::standard(None, None, None),
        rules: Rules::default(),
        spent_refund: SpentRefund::Negative,
        accounts: billing::stripe::scope::Accounts::Ours,
        livemode: None,
    }
}

/// A workspace with an owner and, where it has days, a trial.
pub(super) async fn workspace(db: &Db, id: &str, trial_days: Option<i64>) {
    let mut tx = db.begin().await.unwrap();
    let ends_at = trial_days.map(|days| at(0) + TimeDelta::days(days));
    put_workspace(&mut tx, id, id, ends_at, at(0)).await.unwrap();
    let email = format!("{id}@example.com");
    let owner = Member { email: &email, name: Some("Ada"), locale: Some("pt-BR") };
    put_owner(&mut tx, id, &owner, &format!("user_{id}"), at(0)).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) fn entry(
    cause: &str,
    owner: Option<&str>,
    workspace: Option<&str>,
    event: &str,
    seconds: i64,
) -> AuditEntry {
    AuditEntry {
        note: Note::new("payment_failed", cause, owner, json!({"told_by": event})),
        workspace_id: workspace.map(ToOwned::to_owned),
        stripe_event_id: Some(event.to_owned()),
        occurred_at: at(seconds),
    }
}

/// What an event tells, given its body.
pub(super) fn told(body: &Value) -> Told {
    let catalogue = Catalogue::standard(Some("price_hobby".into()), None, None);
    match billing::stripe::read(body, &catalogue, &billing::stripe::Answers::default()).unwrap() {
        billing::rules::Reading::Facts { objects, notes } => Told {
            event_id: body["id"].as_str().unwrap().to_owned(),
            created: DateTime::from_timestamp(body["created"].as_i64().unwrap(), 0).unwrap(),
            livemode: false,
            objects,
            notes,
        },
        other => panic!("{other:?}"),
    }
}

/// A session for credits, for the workspace that it names.
pub(super) fn sale(event: &str, session: &str, customer: &str, workspace: &str, seconds: i64) -> Told {
    told(&json!({
        "id": event, "type": "checkout.session.completed", "created": at(seconds).timestamp(),
        "data": {"object": {
            "id": session, "customer": customer, "client_reference_id": workspace, "mode": "payment",
            "payment_status": "paid", "metadata": {"plan": "credits10"},
        }},
    }))
}

pub(super) async fn apply(db: &Db, told: &[Told]) -> billing::apply::Applied {
    let mut tx = db.begin().await.unwrap();
    let applied =
        billing::apply::apply(&mut tx, told.to_vec(), &[], SpentRefund::Negative, at(1_000_000)).await.unwrap();
    tx.commit().await.unwrap();
    applied
}

/// Runs one statement as it is.
pub(super) async fn execute(db: &Db, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    match db.begin().await.unwrap() {
        Engine::Postgres(mut tx) => {
            sqlx::query(sql).execute(&mut *tx).await.unwrap();
            Tx::Postgres(tx)
        }
        Engine::Sqlite(mut tx) => {
            sqlx::query(sql).execute(&mut *tx).await.unwrap();
            Tx::Sqlite(tx)
        }
    }
    .commit()
    .await
    .unwrap();
}
