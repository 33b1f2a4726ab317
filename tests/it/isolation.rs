//! One event of a batch that has the program panic takes no other with it.

use billing::stripe::Envelope;
use jobs::receive::Incoming;
use jobs::{Job, ProcessEvents};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::json;

use crate::harness::{Site, on_both};
use crate::in_process;

on_both!(what_panics_runs_by_itself_and_the_others_are_processed);

/// Panics where an event of this type is counted, which no event by itself is known to bring about.
struct Poisoned;

const POISON: &str = "poison.event";

impl Recorder for Poisoned {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        assert!(key.labels().all(|label| label.value() != POISON), "poisoned");
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

async fn what_panics_runs_by_itself_and_the_others_are_processed(site: Site) {
    let context = in_process::context(&site, 2);
    let mut batch = in_process::purchases(&context, "good", 2).await;
    let poison = json!({"id": "evt_poison", "object": "event", "type": POISON, "api_version": "2026-06-24.dahlia",
                        "created": 1_700_000_000, "livemode": false, "data": {"object": {"id": "x_1", "object": "x"}}});
    let body = poison.to_string();
    batch.insert(3, Incoming { envelope: Envelope::parse(body.as_bytes()).unwrap(), body, ignored: None });
    let event_ids = in_process::receive(&context, batch).await;
    let good = event_ids.len() - 1;
    let job = ProcessEvents { event_ids, lane: 0 };

    let poisoned = metrics::set_default_local_recorder(&Poisoned);
    job.run(&context).await.unwrap();
    drop(poisoned);
    let status = "select status || ' ' || cast(count(*) as text) from stripe_events group by status order by 1";
    assert_eq!(site.query(status).await, [format!("processed {good}"), "received 1".to_owned()]);
    let jobs =
        site.query("select cast(count(*) as text) from stripe_events where status = 'received' and attempts > 0");
    assert_eq!(jobs.await, ["1"], "nobody takes it along any more");

    // Once the cause is mended, its own job ends it.
    let alone = ProcessEvents { event_ids: vec!["evt_poison".to_owned()], lane: 0 };
    alone.run(&context).await.unwrap();
    assert_eq!(site.query("select status from stripe_events where id = 'evt_poison'").await, ["ignored"]);
    context.db.close().await;
}
