//! Refunds and disputes where their events are at their most awkward: of two sales, of two accounts, without an owner,
//! or fetched.

use billing::apply::{Told, apply as apply_in};
use billing::rules::{Kind, Question, SpentRefund};
use billing::store::{Db, find_workspace, ledger_of};
use billing::stripe::{Answer, Answers, Fetched, read_fetched};
use serde_json::{Value, json};

use super::playing::{gone, thin};
use crate::store::given::{apply, at, workspace};
use crate::support::reading::{catalogue, told};
use crate::testing::{self, on_both};

fn event(id: &str, kind: &str, seconds: i64, object: &Value) -> Value {
    json!({"id": id, "object": "event", "type": kind, "created": at(seconds).timestamp(), "livemode": false, "data": {"object": object}})
}

fn bought(id: &str) -> Value {
    let session = json!({
        "id": "cs_1", "customer": "cus_1", "client_reference_id": "ws_1", "mode": "payment", "payment_status": "paid",
        "payment_intent": "pi_1", "amount_total": 900, "metadata": {"plan": "credits10"},
    });
    event(id, "checkout.session.completed", 0, &session)
}

fn refund(id: &str, refund: &str, amount: i64, seconds: i64) -> Value {
    let refund = json!({
        "id": refund, "object": "refund", "amount": amount, "payment_intent": "pi_1", "status": "succeeded",
        "created": at(seconds).timestamp(),
    });
    event(id, "refund.created", seconds, &refund)
}

/// An invoice of `pro`, which gives 100 credits a period.
fn invoice(id: &str, invoice: &str) -> Value {
    let lines = json!({"data": [{
        "amount": 900, "type": "subscription", "price": {"id": "price_pro"}, "period": {"end": at(2_000_000).timestamp()},
    }]});
    let invoice = json!({
        "id": invoice, "customer": "cus_1", "status": "paid", "billing_reason": "subscription_cycle", "total": 900,
        "amount_paid": 900, "created": at(1).timestamp(), "metadata": {"workspace_id": "ws_1"}, "payment_intent": "pi_1",
        "subscription": "sub_1", "lines": lines,
    });
    event(id, "invoice.paid", 1, &invoice)
}

fn subscription(id: &str, what: &str, seconds: i64, status: &str) -> Value {
    let subscription = json!({
        "id": "sub_1", "customer": "cus_1", "status": status, "created": at(0).timestamp(),
        "metadata": {"workspace_id": "ws_1"}, "cancel_at_period_end": false,
        "items": {"data": [{"price": "price_pro", "current_period_end": at(2_000_000).timestamp()}]},
    });
    event(id, &format!("customer.subscription.{what}"), seconds, &subscription)
}

async fn credits(db: &Db, workspace: &str) -> (i64, Vec<(i64, String)>) {
    let rows = ledger_of(db, workspace, 100).await.unwrap();
    let row = find_workspace(db, workspace).await.unwrap().unwrap();
    (row.credits, rows.into_iter().map(|row| (row.delta, row.source_id)).collect())
}

