//! The history: once per cause, named after the earliest event, and waiting where its workspace is unknown.

use billing::store::{AuditEntry, Db, has_happened, history, record_audit, release_audit};

use super::given::{at, entry, workspace};
use crate::testing::{self, on_both};

/// Records entries in a transaction each, and tells which were news.
async fn record(db: &Db, entries: &[AuditEntry]) -> Vec<bool> {
    let mut news = Vec::new();
    for entry in entries {
        let mut tx = db.begin().await.unwrap();
        news.push(!record_audit(&mut tx, std::slice::from_ref(entry), at(9)).await.unwrap().is_empty());
        tx.commit().await.unwrap();
    }
    news
}

on_both! {
    async fn what_has_happened_is_known_by_its_cause(db: Db) {
        record(&db, &[entry("in_1:1", Some("cus_1"), None, "evt_1", 1)]).await;
        let mut tx = db.begin().await.unwrap();
        assert!(has_happened(&mut tx, "payment_failed", "in_1:1").await.unwrap());
        assert!(!has_happened(&mut tx, "payment_action_required", "in_1:1").await.unwrap());
        assert!(!has_happened(&mut tx, "payment_failed", "in_1:2").await.unwrap());
    }

    async fn the_earliest_event_is_named_in_either_order(db: Db) {
        // Within one second the smaller id, byte by byte: capitals come first, whatever the database's collation.
        let pairs = [(("evt_b", 5), ("evt_a", 6)), (("evt_a", 5), ("evt_b", 5)), (("evt_B", 5), ("evt_a", 5))];
        for (number, (earlier, later)) in pairs.into_iter().enumerate() {
            let causes = [format!("in_{number}:forth"), format!("in_{number}:back")];
            let of = |cause: &str, (event, seconds): (&str, i64)| entry(cause, Some("cus_1"), Some("ws_1"), event, seconds);
            let forth = record(&db, &[of(&causes[0], earlier), of(&causes[0], later), of(&causes[0], earlier)]).await;
            assert_eq!(forth, [true, false, false], "{earlier:?} {later:?}");
            let back = record(&db, &[of(&causes[1], later), of(&causes[1], earlier), of(&causes[1], later)]).await;
            assert_eq!(back, [true, true, false], "{earlier:?} {later:?}");
            let rows = history(&db, "ws_1", 100).await.unwrap();
            for cause in causes {
                let row = rows.iter().find(|row| row.cause == cause).unwrap();
                assert_eq!(row.stripe_event_id.as_deref(), Some(earlier.0), "{cause}");
                assert_eq!((row.occurred_at, &row.data.0["told_by"]), (at(earlier.1), &earlier.0.into()), "{cause}");
            }
        }
        assert_eq!(history(&db, "ws_1", 100).await.unwrap().len(), 6);
        assert_eq!(history(&db, "ws_1", 2).await.unwrap().len(), 2);
    }

    async fn what_waits_is_released_once_to_its_workspace(db: Db) {
        workspace(&db, "ws_1", None).await;
        assert_eq!(record(&db, &[entry("in_1:1", Some("cus_1"), None, "evt_2", 2)]).await, [false]);
        assert_eq!(record(&db, &[entry("in_1:1", Some("cus_1"), None, "evt_1", 1)]).await, [false]);
        assert_eq!(record(&db, &[entry("in_2:1", Some("cus_2"), None, "evt_3", 3)]).await, [false]);
        let mut tx = db.begin().await.unwrap();
        let released = release_audit(&mut tx, &[("cus_1", "ws_1")]).await.unwrap();
        assert_eq!(released.len(), 1);
        assert_eq!((released[0].workspace_id.as_str(), released[0].occurred_at), ("ws_1", at(1)));
        assert_eq!(released[0].note.data["told_by"], "evt_1");
        assert!(release_audit(&mut tx, &[("cus_1", "ws_1")]).await.unwrap().is_empty());
        assert!(release_audit(&mut tx, &[]).await.unwrap().is_empty());
        tx.commit().await.unwrap();
        let rows = history(&db, "ws_1", 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.cause.as_str()).collect::<Vec<_>>(), ["in_1:1"]);
    }

    /// A later event may know the workspace first; the earlier one stays the one that is named.
    async fn a_workspace_learned_later_is_news_and_changes_nothing_else(db: Db) {
        let waiting = entry("in_1:1", Some("workspace:ws_1"), None, "evt_1", 1);
        let known = entry("in_1:1", Some("cus_1"), Some("ws_1"), "evt_2", 2);
        assert_eq!(record(&db, &[waiting, known.clone(), known]).await, [false, true, false]);
        let rows = history(&db, "ws_1", 10).await.unwrap();
        assert_eq!(rows[0].stripe_event_id.as_deref(), Some("evt_1"));
        assert_eq!(rows[0].data.0["told_by"], "evt_1");
    }
}
