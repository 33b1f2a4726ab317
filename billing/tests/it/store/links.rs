//! Whose a customer is: the first link stands, and what comes later is refused and noted.

use billing::apply::{LinkError, Told, apply as apply_in, link_by_hand};
use billing::rules::{Kind, SpentRefund};
use billing::store::{Db, ObjectRow, customers_of, find_workspace, history, ledger_of, objects_of};
use serde_json::json;
use tokio::task::JoinSet;

use super::given::{apply, at, sale, told, workspace};
use crate::testing::{self, on_both};

fn subscription(event: &str, seconds: i64, status: &str, flag: bool) -> Told {
    told(&json!({
        "id": event, "type": "customer.subscription.updated", "created": at(seconds).timestamp(),
        "data": {
            "object": {
                "id": "sub_1", "customer": "cus_1", "status": status, "cancel_at_period_end": flag,
                "items": {"data": [{"price": "price_hobby", "current_period_end": at(9_000).timestamp()}]},
            },
            "previous_attributes": {"status": "incomplete"},
        },
    }))
}

async fn customer(db: &Db) -> ObjectRow {
    let mut tx = db.begin().await.unwrap();
    objects_of(&mut tx, &[(Kind::Customer, "cus_1")], &[]).await.unwrap().remove(0)
}

on_both! {
    async fn the_first_link_stands_and_a_second_claim_is_noted(db: Db) {
        workspace(&db, "ws_1", None).await;
        workspace(&db, "ws_2", None).await;
        apply(&db, &[sale("evt_1", "cs_1", "cus_1", "ws_1", 10)]).await;
        // Made earlier and yet too late: the link is there.
        let applied = apply(&db, &[sale("evt_2", "cs_2", "cus_1", "ws_2", 5)]).await;
        assert_eq!(applied.owners, [(Some("cus_1".to_owned()), Some("ws_1".to_owned()))]);
        apply(&db, &[sale("evt_2", "cs_2", "cus_1", "ws_2", 5)]).await;
        let first = find_workspace(&db, "ws_1").await.unwrap().unwrap();
        assert_eq!((first.stripe_customer_id.as_deref(), first.credits), (Some("cus_1"), 20));
        let second = find_workspace(&db, "ws_2").await.unwrap().unwrap();
        assert_eq!((second.stripe_customer_id, second.credits), (None, 0));
        let refused: Vec<_> =
            history(&db, "ws_1", 10).await.unwrap().into_iter().filter(|row| row.kind == "link_refused").collect();
        assert_eq!(refused.len(), 1);
        let wanted = json!({"customer": "cus_1", "claimed_by": "ws_2", "linked_to": "ws_1"});
        assert_eq!((&refused[0].data.0, refused[0].stripe_event_id.as_deref()), (&wanted, Some("evt_2")));

        let mut tx = db.begin().await.unwrap();
        let by_hand = link_by_hand(&mut tx, "ws_2", "cus_1", at(20)).await;
        assert!(matches!(by_hand, Err(LinkError::Elsewhere { workspace_id, .. }) if workspace_id == "ws_1"));
        link_by_hand(&mut tx, "ws_1", "cus_1", at(20)).await.unwrap();
    }

    async fn a_claim_waits_for_its_workspace(db: Db) {
        apply(&db, &[sale("evt_1", "cs_1", "cus_1", "ws_1", 10)]).await;
        workspace(&db, "ws_1", None).await;
        let mut tx = db.begin().await.unwrap();
        let also = customers_of(&mut tx, &["ws_1"]).await.unwrap();
        assert_eq!(also, ["cus_1"]);
        let applied = apply_in(&mut tx, Vec::new(), &also, SpentRefund::Negative, at(20)).await.unwrap();
        assert_eq!(applied.emails.len(), 1);
        tx.commit().await.unwrap();
        let row = find_workspace(&db, "ws_1").await.unwrap().unwrap();
        assert_eq!((row.stripe_customer_id.as_deref(), row.credits, row.fresh_as_of), (Some("cus_1"), 10, Some(at(10))));
        assert_eq!(ledger_of(&db, "ws_1", 10).await.unwrap().len(), 1);
    }

    /// Else every event would write its customer for nothing but that.
    async fn a_customer_that_is_linked_is_not_written_for_being_heard_of(db: Db) {
        apply(&db, &[sale("evt_1", "cs_1", "cus_1", "ws_1", 10)]).await;
        assert_eq!(customer(&db).await.object.time("seen"), Some(at(10)), "while it waits it knows it itself");
        workspace(&db, "ws_1", None).await;
        let fresh = async || find_workspace(&db, "ws_1").await.unwrap().unwrap().fresh_as_of;
        apply(&db, &[subscription("evt_2", 5, "active", false)]).await;
        let linked = customer(&db).await;
        assert_eq!((linked.object.register("seen"), fresh().await), (None, Some(at(10))), "the workspace has it now");
        for (event, seconds, newest) in [("evt_4", 40, 40), ("evt_3", 30, 40)] {
            apply(&db, &[subscription(event, seconds, "active", false)]).await;
            assert_eq!((customer(&db).await.version, fresh().await), (linked.version, Some(at(newest))), "{event}");
        }
    }

    async fn of_two_claims_that_wait_the_earlier_one_counts(db: Db) {
        for (event, session, workspace, seconds) in [("evt_a", "cs_1", "ws_2", 9), ("evt_b", "cs_2", "ws_1", 5)] {
            apply(&db, &[sale(event, session, "cus_1", workspace, seconds)]).await;
        }
        workspace(&db, "ws_1", None).await;
        workspace(&db, "ws_2", None).await;
        let mut tx = db.begin().await.unwrap();
        let also = customers_of(&mut tx, &["ws_2", "ws_1"]).await.unwrap();
        apply_in(&mut tx, Vec::new(), &also, SpentRefund::Negative, at(20)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 20);
        assert_eq!(find_workspace(&db, "ws_2").await.unwrap().unwrap().credits, 0);
    }

    /// Each reads the object, merges and writes it back; without the owner's lock one would undo the other.
    async fn events_of_one_customer_at_the_same_moment_lose_nothing(db: Db) {
        workspace(&db, "ws_1", None).await;
        for round in 0..5_i64 {
            let base = round * 100;
            let mut workers = JoinSet::new();
            for number in 0..6_i64 {
                let db = db.clone();
                workers.spawn_local(async move {
                    let event = format!("evt_{round}_{number}");
                    let told = match number {
                        0 => sale(&event, &format!("cs_{round}"), "cus_1", "ws_1", base),
                        5 => subscription(&event, base + 5, "active", true),
                        _ => subscription(&event, base + number, "past_due", false),
                    };
                    apply(&db, &[told]).await;
                });
            }
            workers.join_all().await;
            let row = find_workspace(&db, "ws_1").await.unwrap().unwrap();
            assert_eq!(row.subscription_status, "cancel_at_period_end", "round {round}");
            assert_eq!((row.credits, row.fresh_as_of), (10 * (round + 1), Some(at(base + 5))), "round {round}");
        }
        let kinds = history(&db, "ws_1", 100).await.unwrap();
        assert_eq!(kinds.iter().filter(|row| row.kind == "subscription_updated").count(), 25);
    }
}
