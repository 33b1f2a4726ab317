//! The sweep of own trials: each once, whatever the number of workers.

use billing::apply::{trials_ending, trials_expired};
use billing::store::{Db, emails_of, expire_trials, find_workspace, history, remind_trials};
use tokio::task::JoinSet;

use super::given::{at, policy, workspace};
use crate::testing::{self, on_both};

const DAY: i64 = 86_400;

on_both! {
    async fn each_trial_is_marked_once_by_several_sweeps(db: Db) {
        for number in 0..10 {
            workspace(&db, &format!("ws_{number}"), Some(14)).await;
        }
        workspace(&db, "ws_longer", Some(15)).await;
        workspace(&db, "ws_none", None).await;
        let mut sweeps = JoinSet::new();
        for _ in 0..4 {
            let db = db.clone();
            sweeps.spawn_local(async move {
                let mut tx = db.begin().await.unwrap();
                let swept = trials_expired(&mut tx, &policy(), 4, at(14 * DAY)).await.unwrap();
                tx.commit().await.unwrap();
                assert_eq!(swept.emails.len(), swept.marked);
                swept.marked
            });
        }
        let mut marked: usize = sweeps.join_all().await.into_iter().sum();
        // A sweep passes over what another has locked; the next one takes it.
        let mut tx = db.begin().await.unwrap();
        marked += trials_expired(&mut tx, &policy(), 10, at(14 * DAY)).await.unwrap().marked;
        tx.commit().await.unwrap();
        assert_eq!(marked, 10);
        for number in 0..10 {
            let id = format!("ws_{number}");
            assert_eq!(find_workspace(&db, &id).await.unwrap().unwrap().subscription_status, "free");
            let history = history(&db, &id, 10).await.unwrap();
            assert_eq!(history.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), ["trial_expired"]);
            assert_eq!(history[0].occurred_at, at(14 * DAY));
            let emails = emails_of(&db, &id, 10).await.unwrap();
            assert_eq!(emails.len(), 1);
            assert_eq!((emails[0].template.as_str(), emails[0].locale.as_str()), ("trial_expired", "pt-BR"));
            assert_eq!(emails[0].recipient, format!("{id}@example.com"));
        }
        assert_eq!(find_workspace(&db, "ws_longer").await.unwrap().unwrap().subscription_status, "trialing");
    }

    async fn each_reminder_is_queued_once_by_several_sweeps(db: Db) {
        for number in 0..10 {
            workspace(&db, &format!("ws_{number}"), Some(14)).await;
        }
        workspace(&db, "ws_longer", Some(30)).await;
        workspace(&db, "ws_none", None).await;
        for (day, of_all) in [(10, 0), (11, 1), (12, 1), (13, 2), (14, 2)] {
            let mut sweeps = JoinSet::new();
            for _ in 0..3 {
                let db = db.clone();
                sweeps.spawn_local(async move {
                    let mut tx = db.begin().await.unwrap();
                    let swept = trials_ending(&mut tx, &policy(), 4, at(day * DAY)).await.unwrap();
                    tx.commit().await.unwrap();
                    assert_eq!(swept.emails.len(), swept.marked);
                });
            }
            sweeps.join_all().await;
            let mut tx = db.begin().await.unwrap();
            trials_ending(&mut tx, &policy(), 10, at(day * DAY)).await.unwrap();
            tx.commit().await.unwrap();
            for number in 0..10 {
                let emails = emails_of(&db, &format!("ws_{number}"), 10).await.unwrap();
                assert_eq!(emails.len(), of_all, "day {day}");
            }
        }
        let keys: Vec<String> = emails_of(&db, "ws_1", 10).await.unwrap().into_iter().map(|row| row.dedupe_key).collect();
        let ends_at = at(14 * DAY).timestamp();
        assert_eq!(keys, [format!("trial_ending:ws_1:{ends_at}:3"), format!("trial_ending:ws_1:{ends_at}:1")]);
        assert!(emails_of(&db, "ws_longer", 10).await.unwrap().is_empty());
    }

    async fn a_reminder_that_is_late_gives_way_to_the_next(db: Db) {
        workspace(&db, "ws_1", Some(14)).await;
        let mut tx = db.begin().await.unwrap();
        let ending = remind_trials(&mut tx, at(13 * DAY + 1), 10).await.unwrap();
        assert_eq!(ending.iter().map(|trial| trial.trial_reminder_days).collect::<Vec<_>>(), [0]);
        assert!(remind_trials(&mut tx, at(13 * DAY + 2), 10).await.unwrap().is_empty());
    }

    async fn a_trial_ends_at_its_second_and_not_before(db: Db) {
        workspace(&db, "ws_1", Some(14)).await;
        let mut tx = db.begin().await.unwrap();
        assert!(expire_trials(&mut tx, at(14 * DAY - 1), 10).await.unwrap().is_empty());
        let expired = expire_trials(&mut tx, at(14 * DAY), 10).await.unwrap();
        assert_eq!(expired.iter().map(|trial| (trial.id.as_str(), trial.trial_ends_at)).collect::<Vec<_>>(), [("ws_1", at(14 * DAY))]);
        assert!(expire_trials(&mut tx, at(15 * DAY), 10).await.unwrap().is_empty());
        tx.commit().await.unwrap();
    }
}
