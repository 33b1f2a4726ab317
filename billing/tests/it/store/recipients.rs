//! Who is written to, and who is not.

use billing::store::{
    Db, EmailFilter, NewEmail, add_recipients, address_email, addressee, find_email, lift_suppression, list_emails,
    list_suppressions, opt_in, opt_out, opt_outs_of, queue_emails, recipients_of, remove_recipients, retell_emails,
    revive_emails, suppress,
};
use serde_json::json;

use super::given::{at, execute, workspace};
use crate::testing::{self, on_both};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

on_both! {
    async fn the_owner_comes_first_and_nobody_twice(db: Db) {
        workspace(&db, "ws_1", None).await;
        workspace(&db, "ws_2", None).await;
        execute(&db, "insert into workspace_members (workspace_id, user_id, role) values ('ws_1', 'user_ws_2', 'billing')").await;
        let mut tx = db.begin().await.unwrap();
        assert_eq!(add_recipients(&mut tx, "ws_1", &texts(&["a@x.org", "WS_1@example.com", "B@x.org"]), at(0)).await.unwrap(), 3);
        assert_eq!(add_recipients(&mut tx, "ws_1", &texts(&["A@x.org"]), at(0)).await.unwrap(), 0);
        assert_eq!(add_recipients(&mut tx, "ws_1", &[], at(0)).await.unwrap(), 0);
        let of = recipients_of(&mut tx, &["ws_1", "ws_none"]).await.unwrap();
        let shown: Vec<_> = of.iter().map(|one| (one.address.as_str(), one.because.as_str(), one.locale.as_deref())).collect();
        assert_eq!(shown[0], ("ws_1@example.com", "owner", Some("pt-BR")));
        assert_eq!(shown[1], ("ws_2@example.com", "member", Some("pt-BR")));
        assert_eq!(shown.len(), 4);
        assert_eq!(remove_recipients(&mut tx, "ws_1", &texts(&["b@X.org", "none@x.org"])).await.unwrap(), 1);
        assert_eq!(recipients_of(&mut tx, &["ws_1"]).await.unwrap().len(), 3);
    }

    async fn a_template_that_is_not_wanted_is_known(db: Db) {
        workspace(&db, "ws_1", None).await;
        let mut tx = db.begin().await.unwrap();
        assert_eq!(opt_out(&mut tx, "ws_1", &texts(&["credits_granted", "trial_ending"]), at(0)).await.unwrap(), 2);
        assert_eq!(opt_out(&mut tx, "ws_1", &texts(&["credits_granted"]), at(1)).await.unwrap(), 0);
        assert_eq!(opt_in(&mut tx, "ws_1", &texts(&["credits_granted"])).await.unwrap(), 1);
        let wanted = addressee(&mut tx, "ws_1", "x@x.org", "credits_granted").await.unwrap().unwrap();
        let unwanted = addressee(&mut tx, "ws_1", "x@x.org", "trial_ending").await.unwrap().unwrap();
        assert_eq!((wanted.opted_out, unwanted.opted_out), (false, true));
        tx.commit().await.unwrap();
        assert_eq!(opt_outs_of(&db, "ws_1").await.unwrap(), ["trial_ending"]);
    }

    async fn an_address_is_suppressed_once_and_lifted(db: Db) {
        workspace(&db, "ws_1", None).await;
        let mut tx = db.begin().await.unwrap();
        assert!(suppress(&mut tx, "WS_1@Example.com", "550 nobody", "em_1", at(1)).await.unwrap());
        assert!(!suppress(&mut tx, "ws_1@example.com", "550 again", "em_2", at(2)).await.unwrap());
        let owner = addressee(&mut tx, "ws_1", "ws_1@EXAMPLE.com", "payment_failed").await.unwrap().unwrap();
        assert_eq!((owner.name.as_deref(), owner.is_owner), (Some("Ada"), true));
        assert_eq!((owner.suppressed.as_deref(), owner.locale.as_deref()), (Some("550 nobody"), Some("pt-BR")));
        assert!(addressee(&mut tx, "ws_none", "x@x.org", "payment_failed").await.unwrap().is_none());
        assert_eq!(recipients_of(&mut tx, &["ws_1"]).await.unwrap()[0].suppressed.as_deref(), Some("550 nobody"));
        tx.commit().await.unwrap();
        let all = list_suppressions(&db, 10).await.unwrap();
        assert_eq!((all.len(), all[0].address.as_str(), all[0].email_id.as_deref()), (1, "ws_1@example.com", Some("em_1")));
        let mut tx = db.begin().await.unwrap();
        assert!(lift_suppression(&mut tx, "ws_1@example.COM").await.unwrap());
        assert!(!lift_suppression(&mut tx, "ws_1@example.com").await.unwrap());
    }

    async fn mails_are_listed_retold_and_revived(db: Db) {
        workspace(&db, "ws_1", None).await;
        let email = |id: &str, template: &'static str, at_seconds: i64| NewEmail {
            id: id.to_owned(),
            workspace_id: "ws_1".to_owned(),
            template,
            recipient: "a@x.org".to_owned(),
            locale: String::new(),
            dedupe_key: id.to_owned(),
            data: json!({"n": 1}),
            created_at: at(at_seconds),
            job_id: format!("job_{id}"),
        };
        let mut tx = db.begin().await.unwrap();
        queue_emails(&mut tx, &[email("em_1", "payment_failed", 1), email("em_2", "trial_expired", 2)]).await.unwrap();
        let told = NewEmail { data: json!({"n": 2}), ..email("em_1", "payment_failed", 1) };
        assert_eq!(retell_emails(&mut tx, &[told, email("em_9", "payment_failed", 1)]).await.unwrap(), 1);
        assert_eq!(retell_emails(&mut tx, &[]).await.unwrap(), 0);
        assert_eq!(address_email(&mut tx, "em_1", "b@x.org", "pt-BR").await.unwrap(), 1);
        billing::store::finish_email(&mut tx, "em_2", "dead", Some("no"), at(3)).await.unwrap();
        tx.commit().await.unwrap();
        let row = find_email(&db, "em_1").await.unwrap().unwrap();
        assert_eq!((row.data.0["n"].as_i64(), row.recipient.as_str(), row.locale.as_str()), (Some(2), "b@x.org", "pt-BR"));
        let ids = async |filter: EmailFilter| -> Vec<String> {
            let rows = list_emails(&db, &EmailFilter { limit: 10, ..filter }).await.unwrap();
            rows.into_iter().map(|row| row.id).collect()
        };
        assert_eq!(ids(EmailFilter::default()).await, ["em_2", "em_1"]);
        assert_eq!(ids(EmailFilter { status: Some("dead".into()), ..EmailFilter::default() }).await, ["em_2"]);
        assert_eq!(ids(EmailFilter { template: Some("payment_failed".into()), ..EmailFilter::default() }).await, ["em_1"]);
        assert!(ids(EmailFilter { workspace_id: Some("ws_2".into()), ..EmailFilter::default() }).await.is_empty());
        let mut tx = db.begin().await.unwrap();
        assert!(revive_emails(&mut tx, Some(&texts(&["em_1", "em_none"]))).await.unwrap().is_empty());
        assert_eq!(revive_emails(&mut tx, None).await.unwrap(), [("em_2".to_owned(), Some("job_em_2".to_owned()))]);
    }
}
