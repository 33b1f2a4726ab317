//! One meaning in many shapes: generations, expanded ids, and fields that are not there.

use super::*;

#[test]
fn every_generation_says_the_same() {
    // Since basil an invoice does not name its payment; another event does.
    let told = |generation| {
        let without_payments = |body: &Value| match reading(body) {
            Reading::Facts { mut objects, notes } => {
                objects.retain(|object| object.kind != Kind::Payment);
                (objects, notes)
            }
            other => panic!("{other:?}"),
        };
        every_event(generation).iter().map(without_payments).collect::<Vec<_>>()
    };
    let newest = told(Generation::C);
    assert_eq!(newest.len(), 34);
    for generation in Generation::ALL {
        for (reading, wanted) in told(generation).iter().zip(&newest) {
            assert_eq!(reading, wanted, "{generation:?}");
        }
    }
}

/// Replaces every text that looks like an id of Stripe's, other than an object's own, by the object it stands for.
fn expand(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut().filter(|(name, _)| *name != "id" && *name != "metadata") {
                match member {
                    Value::String(id)
                        if ["cus_", "sub_", "in_", "pi_", "price_"].iter().any(|prefix| id.starts_with(prefix)) =>
                    {
                        if name != "subscription_item" && name != "type" {
                            *member = json!({"id": id, "object": name, "deleted": false});
                        }
                    }
                    _ => expand(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(expand),
        _ => {}
    }
}

#[test]
fn an_expanded_object_says_what_its_id_says() {
    let mut expanded_somewhere = 0;
    for generation in Generation::ALL {
        for body in every_event(generation) {
            let mut expanded = body.clone();
            expand(&mut expanded["data"]["object"]);
            expanded_somewhere += usize::from(expanded != body);
            assert_eq!(reading(&expanded), reading(&body), "{}", body["type"]);
        }
    }
    assert!(expanded_somewhere > 100, "{expanded_somewhere}");
}

#[test]
fn what_is_absent_is_unknown_and_what_is_null_is_empty() {
    let registers = ["cancel_at", "canceled_at", "ended_at", "trial_end", "cancel_at_period_end", "latest_invoice"];
    let full = of_subscription("created", &Subscription::default());
    for field in registers {
        let mut body = full.clone();
        body["data"]["object"][field] = Value::Null;
        assert_eq!(fields(&body, Kind::Subscription).get(field), Some(&Value::Null), "{field}");
        body["data"]["object"].as_object_mut().unwrap().remove(field);
        assert_eq!(fields(&body, Kind::Subscription).get(field), None, "{field}");
    }
}

#[test]
fn any_field_but_the_id_may_be_missing() {
    for generation in Generation::ALL {
        for body in every_event(generation) {
            let names: Vec<String> = body["data"]["object"].as_object().unwrap().keys().cloned().collect();
            for name in names {
                let mut without = body.clone();
                without["data"]["object"].as_object_mut().unwrap().remove(&name);
                let read = read(&without, &catalogue(), &Answers::new(true));
                match name.as_str() {
                    "invoice" if body["type"] == "invoice_payment.paid" => assert!(read.is_err()),
                    "id" if body["type"] != "invoice_payment.paid" => {
                        assert_eq!(read.unwrap_err().to_string(), "data.object.id: is missing");
                    }
                    _ => assert!(read.is_ok(), "{} without {name}: {read:?}", body["type"]),
                }
            }
        }
    }
}

#[test]
fn an_event_has_an_id_a_type_and_a_time() {
    let body = of_subscription("created", &Subscription::default());
    for field in ["id", "type", "created"] {
        for wrong in [Value::Null, json!(""), json!(-1), json!(1.5), json!([])] {
            let mut body = body.clone();
            body[field] = wrong.clone();
            let unreadable = read(&body, &catalogue(), &Answers::default()).unwrap_err();
            assert_eq!(unreadable.path, format!("event.{field}"), "{wrong}");
        }
    }
}

#[test]
fn what_is_not_for_us_is_ignored_with_a_reason() {
    let elsewhere = json!({"id": "inpay_1", "invoice": "in_1", "payment": {"type": "payment_record"}});
    let elsewhere = event(Generation::C, "evt_1", "invoice_payment.paid", START, &elsewhere);
    let other = event(Generation::C, "evt_1", "radar.early_fraud_warning.created", START, &json!(7));
    let mut thin = event(Generation::C, "evt_1", "v1.customer.updated", START, &Value::Null);
    thin["object"] = json!("v2.core.event");
    thin["created"] = json!("2026-01-01T00:00:00Z");
    for (body, word) in [(elsewhere, "other means"), (other, "no reader"), (thin, "thin")] {
        match reading(&body) {
            Reading::Ignored(reason) => assert!(reason.contains(word), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_list_whose_object_is_gone_is_what_the_event_carries() {
    let mut body = of_subscription("updated", &Subscription { items: vec![(PRO, 1)], ..Subscription::default() });
    body["data"]["object"]["items"]["has_more"] = json!(true);
    let mut answers = Answers::new(true);
    let Ok(Reading::Ask(question)) = read(&body, &catalogue(), &answers) else { panic!("the rest is asked for") };
    answers.insert(question, super::super::Answer { value: Value::Null, asked_at: START });
    let Ok(Reading::Facts { objects, .. }) = read(&body, &catalogue(), &answers) else { panic!("it can be read") };
    assert_eq!((objects[0].text("plan"), objects[0].flag("partial")), (Some("pro"), Some(true)));
    body["data"]["object"]["items"]["has_more"] = json!(false);
    assert_eq!(fields(&body, Kind::Subscription)["partial"], json!(false));
}

#[test]
fn a_status_is_no_longer_than_an_id() {
    let mut body = of_subscription("updated", &Subscription::default());
    body["data"]["object"]["status"] = json!("x".repeat(2000));
    let unreadable = read(&body, &catalogue(), &Answers::default()).unwrap_err();
    assert_eq!(unreadable.path, "data.object.status");
}

#[test]
fn what_is_no_account_is_nobodys() {
    use super::super::scope::{Accounts, account_of};
    for account in
        [json!("acct\0"), json!("acct_\0"), json!("acct_a/b"), json!("acct_"), json!("x"), json!(7), json!({})]
    {
        let body = json!({"account": account});
        let named = account_of(&body).unwrap_or_else(|| panic!("{account} is not our own"));
        assert!(!Accounts::All.takes(named) && named.chars().all(|c| !c.is_control()), "{account}");
    }
    assert_eq!(account_of(&json!({"account": "acct_1Ab"})), Some("acct_1Ab"));
    assert_eq!([json!({}), json!({"account": null}), json!({"account": ""})].iter().find_map(account_of), None);
}
