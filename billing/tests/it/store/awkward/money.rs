//! Money that goes back, told late, twice, by a fetched object, or under two payments; and plans that become known.

use billing::apply::{Told, apply as apply_in};
use billing::rules::{Reading, SpentRefund};
use billing::store::{Db, find_workspace};
use billing::stripe::{Answers, read};
use serde_json::json;

use super::playing::{Step, charge, event, one, play, refund, session, thin};
use crate::store::given::{at, workspace};
use crate::support::reading::catalogue;
use crate::testing::{self, on_both};

/// A thin event of the refund's creation is fetched after the refund has failed; the charge told of it before.
#[tokio::test]
async fn a_failed_refund_takes_nothing_whatever_told_of_it() {
    testing::on_sqlite(|db: Db| async move {
        let fetched = json!({
            "id": "re_1", "object": "refund", "amount": 450, "payment_intent": "pi_cs_1", "charge": "ch_1", "status": "failed",
            "created": at(10).timestamp(),
        });
        let events = [
            Step::Put("ws_1", None),
            one(session("evt_1", "completed", 1, "cs_1", Some("cus_1"), Some("ws_1"))),
            one(charge("evt_2", "pi_cs_1", 450, 11)),
            one(refund("evt_3", "failed", "re_1", 450, "pi_cs_1", 10, 50, "failed")),
        ];
        play(&db, &events, SpentRefund::Negative).await;
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 10, "by snapshots");
        let related = json!({"type": "refund", "id": "re_1"});
        play(&db, &[one(thin("evt_4", "v1.refund.created", 10, &related, fetched))], SpentRefund::Negative).await;
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 10, "and the thin twin");
    })
    .await;
}

/// A refund that has failed is told of again, later (its metadata were edited).
#[tokio::test]
async fn a_failure_that_is_told_again_stays_where_it_was() {
    testing::on_sqlite(|db: Db| async move {
        let events = [
            Step::Put("ws_1", None),
            one(session("evt_1", "completed", 1, "cs_1", Some("cus_1"), Some("ws_1"))),
            one(refund("evt_2", "failed", "re_1", 450, "pi_cs_1", 10, 20, "failed")),
            // Another refund, of which the charge alone tells.
            one(charge("evt_3", "pi_cs_1", 450, 30)),
        ];
        play(&db, &events, SpentRefund::Negative).await;
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 5);
        let again = refund("evt_4", "updated", "re_1", 450, "pi_cs_1", 10, 40, "failed");
        play(&db, &[one(again)], SpentRefund::Negative).await;
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 5, "the failure is told again");
    })
    .await;
}

on_both! {
    /// Two payments of one sale tell of one refund: by its charge, and by its intent.
    async fn one_refund_of_two_payments_is_entered(db: Db) {
        workspace(&db, "ws_1", None).await;
        let invoice = json!({
            "id": "in_1", "customer": "cus_1", "status": "paid", "billing_reason": "subscription_cycle", "total": 900,
            "amount_paid": 900, "created": at(1).timestamp(), "metadata": {"workspace_id": "ws_1"}, "payment_intent": "pi_1",
            "payments": {"data": [{"payment": {"type": "charge", "charge": "ch_1"}}]},
            "subscription": "sub_1", "lines": {"data": [{
                "amount": 900, "type": "subscription", "price": {"id": "price_pro"}, "period": {"end": at(2_000_000).timestamp()},
            }]},
        });
        let by_charge = json!({"id": "re_1", "amount": 450, "charge": "ch_1", "status": "succeeded", "created": at(9).timestamp()});
        let by_intent = json!({"id": "re_1", "amount": 450, "payment_intent": "pi_1", "status": "succeeded", "created": at(9).timestamp()});
        let events = [
            event("evt_1", "invoice.paid", 1, &invoice),
            event("evt_2", "charge.refund.updated", 10, &by_charge),
            event("evt_3", "refund.updated", 10, &by_intent),
        ];
        for told in events {
            let mut tx = db.begin().await.unwrap();
            apply_in(&mut tx, vec![told], &[], SpentRefund::Negative, at(100)).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 50);
    }
}

/// The price of an invoice is given to a plan, and its event replayed.
#[tokio::test]
async fn a_replay_after_the_price_became_known_tells_the_plan() {
    testing::on_sqlite(|db: Db| async move {
        let body = json!({
            "id": "evt_1", "object": "event", "type": "invoice.paid", "created": at(1).timestamp(), "livemode": false,
            "data": {"object": {
                "id": "in_1", "customer": "cus_1", "status": "paid", "billing_reason": "subscription_cycle", "total": 900,
                "amount_paid": 900, "created": at(1).timestamp(), "subscription": "sub_1", "metadata": {"workspace_id": "ws_1"},
                "lines": {"data": [{
                    "amount": 900, "type": "subscription", "price": {"id": "price_new"}, "period": {"end": at(2_000_000).timestamp()},
                }]},
            }},
        });
        let told_with = |catalogue: &billing::Catalogue| match read(&body, catalogue, &Answers::default()) {
            Ok(Reading::Facts { objects, notes }) => {
                Told { event_id: "evt_1".to_owned(), created: at(1), livemode: false, objects, notes }
            }
            other => panic!("{other:?}"),
        };
        let known = billing::Catalogue::standard(Some("price_new".into()), None, None);
        play(&db, &[Step::Put("ws_1", None), one(told_with(&catalogue())), one(told_with(&known))], SpentRefund::Negative).await;
        let row = find_workspace(&db, "ws_1").await.unwrap().unwrap();
        assert_eq!(row.subscription_plan.as_deref(), Some("hobby"));
    })
    .await;
}

/// No credits were sold; still the refund is the workspace's.
#[tokio::test]
async fn a_refund_of_what_gave_no_credits_is_listed_with_its_workspace() {
    testing::on_sqlite(|db: Db| async move {
        play(&db, &[Step::Put("ws_1", None)], SpentRefund::Negative).await;
        let mut sale = session("evt_1", "completed", 1, "cs_1", Some("cus_1"), Some("ws_1"));
        sale.notes.clear();
        play(&db, &[one(sale)], SpentRefund::Negative).await;
        let mut tx = db.begin().await.unwrap();
        let told = refund("evt_2", "created", "re_1", 450, "pi_cs_1", 9, 9, "succeeded");
        let applied = apply_in(&mut tx, vec![told], &[], SpentRefund::Negative, at(20)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(applied.owners[0].1.as_deref(), Some("ws_1"), "{:?}", applied.owners);
    })
    .await;
}
