//! Stories in which a subscription is given up, in one way or another.

use super::{Expected, Story, Teller, keys, story};
use crate::support::bodies::{DAY, MONTH, PRO, START, Subscription};

/// When the customer asks for the end.
const ASKED: i64 = START + 5 * DAY;

impl Teller {
    fn given_up() -> Subscription {
        Subscription {
            cancel_at_period_end: true,
            cancel_at: Some(START + MONTH),
            canceled_at: Some(ASKED),
            ..Subscription::default()
        }
    }

    pub(super) fn cancelled_at_period_end(&self) -> Story {
        let mut events = self.subscribed();
        events.push(self.updated("evt_asked", ASKED, &Subscription::default(), &Self::given_up()));
        let expected = Expected {
            status: "cancel_at_period_end",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            cancel_at_period_end: true,
            period_end: Some(START + MONTH),
            audit: vec!["subscription_cancelled", "subscription_created", "subscription_updated"],
            emails: keys(&[&format!("subscription_cancelled:sub_1:{ASKED}")]),
            ..Expected::default()
        };
        story("cancelled at the period's end", events, expected)
    }

    pub(super) fn cancelled_and_over(&self) -> Story {
        let ended = Subscription { status: "canceled", ended_at: Some(START + MONTH), ..Self::given_up() };
        let mut events = self.subscribed();
        events.extend([
            self.updated("evt_asked", ASKED, &Subscription::default(), &Self::given_up()),
            self.subscription("evt_ended", "deleted", START + MONTH, &ended),
        ]);
        let expected = Expected {
            status: "deleted",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            audit: vec![
                "subscription_cancelled",
                "subscription_created",
                "subscription_deleted",
                "subscription_updated",
            ],
            emails: keys(&[&format!("subscription_cancelled:sub_1:{ASKED}"), "subscription_ended:sub_1"]),
            ..Expected::default()
        };
        story("cancelled at the period's end, and over", events, expected)
    }

    pub(super) fn cancelled_undone_and_anew(&self) -> Story {
        let again = ASKED + 2 * DAY;
        let anew = Subscription { canceled_at: Some(again), ..Self::given_up() };
        let undone = Subscription::default();
        let mut events = self.subscribed();
        events.extend([
            self.updated("evt_asked", ASKED, &Subscription::default(), &Self::given_up()),
            self.updated("evt_undone", ASKED + DAY, &Self::given_up(), &undone),
            self.updated("evt_again", again, &undone, &anew),
            self.updated("evt_undone_again", again + 60, &anew, &undone),
        ]);
        let expected = Expected {
            status: "active",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            audit: vec![
                "subscription_cancelled",
                "subscription_cancelled",
                "subscription_created",
                "subscription_updated",
                "subscription_updated",
                "subscription_updated",
                "subscription_updated",
            ],
            emails: keys(&[
                &format!("subscription_cancelled:sub_1:{ASKED}"),
                &format!("subscription_cancelled:sub_1:{again}"),
            ]),
            ..Expected::default()
        };
        story("cancelled, undone, cancelled anew, undone again", events, expected)
    }

    /// Two events tell of one cancellation, each with another plan: the earlier one is what the mail and the history say.
    pub(super) fn cancelled_then_upgraded(&self) -> Story {
        let upgraded = Subscription { items: vec![(PRO, 1)], ..Self::given_up() };
        let mut events = self.subscribed();
        events.extend([
            self.updated("evt_asked", ASKED, &Subscription::default(), &Self::given_up()),
            self.updated("evt_upgraded", ASKED + DAY, &Self::given_up(), &upgraded),
        ]);
        let expected = Expected {
            status: "cancel_at_period_end",
            plan: Some("pro"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            cancel_at_period_end: true,
            period_end: Some(START + MONTH),
            audit: vec![
                "subscription_cancelled",
                "subscription_created",
                "subscription_updated",
                "subscription_updated",
            ],
            emails: keys(&[&format!("subscription_cancelled:sub_1:{ASKED}")]),
            ..Expected::default()
        };
        story("cancelled, then upgraded", events, expected)
    }

    pub(super) fn cancelled_now(&self) -> Story {
        let ended = Subscription {
            status: "canceled",
            canceled_at: Some(ASKED),
            ended_at: Some(ASKED),
            ..Subscription::default()
        };
        let mut events = self.subscribed();
        events.push(self.subscription("evt_ended", "deleted", ASKED, &ended));
        let expected = Expected {
            status: "deleted",
            plan: Some("hobby"),
            subscription: Some("sub_1"),
            customer: Some("cus_1"),
            period_end: Some(START + MONTH),
            audit: vec!["subscription_created", "subscription_deleted"],
            emails: keys(&["subscription_ended:sub_1"]),
            ..Expected::default()
        };
        story("cancelled now", events, expected)
    }
}
