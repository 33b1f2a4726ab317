//! What was compared with Stripe, and what there is to compare.

use std::collections::HashSet;

use billing::store::{
    Db, Reconciliation, known_events, list_reconciliations, open_subscriptions, reconciled_until, record_reconciliation,
};
use serde_json::json;
use sqlx::types::Json;

use super::given::{at, execute};
use crate::testing::{self, on_both};

const DAY: i64 = 86_400;

fn done(id: &str, complete: bool, until: i64) -> Reconciliation {
    Reconciliation {
        id: id.to_owned(),
        complete,
        since: at(until - 3600),
        until: at(until),
        started_at: at(until),
        finished_at: at(until + 1),
        events_listed: 7,
        events_missing: 1,
        subscriptions_listed: 3,
        subscriptions_differing: 0,
        found: Json(json!({"missing": [{"id": "evt_1"}]})),
    }
}

on_both! {
    async fn the_next_begins_where_the_last_complete_one_ended(db: Db) {
        let now = at(300 * DAY);
        assert_eq!(reconciled_until(&db, now).await.unwrap(), None);
        for (id, complete, until) in [("b", true, 200 * DAY), ("a", true, 100 * DAY), ("c", false, 201 * DAY)] {
            record_reconciliation(&db, &done(id, complete, until)).await.unwrap();
        }
        assert_eq!(reconciled_until(&db, now).await.unwrap(), Some(at(200 * DAY)));
        let listed = list_reconciliations(&db, 10).await.unwrap();
        assert_eq!(listed.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["c", "b"], "the other is of long ago");
        assert_eq!((listed[0].events_missing, &listed[0].found.0["missing"][0]["id"]), (1, &json!("evt_1")));
        assert_eq!(list_reconciliations(&db, 1).await.unwrap().len(), 1);
        record_reconciliation(&db, &Reconciliation { until: at(301 * DAY), ..done("d", true, 200 * DAY) }).await.unwrap();
        assert_eq!(reconciled_until(&db, now).await.unwrap(), Some(at(200 * DAY)), "the other is of a clock that was ahead");
    }

    async fn an_event_is_known_whatever_became_of_it(db: Db) {
        for (id, status) in [("evt_1", "received"), ("evt_2", "dead"), ("evt_3", "ignored")] {
            let sql = format!(
                "insert into stripe_events (id, type, livemode, created, payload, received_at, status)
                 values ('{id}', 'invoice.paid', false, '2026-01-01T00:00:00+00:00', '{{}}', '2026-01-01T00:00:00+00:00', '{status}')"
            );
            execute(&db, &sql).await;
        }
        let known = known_events(&db, &["evt_3", "evt_0", "evt_1", "evt_2"]).await.unwrap();
        assert_eq!(known, HashSet::from(["evt_1", "evt_2", "evt_3"].map(ToOwned::to_owned)));
        assert!(known_events(&db, &[]).await.unwrap().is_empty());
    }

    async fn subscriptions_that_have_not_ended_are_gone_through_page_by_page(db: Db) {
        let rows = [
            ("sub_1", "subscription", "", "cus_2", "active"), ("sub_2", "subscription", "", "cus_1", "past_due"),
            ("sub_3", "subscription", "", "cus_1", "canceled"), ("sub_4", "subscription", "", "cus_1", "incomplete_expired"),
            ("sub_5", "subscription", "acct_1", "cus_1", "active"), ("pi_1", "payment_intent", "", "cus_1", "active"),
            ("sub_6", "subscription", "", "cus_1", "trialing"),
        ];
        for (id, kind, scope, owner, status) in rows {
            let sql = format!(
                "insert into stripe_objects (kind, id, scope, owner, facts, writes, updated_at)
                 values ('{kind}', '{id}', '{scope}', '{owner}', '{{\"status\": \"{status}\"}}', '[]', '2026-01-01T00:00:00+00:00')"
            );
            execute(&db, &sql).await;
        }
        let (mut after, mut found) = ((String::new(), String::new()), Vec::new());
        loop {
            let page = open_subscriptions(&db, "", &after, 1).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.clone();
            found.extend(page.into_iter().map(|(_, id)| id));
        }
        assert_eq!(found, ["sub_2", "sub_6", "sub_1"]);
    }
}
