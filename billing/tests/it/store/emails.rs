//! Mails: once per cause, claimed by one sender at a time.

use billing::store::{
    CarriedEmail, Db, NewEmail, claim_email, emails_of, find_email, finish_email, keep_claim, queue_emails,
    requeue_emails, set_email_jobs,
};
use serde_json::json;

use super::given::{at, workspace};
use crate::testing::{self, on_both};

fn email(id: &str, key: &str, plan: &str) -> NewEmail {
    NewEmail {
        id: id.to_owned(),
        workspace_id: "ws_1".to_owned(),
        template: "payment_failed",
        recipient: "ada@example.com".to_owned(),
        locale: "en".to_owned(),
        dedupe_key: key.to_owned(),
        data: json!({"plan": plan}),
        created_at: at(0),
        job_id: format!("job_of_{id}"),
    }
}

async fn queue(db: &Db, emails: &[NewEmail]) -> Vec<String> {
    let mut tx = db.begin().await.unwrap();
    let queued = queue_emails(&mut tx, emails).await.unwrap();
    tx.commit().await.unwrap();
    queued.into_iter().map(|email| email.id).collect()
}

async fn claim(db: &Db, id: &str, seconds: i64) -> bool {
    let mut tx = db.begin().await.unwrap();
    let claimed = claim_email(&mut tx, id, seconds).await.unwrap();
    tx.commit().await.unwrap();
    claimed.is_some()
}

async fn keep(db: &Db, id: &str, attempt: i64, seconds: i64) -> bool {
    let mut tx = db.begin().await.unwrap();
    let kept = keep_claim(&mut tx, id, attempt, seconds).await.unwrap();
    tx.commit().await.unwrap();
    kept
}

async fn finish(db: &Db, id: &str, status: &str, error: Option<&str>) -> bool {
    let mut tx = db.begin().await.unwrap();
    let finished = finish_email(&mut tx, id, status, error, at(50)).await.unwrap();
    tx.commit().await.unwrap();
    finished
}

on_both! {
    async fn a_cause_is_mailed_once(db: Db) {
        workspace(&db, "ws_1", None).await;
        assert_eq!(queue(&db, &[email("em_1", "a", "hobby"), email("em_2", "b", "hobby")]).await.len(), 2);
        assert_eq!(queue(&db, &[email("em_3", "a", "hobby"), email("em_4", "c", "hobby")]).await, ["em_4"]);
        assert!(queue(&db, &[]).await.is_empty());
        let mut keys: Vec<String> =
            emails_of(&db, "ws_1", 10).await.unwrap().into_iter().map(|row| row.dedupe_key).collect();
        keys.sort();
        assert_eq!(keys, ["a", "b", "c"]);
        assert_eq!(emails_of(&db, "ws_1", 1).await.unwrap()[0].dedupe_key, "c", "the newest");
    }

    /// What an earlier event says is taken over until somebody has tried to send it; then it stays what was sent.
    async fn new_data_counts_until_the_first_attempt(db: Db) {
        workspace(&db, "ws_1", None).await;
        queue(&db, &[email("em_1", "a", "pro")]).await;
        assert!(queue(&db, &[email("em_2", "a", "hobby")]).await.is_empty());
        assert_eq!(find_email(&db, "em_1").await.unwrap().unwrap().data.0["plan"], "hobby");
        assert!(claim(&db, "em_1", 60).await);
        queue(&db, &[email("em_3", "a", "pro")]).await;
        assert_eq!(find_email(&db, "em_1").await.unwrap().unwrap().data.0["plan"], "hobby");
    }

    async fn one_sender_at_a_time(db: Db) {
        workspace(&db, "ws_1", None).await;
        queue(&db, &[email("em_1", "a", "hobby")]).await;
        assert!(!claim(&db, "em_nobody", 60).await);
        // A claim that is over as soon as it is made, but for who keeps it.
        assert!(claim(&db, "em_1", -1).await);
        assert!(keep(&db, "em_1", 1, 60).await);
        assert!(!claim(&db, "em_1", 60).await, "it is kept");
        assert!(keep(&db, "em_1", 1, -1).await);
        assert!(claim(&db, "em_1", 60).await, "the claim is over");
        assert!(!keep(&db, "em_1", 1, 60).await, "it is another's");
        assert!(!claim(&db, "em_1", 60).await, "somebody is at it");
        assert!(finish(&db, "em_1", "queued", Some("the server is busy")).await);
        assert!(!keep(&db, "em_1", 2, 60).await, "it is nobody's any more");
        assert!(claim(&db, "em_1", 60).await, "given back");
        assert!(finish(&db, "em_1", "sent", None).await);
        assert!(!finish(&db, "em_1", "dead", Some("late")).await, "finished once");
        assert!(!claim(&db, "em_1", -1).await);
        let row = find_email(&db, "em_1").await.unwrap().unwrap();
        assert_eq!((row.status.as_str(), row.attempts, row.sent_at, row.last_error), ("sent", 3, Some(at(50)), None));
    }

    async fn the_dead_are_given_back(db: Db) {
        workspace(&db, "ws_1", None).await;
        queue(&db, &[email("em_1", "a", "hobby"), email("em_2", "b", "hobby"), email("em_3", "c", "hobby")]).await;
        finish(&db, "em_2", "dead", Some("no such address")).await;
        let carried = CarriedEmail { id: "em_1".to_owned(), job_id: "job_1".to_owned() };
        let mut tx = db.begin().await.unwrap();
        assert_eq!(set_email_jobs(&mut tx, &[carried]).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let ids = ["em_1".to_owned(), "em_2".to_owned()];
        assert_eq!(requeue_emails(&mut tx, &ids).await.unwrap(), 1, "only the dead one");
        assert_eq!(requeue_emails(&mut tx, &[]).await.unwrap(), 0);
        tx.commit().await.unwrap();
        assert_eq!(find_email(&db, "em_2").await.unwrap().unwrap().status, "queued");
    }
}