on_both! {
    async fn a_refund_of_one_account_is_none_of_another(db: Db) {
        for (account, name) in [("acct_1", "ws_1"), ("acct_2", "ws_2")] {
            workspace(&db, name, None).await;
            let of = |mut body: Value| {
                body["account"] = json!(account);
                body["id"] = json!(format!("{}_{account}", body["id"].as_str().unwrap()));
                body["data"]["object"]["client_reference_id"] = json!(name);
                told(&body)
            };
            apply(&db, &[of(bought("evt_1")), of(refund("evt_2", "re_1", 900, 10))]).await;
            let wanted = vec![(10, format!("{account}/cs_1")), (-10, format!("{account}/re_1"))];
            assert_eq!(credits(&db, name).await, (0, wanted));
        }
    }

    /// The charge as it was fetched counts a refund that came after the event that it was fetched for.
    async fn a_charge_that_was_fetched_late_takes_nothing_twice(db: Db) {
        workspace(&db, "ws_1", None).await;
        let charge =
            json!({"id": "ch_1", "payment_intent": "pi_1", "customer": "cus_1", "amount": 900, "amount_refunded": 450});
        let fetched = thin("evt_4", "v1.charge.refunded", 10, &json!({"type": "charge", "id": "ch_1"}), charge);
        let refunds = [told(&refund("evt_2", "re_1", 90, 10)), told(&refund("evt_3", "re_2", 360, 50))];
        apply(&db, &[told(&bought("evt_1")), refunds[0].clone(), refunds[1].clone(), fetched]).await;
        assert_eq!(credits(&db, "ws_1").await.0, 5);
    }

    /// Two invoices grant, and name one payment: what it takes back is counted for one of them, for the same in any order.
    async fn a_payment_of_two_invoices_counts_for_one(db: Db) {
        workspace(&db, "ws_1", None).await;
        for body in [invoice("evt_1", "in_1"), refund("evt_2", "re_1", 450, 10), invoice("evt_3", "in_2")] {
            apply(&db, &[told(&body)]).await;
        }
        assert_eq!(credits(&db, "ws_1").await.0, 150);
        let sales: Vec<Option<String>> =
            ledger_of(&db, "ws_1", 9).await.unwrap().into_iter().map(|row| row.sale).collect();
        assert_eq!(sales, [None, Some("in_2".to_owned()), None]);
    }

    /// What is deleted cannot be fetched, so the event that tells of it names no customer.
    async fn an_end_without_an_owner_reaches_the_workspace(db: Db) {
        workspace(&db, "ws_1", None).await;
        apply(&db, &[told(&subscription("evt_1", "created", 1, "active"))]).await;
        apply(&db, &[gone()]).await;
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().subscription_status, "deleted");
    }

    /// No event says what the payment was for; Stripe does, when it is asked.
    async fn a_refund_of_an_unknown_payment_is_asked_about(db: Db) {
        workspace(&db, "ws_1", None).await;
        let mut paid = invoice("evt_1", "in_1");
        paid["data"]["object"]["payment_intent"] = Value::Null;
        assert_eq!(apply(&db, &[told(&paid)]).await.unclear, []);
        let unclear = apply(&db, &[told(&refund("evt_2", "re_1", 450, 10))]).await.unclear;
        assert_eq!(unclear, [(Kind::Payment, "pi_1".to_owned())]);
        let question = billing::stripe::question_about(Kind::Payment, "acct_1/pi_1").unwrap();
        let path = "/invoice_payments?payment%5Btype%5D=payment_intent&payment%5Bpayment_intent%5D=pi_1&limit=100";
        assert_eq!(question, Question { account: Some("acct_1".to_owned()), ..Question::new(path) });

        let value = json!({"object": "list", "data": [{"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1"}]});
        let answer = Answer { value, asked_at: at(100).timestamp() };
        let read = read_fetched(Kind::Payment, "pi_1", &answer, &catalogue(), &Answers::default());
        let Ok(Fetched::Objects(objects)) = read else { panic!("{read:?}") };
        let refreshed = Told { event_id: "refresh".into(), created: at(100), livemode: false, objects, notes: Vec::new() };
        assert_eq!(apply(&db, &[refreshed]).await.unclear, []);
        assert_eq!(credits(&db, "ws_1").await.0, 50);
        assert_eq!(find_workspace(&db, "ws_1").await.unwrap().unwrap().fresh_as_of, Some(at(10)), "no event of Stripe's");
    }

    /// The product puts a workspace into the table, and tells nobody; the sweep looks for what waits for it.
    async fn a_guest_waits_for_a_workspace_that_nobody_tells_of(db: Db) {
        let mut guest = bought("evt_1");
        guest["data"]["object"]["customer"] = Value::Null;
        apply(&db, &[told(&guest)]).await;
        assert!(billing::store::claimable(&db, 10).await.unwrap().is_empty());
        workspace(&db, "ws_1", None).await;
        let waiting = billing::store::claimable(&db, 10).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        apply_in(&mut tx, Vec::new(), &waiting, SpentRefund::Negative, at(20)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(credits(&db, "ws_1").await.0, 10);
        assert!(billing::store::claimable(&db, 10).await.unwrap().is_empty());
        let row = find_workspace(&db, "ws_1").await.unwrap().unwrap();
        assert_eq!((row.stripe_customer_id, row.fresh_as_of), (None, Some(at(0))), "a guest is no customer of Stripe's");
    }
}
