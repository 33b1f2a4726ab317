//! Tellings that are awkward, and what is seen after them: steps that are played one after the other or in every order.

use billing::apply::{Told, apply as apply_in};
use billing::rules::{Reading, SpentRefund};
use billing::store::{Db, Engine};
use billing::stripe::{Answer, Answers, read};
use serde_json::{Value, json};

use crate::store::given::{at, workspace};
use crate::support::ground::{clear, link};
use crate::support::reading::{catalogue, told};

/// What people see, line by line, without ids and times of the run. SQLite alone.
pub(super) async fn seen(db: &Db) -> Vec<String> {
    let Engine::Sqlite(file) = db else { unreachable!() };
    let rows: Vec<(String,)> = sqlx::query_as(
        "select 'workspace ' || id || ' ' || subscription_status || ' ' || coalesce(subscription_id, '-') || ' ' ||
                coalesce(subscription_plan, '-') || ' ' || coalesce(stripe_customer_id, '-') || ' ' || credits || ' ' ||
                coalesce(fresh_as_of, '-') || ' ' || coalesce(date_paid, '-') || ' ' || coalesce(current_period_end, '-') as line
         from workspaces
         union all
         select 'ledger ' || workspace_id || ' ' || delta || ' ' || reason || ' ' || source_id || ' ' || coalesce(sale, '-') from credit_ledger
         union all
         select 'audit ' || coalesce(workspace_id, '-') || ' ' || kind || ' ' || cause || ' ' || coalesce(owner, '-') || ' ' ||
                coalesce(stripe_event_id, '-') || ' ' || occurred_at || ' ' || data from audit_events
         union all
         select 'mail ' || workspace_id || ' ' || dedupe_key || ' ' || data from emails
         union all
         select 'object ' || kind || ' ' || scope || ' ' || id || ' ' || coalesce(owner, '-') || ' ' || coalesce(workspace_id, '-') || ' ' ||
                facts || ' ' || writes from stripe_objects
         union all
         select 'claim ' || workspace_id || ' ' || customer from stripe_claims
         order by line",
    )
    .fetch_all(&file.reader)
    .await
    .unwrap();
    rows.into_iter().map(|(line,)| line).collect()
}

#[derive(Clone)]
pub(super) enum Step {
    Events(Vec<Told>),
    /// `workspaces put`
    Put(&'static str, Option<&'static str>),
}

pub(super) async fn play(db: &Db, steps: &[Step], spent: SpentRefund) {
    for step in steps {
        match step {
            Step::Events(told) => {
                let mut tx = db.begin().await.unwrap();
                apply_in(&mut tx, told.clone(), &[], spent, at(1_000_000)).await.unwrap();
                tx.commit().await.unwrap();
            }
            Step::Put(id, customer) => put(db, id, *customer, spent).await,
        }
    }
}

/// As the command does it.
pub(super) async fn put(db: &Db, id: &str, customer: Option<&str>, spent: SpentRefund) {
    workspace(db, id, None).await;
    let mut tx = db.begin().await.unwrap();
    link(&mut tx, id, customer, spent, at(1_000_000)).await;
    tx.commit().await.unwrap();
}

/// Asserts that the steps end the same one after the other in every order.
pub(super) async fn same(db: &Db, first: &[Step], steps: &[Step], spent: SpentRefund) {
    let mut wanted: Option<(Vec<usize>, Vec<String>)> = None;
    for order in orders(steps.len()) {
        clear(db).await;
        play(db, first, spent).await;
        let steps: Vec<Step> = order.iter().map(|index| steps[*index].clone()).collect();
        play(db, &steps, spent).await;
        let got = seen(db).await;
        let (first_order, wanted) = wanted.get_or_insert_with(|| (order.clone(), got.clone()));
        differ(wanted, &got, &format!("{first_order:?} and {order:?}"));
    }
}

pub(super) fn differ(wanted: &[String], got: &[String], context: &str) {
    let gone: Vec<&String> = wanted.iter().filter(|line| !got.contains(line)).collect();
    let new: Vec<&String> = got.iter().filter(|line| !wanted.contains(line)).collect();
    assert!(gone.is_empty() && new.is_empty(), "{context}\n  first: {gone:#?}\n  then: {new:#?}");
}

pub(super) fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut order = order.clone();
                    order.insert(place, next);
                    order
                })
            })
            .collect();
    }
    all.sort();
    all
}

