//! Rule 5: the plan that is given at this moment, to the second.

use super::*;

/// `effective_plan` at `now` seconds of a state, for a workspace whose own trial ends at `trial` seconds.
fn given(state: &WorkspaceState, trial: Option<i64>, now: i64) -> String {
    let subject = Subject {
        id: "ws_1".to_owned(),
        name: "One".to_owned(),
        owner: None,
        trial_ends_at: trial.map(at),
        credits: 0,
    };
    let catalogue = Catalogue::standard(None, None, None);
    billing_of(subject, state.clone(), &catalogue, &Rules::default(), at(now)).effective_plan
}

fn state(status: &str, plan: &str) -> WorkspaceState {
    WorkspaceState {
        subscription_id: Some("sub_1".to_owned()),
        subscription_status: status.to_owned(),
        subscription_plan: Some(plan.to_owned()),
        current_period_end: Some(at(30 * DAY)),
        ..WorkspaceState::default()
    }
}

/// Asserts that the plan is given until just before `end` seconds, and free from there on.
fn ends_at(state: &WorkspaceState, end: i64) {
    for (now, wanted) in [(0, "hobby"), (end - 1, "hobby"), (end, "free"), (end + 1, "free"), (1000 * DAY, "free")] {
        assert_eq!(given(state, None, now), wanted, "{} at {now}", state.subscription_status);
    }
}

#[test]
fn active_until_three_days_after_the_period() {
    ends_at(&state("active", "hobby"), 33 * DAY);
    let unknown_end = WorkspaceState { current_period_end: None, ..state("active", "hobby") };
    assert_eq!(given(&unknown_end, None, 1000 * DAY), "hobby", "without an end there is none to be late with");
}

#[test]
fn cancelled_until_exactly_the_end() {
    ends_at(&state("cancel_at_period_end", "hobby"), 30 * DAY);
    for cancel_at in [20 * DAY, 45 * DAY] {
        ends_at(
            &WorkspaceState { cancel_at: Some(at(cancel_at)), ..state("cancel_at_period_end", "hobby") },
            cancel_at,
        );
    }
}

#[test]
fn past_due_until_seven_days_after_the_first_failure() {
    ends_at(&WorkspaceState { past_due_since: Some(at(30 * DAY)), ..state("past_due", "hobby") }, 37 * DAY);
}

#[test]
fn trialing_without_an_end_and_the_rest_without_access() {
    assert_eq!(given(&state("trialing", "hobby"), None, 1000 * DAY), "hobby");
    for status in ["unpaid", "incomplete", "paused", "deleted", "free", "hibernating"] {
        assert_eq!(given(&state(status, "hobby"), None, 0), "free", "{status}");
    }
    let no_plan = WorkspaceState { subscription_plan: None, ..state("active", "hobby") };
    assert_eq!(given(&no_plan, None, 0), "free", "a price that no plan ever had");
}

#[test]
fn the_own_trial_gives_its_plan_unless_a_subscription_gives_more() {
    let none = WorkspaceState { subscription_status: "trialing".to_owned(), ..WorkspaceState::default() };
    let trial = Some(14 * DAY);
    let cases = [
        (&none, 14 * DAY - 1, "pro"),
        (&none, 14 * DAY, "free"),
        (&state("active", "hobby"), 1, "pro"),
        (&state("active", "hobby"), 14 * DAY, "hobby"),
        (&state("active", "pro"), 14 * DAY, "pro"),
        (&state("deleted", "hobby"), 1, "pro"),
        (&state("incomplete", "pro"), 14 * DAY, "free"),
    ];
    for (state, now, wanted) in cases {
        assert_eq!(given(state, trial, now), wanted, "{} at {now}", state.subscription_status);
    }
    // With a trial of the lower plan, the subscription is what gives more.
    let rules = Rules { trial_plan: "hobby".to_owned(), ..Rules::default() };
    let subject =
        Subject { id: String::new(), name: String::new(), owner: None, trial_ends_at: Some(at(1)), credits: 7 };
    let billing = billing_of(subject, state("active", "pro"), &Catalogue::standard(None, None, None), &rules, at(0));
    assert_eq!((billing.effective_plan.as_str(), billing.limits["members"], billing.credits), ("pro", -1, 7));
}

#[test]
fn a_trial_that_the_sweep_has_not_seen_is_shown_as_it_is() {
    // Stored status, trial's end, what is shown, whether it runs, and the begun days.
    let cases = [
        ("trialing", Some(0), "free", false, 0),
        ("trialing", Some(1), "trialing", true, 1),
        ("trialing", Some(DAY), "trialing", true, 1),
        ("free", Some(DAY + 1), "trialing", true, 2),
        ("trialing", Some(-5 * DAY), "free", false, 0),
        ("free", None, "free", false, 0),
    ];
    for (stored, trial, shown, active, days) in cases {
        let stored = WorkspaceState { subscription_status: stored.to_owned(), ..WorkspaceState::default() };
        let trial = trial.map(at);
        let subject = Subject { id: String::new(), name: String::new(), owner: None, trial_ends_at: trial, credits: 0 };
        let catalogue = Catalogue::standard(None, None, None);
        let billing = billing_of(subject, stored, &catalogue, &Rules::default(), at(0));
        assert_eq!(billing.subscription_status, shown, "{trial:?}");
        assert_eq!((billing.trial.active, billing.trial.days_remaining), (active, days), "{trial:?}");
    }
}
