//! From a body to what is told, with the plans that the stories are about.

use std::collections::BTreeMap;

use billing::apply::Told;
use billing::rules::Reading;
use billing::stripe::{Answers, read};
use billing::{Catalogue, Plan, PlanKind};
use chrono::DateTime;
use serde_json::Value;

use super::bodies::{CREDITS, HOBBY, PRO};

/// `pro` gives 100 credits with every paid period.
pub(crate) fn catalogue() -> Catalogue {
    let plan = |id: &str, kind, price: &str, credits| Plan {
        id: id.to_owned(),
        name: id.to_owned(),
        kind,
        prices: vec![price.to_owned()],
        credits,
        limits: BTreeMap::new(),
    };
    let plans = vec![
        plan("hobby", PlanKind::Subscription, HOBBY, 0),
        plan("pro", PlanKind::Subscription, PRO, 100),
        plan("credits10", PlanKind::OneTime, CREDITS, 10),
    ];
    Catalogue::new(plans, BTreeMap::new())
}

/// What a body of a story tells.
///
/// # Panics
/// It tells nothing: the stories are made of events that all count.
pub(crate) fn told(body: &Value) -> Told {
    let event_id = body["id"].as_str().expect("an event has an id").to_owned();
    let created = body["created"].as_i64().and_then(|at| DateTime::from_timestamp(at, 0)).expect("an event has a time");
    match read(body, &catalogue(), &Answers::default()) {
        Ok(Reading::Facts { objects, notes }) => Told { event_id, created, livemode: false, objects, notes },
        other => panic!("{event_id}: {other:?}"),
    }
}