pub(super) fn event(id: &str, kind: &str, seconds: i64, object: &Value) -> Told {
    told(
        &json!({"id": id, "object": "event", "type": kind, "created": at(seconds).timestamp(), "livemode": false, "data": {"object": object}}),
    )
}

pub(super) fn one(event: Told) -> Step {
    Step::Events(vec![event])
}

pub(super) fn session(
    id: &str,
    what: &str,
    seconds: i64,
    session: &str,
    customer: Option<&str>,
    workspace: Option<&str>,
) -> Told {
    let object = json!({
        "id": session, "customer": customer, "client_reference_id": workspace, "mode": "payment", "payment_status": "paid",
        "payment_intent": format!("pi_{session}"), "amount_total": 900, "metadata": {"plan": "credits10"},
    });
    event(id, &format!("checkout.session.{what}"), seconds, &object)
}

pub(super) fn sub(
    id: &str,
    what: &str,
    seconds: i64,
    status: &str,
    customer: Option<&str>,
    workspace: Option<&str>,
) -> Told {
    let object = json!({
        "id": "sub_1", "customer": customer, "status": status, "created": at(0).timestamp(),
        "metadata": workspace.map_or(json!({}), |workspace| json!({"workspace_id": workspace})), "cancel_at_period_end": false,
        "items": {"data": [{"price": "price_pro", "current_period_end": at(2_000_000).timestamp()}]},
    });
    event(id, &format!("customer.subscription.{what}"), seconds, &object)
}

#[expect(clippy::too_many_arguments, reason = "a refund has so many parts")]
pub(super) fn refund(
    id: &str,
    what: &str,
    refund: &str,
    amount: i64,
    payment: &str,
    created: i64,
    seconds: i64,
    status: &str,
) -> Told {
    let object = json!({
        "id": refund, "object": "refund", "amount": amount, "payment_intent": payment, "charge": "ch_1", "status": status,
        "created": at(created).timestamp(),
    });
    event(id, &format!("refund.{what}"), seconds, &object)
}

pub(super) fn charge(id: &str, payment: &str, refunded: i64, seconds: i64) -> Told {
    let object = json!({
        "id": "ch_1", "object": "charge", "amount": 900, "amount_refunded": refunded, "customer": "cus_1", "payment_intent": payment,
    });
    event(id, "charge.refunded", seconds, &object)
}

/// A thin event whose object was fetched in second 100.
pub(super) fn thin(id: &str, kind: &str, seconds: i64, related: &Value, answer: Value) -> Told {
    let body = json!({
        "id": id, "object": "v2.core.event", "type": kind, "created": at(seconds).to_rfc3339(), "livemode": false,
        "related_object": related,
    });
    let mut answers = Answers::new(true);
    let Ok(Reading::Ask(question)) = read(&body, &catalogue(), &answers) else { panic!("it asks") };
    answers.insert(question, Answer { value: answer, asked_at: at(100).timestamp() });
    match read(&body, &catalogue(), &answers) {
        Ok(Reading::Facts { objects, notes }) => {
            Told { event_id: id.to_owned(), created: at(seconds), livemode: false, objects, notes }
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn gone() -> Told {
    thin(
        "evt_gone",
        "v1.customer.subscription.deleted",
        10,
        &json!({"type": "subscription", "id": "sub_1"}),
        Value::Null,
    )
}

pub(super) fn invoice(
    id: &str,
    seconds: i64,
    invoice: &str,
    customer: Option<&str>,
    workspace: Option<&str>,
    payment: Option<&str>,
) -> Told {
    let object = json!({
        "id": invoice, "customer": customer, "status": "paid", "billing_reason": "subscription_cycle", "total": 900,
        "amount_paid": 900, "created": at(seconds).timestamp(), "payment_intent": payment,
        "subscription": match customer { Some("cus_2") => "sub_2", Some("cus_3") => "sub_3", _ => "sub_1" },
        "metadata": workspace.map_or(json!({}), |workspace| json!({"workspace_id": workspace})),
        "lines": {"data": [{
            "amount": 900, "type": "subscription", "price": {"id": "price_pro"}, "period": {"end": at(2_000_000).timestamp()},
        }]},
    });
    event(id, "invoice.paid", seconds, &object)
}

pub(super) fn paid_by(id: &str, seconds: i64, invoice: &str, payment: &str) -> Told {
    let object = json!({"id": format!("inpay_{id}"), "invoice": invoice, "payment": {"type": "payment_intent", "payment_intent": payment}});
    event(id, "invoice_payment.paid", seconds, &object)
}
