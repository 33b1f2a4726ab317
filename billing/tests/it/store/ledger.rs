//! Credits, once per source.

use std::collections::BTreeMap;

use billing::store::{Db, Grant, find_workspace, ledger_of, record_grants};
use serde_json::json;
use tokio::task::JoinSet;

use super::given::{apply, at, sale, told, workspace};
use crate::testing::{self, on_both};

fn grant(workspace: &str, delta: i64, source: &str) -> Grant {
    Grant { workspace_id: workspace.to_owned(), delta, reason: "purchase", source_id: source.to_owned() }
}

on_both! {
    async fn a_source_is_entered_once(db: Db) {
        workspace(&db, "ws_1", None).await;
        workspace(&db, "ws_2", None).await;
        let mut balances = BTreeMap::from([("ws_1".to_owned(), 0), ("ws_2".to_owned(), 0)]);
        let mut tx = db.begin().await.unwrap();
        let first = [grant("ws_1", 10, "cs_1"), grant("ws_1", 10, "cs_1"), grant("ws_1", -3, "re_1")];
        assert_eq!(record_grants(&mut tx, &first, &mut balances, at(1)).await.unwrap(), 2);
        // Neither the same source again, nor the same source for somebody else; another reason is another source.
        let other_reason = Grant { reason: "period", ..grant("ws_1", 5, "cs_1") };
        let second = [grant("ws_1", 10, "cs_1"), grant("ws_2", 10, "cs_1"), other_reason];
        assert_eq!(record_grants(&mut tx, &second, &mut balances, at(2)).await.unwrap(), 1);
        assert_eq!(record_grants(&mut tx, &[], &mut balances, at(3)).await.unwrap(), 0);
        tx.commit().await.unwrap();

        assert_eq!(balances, BTreeMap::from([("ws_1".to_owned(), 12), ("ws_2".to_owned(), 0)]));
        let ledger = ledger_of(&db, "ws_1", 10).await.unwrap();
        let mut deltas: Vec<i64> = ledger.iter().map(|row| row.delta).collect();
        deltas.sort_unstable();
        assert_eq!(deltas, [-3, 5, 10]);
        assert_eq!(ledger.last().map(|row| (row.delta, row.balance_after)), Some((5, 12)));
        assert_eq!(ledger_of(&db, "ws_1", 1).await.unwrap().len(), 1);
        assert!(ledger_of(&db, "ws_2", 10).await.unwrap().is_empty());
    }

    /// Without the locks, each would add to the balance that it has read, and the last would win.
    async fn sales_at_the_same_moment_lose_nothing(db: Db) {
        workspace(&db, "ws_1", None).await;
        let mut sales = JoinSet::new();
        for number in 0..12_i64 {
            let db = db.clone();
            sales.spawn_local(async move {
                // Two customers of one workspace, and each session told of twice.
                let (session, customer) = (format!("cs_{}", number / 2), format!("cus_{}", number % 4 / 2));
                apply(&db, &[sale(&format!("evt_{number}"), &session, &customer, "ws_1", number)]).await;
            });
        }
        sales.join_all().await;
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 60);
        let ledger = ledger_of(&db, "ws_1", 100).await.unwrap();
        let mut balances: Vec<i64> = ledger.iter().map(|row| row.balance_after).collect();
        balances.sort_unstable();
        assert_eq!(balances, [10, 20, 30, 40, 50, 60]);
    }

    /// A refund that has waited for its sale's transaction knows what the sale was.
    async fn a_refund_and_its_sale_at_the_same_moment_agree(db: Db) {
        workspace(&db, "ws_1", None).await;
        let mut tasks = JoinSet::new();
        for number in 0..12_i64 {
            let (session, payment) = (format!("cs_{number}"), format!("pi_{number}"));
            let bought = told(&json!({
                "id": format!("evt_s{number}"), "type": "checkout.session.completed", "created": at(number).timestamp(),
                "data": {"object": {
                    "id": session, "client_reference_id": "ws_1", "mode": "payment", "payment_status": "paid",
                    "metadata": {"plan": "credits10"}, "amount_total": 1000, "payment_intent": payment,
                }},
            }));
            let refund = |part: i64| {
                told(&json!({
                    "id": format!("evt_r{number}_{part}"), "type": "refund.created", "created": at(number + 1).timestamp(),
                    "data": {"object": {
                        "id": format!("re_{number}_{part}"), "amount": 150, "payment_intent": payment, "status": "succeeded",
                    }},
                }))
            };
            for told in [refund(1), bought, refund(2)] {
                let db = db.clone();
                tasks.spawn_local(async move { apply(&db, &[told]).await });
            }
        }
        tasks.join_all().await;
        // 300 of 1000 take 3 of 10.
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().credits, 12 * 7);
        let ledger = ledger_of(&db, "ws_1", 100).await.unwrap();
        assert_eq!(ledger.iter().map(|row| row.delta).sum::<i64>(), 12 * 7);
        assert_eq!(ledger.iter().filter(|row| row.reason == "refund").count(), 24);
    }
}
