//! `checkout.session.*`: who bought, what, and whether it is paid.

use super::super::Answer;
use super::*;
use crate::rules::Question;

fn granted(body: &Value) -> Option<i64> {
    facts(body).1.iter().find(|note| note.kind == "credits_granted").and_then(|note| note.data["credits"].as_i64())
}

#[test]
fn credits_are_granted_when_they_are_paid_for() {
    let session = |payment_status| Session { payment_status, ..Session::credits() };
    let cases = [
        ("completed", "paid", Some(10)),
        ("completed", "no_payment_required", Some(10)),
        ("completed", "unpaid", None),
        ("completed", "somehow", None),
        ("async_payment_succeeded", "paid", Some(10)),
        // The type says it, whatever the snapshot does.
        ("async_payment_succeeded", "unpaid", Some(10)),
        ("async_payment_failed", "unpaid", None),
        ("async_payment_failed", "paid", None),
    ];
    for (what, status, credits) in cases {
        assert_eq!(granted(&of_session(what, &session(status))), credits, "{what} {status}");
    }
    assert_eq!(granted(&of_session("completed", &Session::default())), None, "a subscription is no purchase");
    let failed = of_session("async_payment_failed", &session("unpaid"));
    assert_eq!(notes(&failed), [note("checkout_failed", "cs_1")]);
}

#[test]
fn the_quantity_is_said_by_metadata_or_by_the_line_items() {
    let named = |quantity| of_session("completed", &Session { quantity, ..Session::credits() });
    for (quantity, credits) in [(None, 10), (Some("3"), 30), (Some("0"), 10), (Some("-2"), 10), (Some("many"), 10)] {
        assert_eq!(granted(&named(quantity)), Some(credits), "{quantity:?}");
    }
    let mut listed = named(None);
    let item = |price: &str, quantity: i64| json!({"id": "li_1", "price": {"id": price}, "quantity": quantity});
    listed["data"]["object"]["line_items"] = json!({"object": "list", "data": [item(CREDITS, 4)]});
    assert_eq!(granted(&listed), Some(40));
    let mixed = json!([item(CREDITS, 4), item("price_shirt", 7), item(CREDITS, 1)]);
    listed["data"]["object"]["line_items"]["data"] = mixed;
    assert_eq!(granted(&listed), Some(50), "nobody gets credits for shirts");
    listed["data"]["object"]["metadata"] = json!({});
    listed["data"]["object"]["line_items"]["data"] =
        json!([item(CREDITS, 4), item("price_shirt", 1), item(CREDITS, 1)]);
    assert_eq!(granted(&listed), Some(50));
}

#[test]
fn how_many_of_a_named_plan_is_asked_of_stripe_when_nothing_says_it() {
    let body = |quantity| of_session("completed", &Session { quantity, ..Session::credits() });
    let asks = |body: &Value| read(body, &catalogue(), &Answers::new(true));
    let Ok(Reading::Ask(question)) = asks(&body(None)) else { panic!("nobody is asked") };
    assert_eq!(question.path, "/checkout/sessions/cs_1/line_items?limit=100");
    assert!(question.can_do_without);
    let answered = |value: Value| {
        let mut answers = Answers::new(true);
        answers.insert(question.clone(), Answer { value, asked_at: START + 90 });
        match read(&body(None), &catalogue(), &answers).unwrap() {
            Reading::Facts { notes, .. } => notes[0].data["credits"].as_i64(),
            other => panic!("{other:?}"),
        }
    };
    let list = json!({"object": "list", "data": [{"price": {"id": "price_legacy"}, "quantity": 3}]});
    assert_eq!(answered(list), Some(30), "of the named plan, whatever the price");
    assert_eq!(answered(json!({"object": "list", "data": []})), Some(10));
    assert_eq!(answered(Value::Null), Some(10), "the session is gone, or the key may not see it");
    // What says it needs no answer.
    assert!(matches!(asks(&body(Some("2"))), Ok(Reading::Facts { .. })));
    let mut listed = body(None);
    listed["data"]["object"]["line_items"] =
        json!({"object": "list", "data": [{"price": {"id": CREDITS}, "quantity": 4}]});
    assert!(matches!(asks(&listed), Ok(Reading::Facts { .. })));
    let free = of_session("completed", &Session { payment_status: "unpaid", ..Session::credits() });
    assert!(matches!(asks(&free), Ok(Reading::Facts { .. })), "nothing is bought yet");
}

#[test]
fn what_was_bought_is_asked_of_stripe_when_nothing_says_it() {
    let body = of_session("completed", &Session { plan: None, ..Session::credits() });
    let question = Question::new("/checkout/sessions/cs_1/line_items?limit=100");
    assert_eq!(read(&body, &catalogue(), &Answers::new(true)), Ok(Reading::Ask(question.clone())));
    let answer = |price: &str| {
        let value = json!({"object": "list", "data": [{"price": {"id": price}, "quantity": 2}]});
        let mut answers = Answers::new(true);
        answers.insert(question.clone(), Answer { value, asked_at: START + 90 });
        read(&body, &catalogue(), &answers)
    };
    match answer(CREDITS).unwrap() {
        Reading::Facts { notes, .. } => assert_eq!(notes[0].data["credits"], 20),
        other => panic!("{other:?}"),
    }
    // Asked once: an answer that does not help either is asked for in vain for ever.
    match answer("price_shirt") {
        Err(unreadable) => assert!(unreadable.to_string().contains("price_shirt"), "{unreadable}"),
        Ok(reading) => assert!(matches!(reading, Reading::Ask(_)), "never credits for a shirt"),
    }
    let unanswerable = read(&body, &catalogue(), &Answers::default()).unwrap_err().to_string();
    assert!(unanswerable.contains("STRIPE_API_KEY"), "{unanswerable}");
}

#[test]
fn the_workspace_is_named_by_the_reference_or_by_metadata() {
    let body = of_session("completed", &Session::default());
    assert!(fields(&body, Kind::Customer).contains_key("claim:ws_1"));
    let mut by_metadata = of_session("completed", &Session { workspace: None, ..Session::default() });
    by_metadata["data"]["object"]["metadata"]["workspace_id"] = json!("ws_2");
    assert!(fields(&by_metadata, Kind::Customer).contains_key("claim:ws_2"));
    let guest = of_session("completed", &Session { customer: None, ..Session::credits() });
    let (objects, told) = facts(&guest);
    let kinds: Vec<Kind> = objects.iter().map(|object| object.kind).collect();
    assert_eq!(kinds, [Kind::CheckoutSession, Kind::Customer, Kind::Payment]);
    assert_eq!(objects[0].owner.as_deref(), Some("workspace:ws_1"));
    assert_eq!(objects[1].id, "workspace:ws_1", "the workspace's guest");
    assert!(objects[1].fields.contains_key("claim:ws_1"));
    assert_eq!(told[0].owner.as_deref(), Some("workspace:ws_1"));
}
