//! Stories in which the customer's workspace is known last.

use super::{Expected, Step, Story, Teller, keys, story};
use crate::support::bodies::{DAY, Invoice, MONTH, START, Session, Subscription};

impl Teller {
    /// A purchase that names no workspace anywhere.
    fn unlinked(&self) -> Vec<serde_json::Value> {
        let credits = Session { id: "cs_2", workspace: None, ..Session::credits() };
        vec![
            self.subscription("evt_1", "created", START, &Subscription::default()),
            self.invoice("evt_2", "paid", START + 2, &Invoice::default()),
            self.session("evt_3", "completed", START + 4, &Session { workspace: None, ..Session::default() }),
            self.session("evt_4", "completed", START + DAY, &credits),
        ]
    }

    fn linked() -> Expected {
        Expected {
            status: "active",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            credits: 10,
            period_end: Some(START + MONTH),
            date_paid: Some(START + 2),
            audit: vec!["credits_granted", "payment_succeeded", "subscription_created"],
            emails: keys(&["credits_granted:cs_2", "payment_succeeded:in_1"]),
            ..Expected::default()
        }
    }

    pub(super) fn linked_by_a_late_event(&self) -> Story {
        let mut events = self.unlinked();
        events.push(self.customer("evt_5", "updated", START + 2 * DAY, Some("ws_1")));
        story("linked by a late event", events, Self::linked())
    }

    pub(super) fn linked_by_hand(&self) -> Story {
        let mut story = story("linked by hand", self.unlinked(), Self::linked());
        story.steps.push(Step::Put(Some("cus_1")));
        story
    }

    /// The event names a workspace that the product has yet to tell us of.
    pub(super) fn workspace_comes_late(&self) -> Story {
        let mut events = self.unlinked();
        events.push(self.session("evt_5", "completed", START + 4, &Session { id: "cs_3", ..Session::default() }));
        let mut story = story("the workspace comes late", events, Self::linked());
        story.steps.push(Step::Put(None));
        story
    }

    pub(super) fn guest_pays_before_the_workspace_is_there(&self) -> Story {
        let guest = Session { customer: None, ..Session::credits() };
        let events = vec![
            self.session("evt_1", "completed", START, &Session { payment_status: "unpaid", ..guest.clone() }),
            self.session("evt_2", "async_payment_succeeded", START + DAY, &guest),
        ];
        let expected = Expected {
            status: "free",
            credits: 10,
            audit: vec!["credits_granted"],
            emails: keys(&["credits_granted:cs_1"]),
            ..Expected::default()
        };
        let mut story = story("a guest pays before the workspace is there", events, expected);
        story.steps.push(Step::Put(None));
        story
    }
}
