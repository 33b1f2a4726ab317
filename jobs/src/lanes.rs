//! Which events may be processed side by side.
//!
//! Two batches of one moment have workspaces in common, so one waits for the other's locks, and while it waits it holds
//! events that grow older. Therefore each event has a lane, by whose it is, and of each lane there is one batch at a time, in
//! all processes together: who comes next takes along all that has come in until then. What belongs together but does not
//! name its customer may be in two lanes; that costs a wait for a lock, and nothing else, for the lanes are not what keeps
//! batches apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use billing::stripe::Envelope;

/// How many the receiver spreads events over, unless told otherwise. On two cores more would split the events of a moment into
/// smaller batches, each of which costs what a batch costs; fewer would leave the database idle while a worker computes.
pub const LANES: i16 = 2;

/// The lane of an event on PostgreSQL, that of its customer. On SQLite, which has one writer, all events are in the first.
pub(crate) fn of(envelope: &Envelope, count: i16) -> i16 {
    let whose = envelope.customer.as_ref().or(envelope.object_id.as_ref()).unwrap_or(&envelope.id);
    let mut hasher = DefaultHasher::new();
    (&envelope.account, whose).hash(&mut hasher);
    (hasher.finish() % u64::from(count.unsigned_abs())) as i16
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn event(id: &str, account: &str, object: &str, customer: &str) -> Envelope {
        let body = format!(
            r#"{{"id":"{id}","object":"event","type":"invoice.paid","account":"{account}",
                "data":{{"object":{{"id":"{object}","customer":{customer}}}}}}}"#
        );
        Envelope::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_belongs_together_is_in_one_lane_and_the_rest_is_spread_evenly() {
        let mut lanes: BTreeMap<i16, usize> = BTreeMap::new();
        for number in 0..3000 {
            let customer = format!("cus_{number}");
            let of_customer = |id: &str, object: &str| of(&event(id, "acct_1", object, &format!("\"{customer}\"")), 3);
            let lane = of_customer("evt_1", "in_1");
            assert_eq!(of_customer("evt_2", "sub_2"), lane);
            assert_eq!(of(&event("evt_3", "acct_1", &customer, "null"), 3), lane, "the customer itself");
            *lanes.entry(lane).or_default() += 1;
        }
        assert_eq!(lanes.len(), 3);
        assert!(lanes.values().all(|count| (800..1200).contains(count)), "{lanes:?}");
    }

    /// A customer that comes as an object costs no event, only its place.
    #[test]
    fn who_has_no_customer_goes_by_its_object() {
        for customer in ["null", "{\"id\":\"cus_1\"}", "7", "[]"] {
            let lanes: Vec<i16> =
                (0..40).map(|number| of(&event("evt", "acct_1", &format!("in_{number}"), customer), 3)).collect();
            assert!((0..3).all(|lane| lanes.contains(&lane)), "{customer}: {lanes:?}");
            assert_eq!(of(&event("evt", "acct_1", "in_1", customer), 1), 0);
        }
    }
}
