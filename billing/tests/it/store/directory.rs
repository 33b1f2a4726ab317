//! The workspace directory, and the objects as they are kept.

use billing::rules::fact::{OWN, WriteKey};
use billing::rules::{Kind, Object, WorkspaceState};
use billing::store::{
    Db, Member, ObjectRow, claimable, customers_of, drop_claims, find_workspace, keep_claims, list_workspaces,
    lock_owners, lock_workspaces, objects_of, owner_of, put_owner, put_workspace, save_objects, save_states,
};
use serde_json::json;

use super::given::{at, workspace};
use crate::testing::{self, on_both};

fn object(kind: Kind, id: &str, owner: Option<&str>) -> ObjectRow {
    let mut object = Object::new(kind, id);
    object.owner = owner.map(ToOwned::to_owned);
    let key = WriteKey { terminal: false, at: 5, rank: OWN, changed: true, event: "evt_1".into() };
    object.write("status", json!("ação \"\u{1F4B6}\""), &key);
    object.write("nothing", json!(null), &key);
    ObjectRow { livemode: Some(true), ..ObjectRow::new(object) }
}

on_both! {
    async fn a_workspace_is_put_once_and_renamed_after(db: Db) {
        let mut tx = db.begin().await.unwrap();
        assert!(put_workspace(&mut tx, "ws_1", "One", Some(at(10)), at(0)).await.unwrap());
        assert!(!put_workspace(&mut tx, "ws_1", "Uno", Some(at(99)), at(1)).await.unwrap());
        assert!(put_workspace(&mut tx, "ws_2", "Two", None, at(0)).await.unwrap());
        tx.commit().await.unwrap();
        let row = find_workspace(&db, "ws_1").await.unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.trial_ends_at), ("Uno", Some(at(10))), "a workspace has one trial");
        assert_eq!(row.subscription_status, "trialing");
        assert_eq!(find_workspace(&db, "ws_2").await.unwrap().unwrap().subscription_status, "free");
        assert!(find_workspace(&db, "ws_3").await.unwrap().is_none());
        let after = list_workspaces(&db, "ws_1", 10).await.unwrap();
        assert_eq!(after.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["ws_2"]);
        assert_eq!(list_workspaces(&db, "", 1).await.unwrap().len(), 1);
    }

    async fn an_owner_is_known_by_address_whatever_its_case(db: Db) {
        workspace(&db, "ws_1", None).await;
        workspace(&db, "ws_2", None).await;
        let mut tx = db.begin().await.unwrap();
        let again = Member { email: "WS_1@Example.com", name: None, locale: Some("de") };
        assert_eq!(put_owner(&mut tx, "ws_2", &again, "user_new", at(1)).await.unwrap(), "user_ws_1");
        tx.commit().await.unwrap();
        let owner = owner_of(&db, "ws_2").await.unwrap().unwrap();
        assert_eq!((owner.email.as_str(), owner.name.as_deref()), ("ws_1@example.com", Some("Ada")));
        assert_eq!(owner.locale, "de");
        assert!(owner_of(&db, "ws_3").await.unwrap().is_none());
    }

    async fn a_state_is_read_as_it_was_written(db: Db) {
        workspace(&db, "ws_1", None).await;
        let state = WorkspaceState {
            stripe_customer_id: Some("cus_1".to_owned()),
            subscription_id: Some("sub_1".to_owned()),
            subscription_status: "past_due".to_owned(),
            subscription_plan: Some("pro".to_owned()),
            current_period_end: Some(at(1)),
            cancel_at_period_end: true,
            cancel_at: Some(at(2)),
            past_due_since: Some(at(3)),
            date_paid: Some(at(4)),
            fresh_as_of: Some(at(5)),
        };
        let mut tx = db.begin().await.unwrap();
        assert_eq!(save_states(&mut tx, &[("ws_1", &state, -7), ("ws_none", &state, 0)], at(6)).await.unwrap(), 1);
        let locked = lock_workspaces(&mut tx, &["ws_none", "ws_1"]).await.unwrap();
        assert_eq!(locked.iter().map(|row| (row.state(), row.credits)).collect::<Vec<_>>(), [(state, -7)]);
        tx.commit().await.unwrap();
    }

    async fn objects_are_read_as_they_were_written(db: Db) {
        workspace(&db, "ws_1", None).await;
        let linked = ObjectRow { workspace_id: Some("ws_1".into()), ..object(Kind::Customer, "cus_1", Some("cus_1")) };
        let rows = [
            linked,
            object(Kind::Customer, "cus_2", Some("cus_2")),
            object(Kind::Customer, "cus_3", Some("cus_3")),
            object(Kind::Subscription, "sub_1", Some("cus_1")),
            object(Kind::Invoice, "in_1", Some("cus_1")),
            object(Kind::CheckoutSession, "cs_1", None),
        ];
        let mut tx = db.begin().await.unwrap();
        lock_owners(&mut tx, &["cus_2", "cus_1", "cus_1"]).await.unwrap();
        save_objects(&mut tx, rows.iter(), at(1)).await.unwrap();
        let again = ObjectRow { version: 1, ..rows[0].clone() };
        save_objects(&mut tx, std::iter::once(&again), at(2)).await.unwrap();
        let stale = save_objects(&mut tx, std::iter::once(&again), at(3)).await;
        assert!(stale.is_err(), "it has been written since it was read");
        // The named one, and of the owner the customer and the subscriptions, but not the invoices.
        let found = objects_of(&mut tx, &[(Kind::CheckoutSession, "cs_1")], &["cus_1"]).await.unwrap();
        let mut kept: Vec<Object> = found.iter().map(|row| row.object.clone()).collect();
        kept.sort_by_key(|object| object.kind);
        assert_eq!(kept, [rows[0].object.clone(), rows[3].object.clone(), rows[5].object.clone()]);
        let customer = found.iter().find(|row| row.object.kind == Kind::Customer).unwrap();
        assert_eq!((customer.workspace_id.as_deref(), customer.livemode), (Some("ws_1"), Some(true)));
        keep_claims(&mut tx, &[("cus_2", "ws_1"), ("cus_2", "ws_8"), ("cus_3", "ws_9"), ("cus_2", "ws_1")]).await.unwrap();
        assert_eq!(customers_of(&mut tx, &["ws_1"]).await.unwrap(), ["cus_1", "cus_2"]);
        tx.commit().await.unwrap();
        assert_eq!(claimable(&db, 10).await.unwrap(), ["cus_2"], "ws_9 is not there yet");
        let mut tx = db.begin().await.unwrap();
        assert_eq!(drop_claims(&mut tx, &["cus_2"]).await.unwrap(), 2);
        assert_eq!(customers_of(&mut tx, &["ws_1", "ws_8"]).await.unwrap(), ["cus_1"]);
    }
}
