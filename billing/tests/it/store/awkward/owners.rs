//! Whose things are: owners that are told differently, claims that wait, causes that were first told of nobody.

use billing::apply::{Told, apply as apply_in};
use billing::rules::SpentRefund;
use billing::store::{Db, Engine, find_workspace, history};
use serde_json::json;

use super::playing::{Step, differ, gone, one, play, same, seen, session, sub};
use crate::store::given::{at, workspace};
use crate::support::ground::clear;
use crate::support::reading::told;
use crate::testing::{self, on_both};

pub(super) const BOTH: [Step; 2] = [Step::Put("ws_1", None), Step::Put("ws_2", None)];

/// `metadata.workspace_id` of a subscription without a customer is edited.
#[tokio::test]
async fn a_subscription_that_moves_from_guest_to_guest() {
    testing::on_sqlite(|db: Db| async move {
        let steps = [
            one(sub("evt_1", "created", 1, "active", None, Some("ws_1"))),
            one(sub("evt_2", "updated", 2, "active", None, Some("ws_2"))),
        ];
        same(&db, &BOTH, &steps, SpentRefund::Negative).await;
    })
    .await;
}

/// First told without a customer, then with one that is linked elsewhere.
#[tokio::test]
async fn a_subscription_that_moves_from_guest_to_customer() {
    testing::on_sqlite(|db: Db| async move {
        let first = [Step::Put("ws_1", None), Step::Put("ws_2", Some("cus_2"))];
        let steps = [
            one(sub("evt_1", "created", 1, "active", None, Some("ws_1"))),
            one(sub("evt_2", "updated", 2, "active", Some("cus_2"), None)),
        ];
        same(&db, &first, &steps, SpentRefund::Negative).await;
    })
    .await;
}

/// First told without a customer, then with one that nobody has linked yet.
#[tokio::test]
async fn a_subscription_that_moves_from_guest_to_an_unlinked_customer() {
    testing::on_sqlite(|db: Db| async move {
        let steps = [
            one(sub("evt_1", "created", 1, "active", None, Some("ws_1"))),
            one(sub("evt_2", "updated", 2, "past_due", Some("cus_1"), None)),
        ];
        same(&db, &[Step::Put("ws_1", None)], &steps, SpentRefund::Negative).await;
    })
    .await;
}

/// The event names another owner than the one that stands, whose workspace is not looked at.
#[tokio::test]
async fn an_end_told_under_a_lesser_owner_reaches_the_workspace() {
    testing::on_sqlite(|db: Db| async move {
        let first = [Step::Put("ws_1", None), Step::Put("ws_2", Some("cus_2"))];
        play(&db, &first, SpentRefund::Negative).await;
        let steps = [
            one(sub("evt_1", "created", 1, "active", Some("cus_2"), None)),
            one(sub("evt_2", "deleted", 2, "canceled", None, Some("ws_1"))),
        ];
        play(&db, &steps, SpentRefund::Negative).await;
        assert_eq!(find_workspace(&db, "ws_2").await.unwrap().unwrap().subscription_status, "deleted");
    })
    .await;
}

/// The first claim names a workspace that never comes, the second one that comes later.
#[tokio::test]
async fn a_second_claim_counts_when_its_workspace_comes() {
    testing::on_sqlite(|db: Db| async move {
        let steps = [
            one(session("evt_1", "completed", 5, "cs_1", Some("cus_1"), Some("ws_typo"))),
            one(session("evt_2", "completed", 9, "cs_2", Some("cus_1"), Some("ws_1"))),
            Step::Put("ws_1", None),
        ];
        same(&db, &[], &steps, SpentRefund::Negative).await;
    })
    .await;
}

/// The same, as the sweep sees it.
#[tokio::test]
async fn the_sweep_finds_who_waits_for_the_second_claim() {
    testing::on_sqlite(|db: Db| async move {
        let steps = [
            one(session("evt_1", "completed", 5, "cs_1", Some("cus_1"), Some("ws_typo"))),
            one(session("evt_2", "completed", 9, "cs_2", Some("cus_1"), Some("ws_1"))),
        ];
        play(&db, &steps, SpentRefund::Negative).await;
        workspace(&db, "ws_1", None).await;
        assert_eq!(billing::store::claimable(&db, 10).await.unwrap(), ["cus_1"]);
    })
    .await;
}

/// Of two tellings of one cause the earlier names nobody: in one batch the other's workspace is forgotten.
#[tokio::test]
async fn twins_in_one_batch_have_their_effect() {
    testing::on_sqlite(|db: Db| async move {
        let (nobody, somebody) = (
            session("evt_1", "completed", 1, "cs_1", None, None),
            session("evt_2", "async_payment_succeeded", 2, "cs_1", Some("cus_1"), Some("ws_1")),
        );
        let first = [Step::Put("ws_1", None)];
        play(&db, &first, SpentRefund::Negative).await;
        play(&db, &[one(nobody.clone()), one(somebody.clone())], SpentRefund::Negative).await;
        let wanted = seen(&db).await;
        clear(&db).await;
        play(&db, &first, SpentRefund::Negative).await;
        play(&db, &[Step::Events(vec![nobody, somebody])], SpentRefund::Negative).await;
        differ(&wanted, &seen(&db).await, "one by one, and together");
    })
    .await;
}

