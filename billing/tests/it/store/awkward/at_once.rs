//! Two transactions at once on PostgreSQL, which wait for each other or read what is about to change.

use billing::apply::{Told, apply as apply_in};
use billing::rules::{Kind, SpentRefund};
use billing::store::{Db, Engine, find_workspace, objects_of};

use super::owners::BOTH;
use super::playing::{Step, gone, invoice, one, paid_by, play, refund, session, sub};
use crate::store::given::{at, execute};
use crate::testing;

/// Applies one after the other has read and written, but before it has committed.
async fn at_once(db: &Db, first: Told, second: Told, spent: SpentRefund) -> sqlx::Result<()> {
    batches_at_once(db, vec![first], vec![second], spent).await
}

async fn batches_at_once(db: &Db, first: Vec<Told>, second: Vec<Told>, spent: SpentRefund) -> sqlx::Result<()> {
    let mut one = db.begin().await.unwrap();
    apply_in(&mut one, first, &[], spent, at(200)).await.unwrap();
    let other = db.clone();
    let task = tokio::task::spawn_local(async move {
        let mut tx = other.begin().await?;
        apply_in(&mut tx, second, &[], spent, at(200)).await?;
        tx.commit().await
    });
    // It waits for a lock of the first, or fails; either way it has read what there was before.
    while !task.is_finished() && !waits_for_a_lock(db).await {
        tokio::task::yield_now().await;
    }
    one.commit().await.unwrap();
    task.await.unwrap()
}

async fn waits_for_a_lock(db: &Db) -> bool {
    let Engine::Postgres(pool) = db else { unreachable!("only PostgreSQL has two writers") };
    let (waits,): (bool,) = sqlx::query_as(
        "select exists (select 1 from pg_locks join pg_stat_activity using (pid)
                        where not granted and datname = current_database())",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    waits
}

/// What an older event of another owner has read is projected, after a newer one has been committed.
#[tokio::test]
async fn a_stale_reading_is_not_projected() {
    testing::on_postgres(|db: Db| async move {
        let first = [Step::Put("ws_1", None), one(sub("evt_1", "created", 10, "active", Some("cus_1"), Some("ws_1")))];
        play(&db, &first, SpentRefund::Negative).await;
        let end = sub("evt_3", "deleted", 20, "canceled", Some("cus_1"), Some("ws_1"));
        let older = sub("evt_0", "updated", 5, "active", None, Some("ws_1"));
        if at_once(&db, end, older.clone(), SpentRefund::Negative).await.is_err() {
            play(&db, &[one(older)], SpentRefund::Negative).await;
        }
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().subscription_status, "deleted");
    })
    .await;
}

/// With a floor, what a payment was for becomes known while another sale of the workspace is refunded.
#[tokio::test]
async fn two_refunds_at_once_take_no_more_than_is_left() {
    testing::on_postgres(|db: Db| async move {
        let first = [
            Step::Put("ws_1", None),
            one(invoice("evt_1", 1, "in_1", Some("cus_1"), Some("ws_1"), None)),
            one(invoice("evt_2", 1, "in_2", Some("cus_1"), Some("ws_1"), Some("pi_2"))),
        ];
        play(&db, &first, SpentRefund::Floor).await;
        execute(
            &db,
            "insert into credit_ledger (id, workspace_id, delta, balance_after, reason, source_id, created_at)
                      values ('0', 'ws_1', -150, 50, 'usage', 'u', '2026-01-01T00:00:05+00:00')",
        )
        .await;
        execute(&db, "update workspaces set credits = 50").await;
        play(&db, &[one(refund("evt_3", "created", "re_1", 900, "pi_1", 10, 10, "succeeded"))], SpentRefund::Floor)
            .await;
        let other = refund("evt_4", "created", "re_2", 900, "pi_2", 11, 11, "succeeded");
        let named = paid_by("evt_5", 12, "in_1", "pi_1");
        if at_once(&db, other, named.clone(), SpentRefund::Floor).await.is_err() {
            play(&db, &[one(named)], SpentRefund::Floor).await;
        }
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 0);
    })
    .await;
}

/// What a batch waits for tells whose an object of it is: its workspace is looked at.
#[tokio::test]
async fn an_owner_that_becomes_known_while_waiting_is_looked_at() {
    testing::on_postgres(|db: Db| async move {
        play(&db, &BOTH, SpentRefund::Negative).await;
        let sale = |id: &str, name: &str| session(id, "completed", 3, name, Some("cus_2"), Some("ws_2"));
        let first = vec![sale("evt_1", "cs_1"), sub("evt_2", "created", 1, "active", Some("cus_1"), Some("ws_1"))];
        let second = vec![sale("evt_3", "cs_2"), gone()];
        if batches_at_once(&db, first, second.clone(), SpentRefund::Negative).await.is_err() {
            play(&db, &[Step::Events(second)], SpentRefund::Negative).await;
        }
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().subscription_status, "deleted");
    })
    .await;
}

#[tokio::test]
async fn a_refund_beside_its_sale_waits_for_it() {
    testing::on_postgres(|db: Db| async move {
        play(&db, &[Step::Put("ws_1", None)], SpentRefund::Negative).await;
        let sale = session("evt_1", "completed", 0, "cs_1", Some("cus_1"), Some("ws_1"));
        let refunded = refund("evt_2", "created", "re_1", 450, "pi_cs_1", 10, 10, "succeeded");
        at_once(&db, sale, refunded, SpentRefund::Negative).await.unwrap();
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 5);
    })
    .await;
}

/// One names the customer and the other does not, so they hold different locks; still nothing that was told is lost.
#[tokio::test]
async fn of_two_at_once_that_share_no_lock_the_second_runs_again() {
    testing::on_postgres(|db: Db| async move {
        play(&db, &[Step::Put("ws_1", None)], SpentRefund::Negative).await;
        // Nobody knows yet whose it is.
        let late = sub("evt_2", "updated", 20, "active", Some("cus_1"), Some("ws_1"));
        if at_once(&db, gone(), late.clone(), SpentRefund::Negative).await.is_err() {
            play(&db, &[one(late)], SpentRefund::Negative).await;
        }
        let mut tx = db.begin().await.unwrap();
        let rows = objects_of(&mut tx, &[(Kind::Subscription, "sub_1")], &[]).await.unwrap();
        drop(tx);
        assert_eq!(rows[0].object.text("status"), Some("canceled"));
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().subscription_status, "deleted");
    })
    .await;
}