/// A thin event and its snapshot twin, the object being gone: together they mail nobody.
#[tokio::test]
async fn thin_and_snapshot_of_an_end_in_one_batch_mail_it() {
    testing::on_sqlite(|db: Db| async move {
        let first = [Step::Put("ws_1", None), one(sub("evt_1", "created", 1, "active", Some("cus_1"), Some("ws_1")))];
        let twin = sub("evt_z", "deleted", 10, "canceled", Some("cus_1"), Some("ws_1"));
        play(&db, &first, SpentRefund::Negative).await;
        play(&db, &[one(gone()), one(twin.clone())], SpentRefund::Negative).await;
        let wanted = seen(&db).await;
        assert!(wanted.iter().any(|line| line.starts_with("mail ws_1 subscription_ended")), "one by one: {wanted:#?}");
        clear(&db).await;
        play(&db, &first, SpentRefund::Negative).await;
        play(&db, &[Step::Events(vec![gone(), twin])], SpentRefund::Negative).await;
        differ(&wanted, &seen(&db).await, "one by one, and together");
    })
    .await;
}

/// The earliest telling names nobody, and the row keeps that: the link finds nothing to release.
#[tokio::test]
async fn what_was_first_told_of_nobody_is_released_by_the_link() {
    testing::on_sqlite(|db: Db| async move {
        let steps = [
            one(session("evt_1", "completed", 1, "cs_1", None, None)),
            one(session("evt_2", "async_payment_succeeded", 2, "cs_1", Some("cus_1"), None)),
            Step::Put("ws_1", Some("cus_1")),
        ];
        same(&db, &[], &steps, SpentRefund::Negative).await;
    })
    .await;
}

#[tokio::test]
async fn an_end_that_names_nobody_is_told_to_its_workspace() {
    testing::on_sqlite(|db: Db| async move {
        let first = [Step::Put("ws_1", None), one(sub("evt_1", "created", 1, "active", Some("cus_1"), Some("ws_1")))];
        play(&db, &first, SpentRefund::Negative).await;
        play(&db, &[one(gone())], SpentRefund::Negative).await;
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().subscription_status, "deleted");
        let kinds: Vec<String> = history(&db, "ws_1", 10).await.unwrap().into_iter().map(|row| row.kind).collect();
        assert!(kinds.contains(&"subscription_deleted".to_owned()), "{kinds:?}");
    })
    .await;
}

/// A claim that waits is refused by the operator's word, and nobody says so.
#[tokio::test]
async fn a_claim_that_the_operators_word_refuses_is_noted() {
    testing::on_sqlite(|db: Db| async move {
        let steps = [
            one(session("evt_1", "completed", 5, "cs_1", Some("cus_1"), Some("ws_typo"))),
            Step::Put("ws_1", Some("cus_1")),
        ];
        same(&db, &[], &steps, SpentRefund::Negative).await;
    })
    .await;
}

on_both! {
    /// Guests, also of connected accounts, are no customers to people.
    async fn views_and_guests(db: Db) {
        workspace(&db, "ws_1", None).await;
        let mut bodies = Vec::new();
        for account in [None, Some("acct_1")] {
            bodies.push(json!({
                "id": format!("evt_{account:?}"), "object": "event", "type": "customer.subscription.created", "account": account,
                "created": at(1).timestamp(), "livemode": false, "data": {"object": {
                    "id": format!("sub_{}", account.is_some()), "customer": null, "status": "active", "created": at(0).timestamp(),
                    "metadata": {"workspace_id": "ws_1"}, "items": {"data": [{"price": "price_pro", "current_period_end": at(9).timestamp()}]},
                }},
            }));
        }
        let told: Vec<Told> = bodies.iter().map(told).collect();
        let mut tx = db.begin().await.unwrap();
        apply_in(&mut tx, told, &[], SpentRefund::Negative, at(100)).await.unwrap();
        tx.commit().await.unwrap();
        let sql = "select (select count(*) from stripe_customers), (select count(*) from stripe_subscriptions where customer_id is null)";
        let counts: (i64, i64) = match &db {
            Engine::Postgres(pool) => sqlx::query_as(sql).fetch_one(pool).await.unwrap(),
            Engine::Sqlite(file) => sqlx::query_as(sql).fetch_one(&file.reader).await.unwrap(),
        };
        assert_eq!(counts, (0, 2));
        let row = find_workspace(&db, "ws_1").await.unwrap().unwrap();
        assert_eq!((row.subscription_status.as_str(), row.stripe_customer_id), ("active", None));
    }
}
