//! All times are instants: a grace, a leeway or a trial is as long over a change of clocks, a leap day or the end of a
//! month as it is on any other day.

use proptest::prelude::*;

use super::*;

/// Clocks go forward and back in Berlin, New York and, once, São Paulo; leap days; ends of months and of a year.
const MOMENTS: [&str; 11] = [
    "2026-03-29T01:00:00Z",
    "2026-10-25T01:00:00Z",
    "2026-03-08T07:00:00Z",
    "2026-11-01T06:00:00Z",
    "2018-11-04T03:00:00Z",
    "2028-02-29T00:00:00Z",
    "2028-03-01T00:00:00Z",
    "2027-02-28T23:59:59Z",
    "2027-01-31T23:59:59Z",
    "2026-12-31T23:59:59Z",
    "2100-02-28T23:59:59Z",
];

/// An instant within ten days of one of them, or any of a hundred years.
fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    let near = (proptest::sample::select(&MOMENTS[..]), -10 * DAY..10 * DAY).prop_map(|(moment, seconds)| {
        let moment: DateTime<Utc> = moment.parse().unwrap();
        moment + TimeDelta::seconds(seconds)
    });
    let any = (0..4_102_444_800_i64).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap());
    prop_oneof![3 => near, 1 => any]
}

fn billing(
    state: &WorkspaceState,
    trial: Option<DateTime<Utc>>,
    rules: &Rules,
    now: DateTime<Utc>,
) -> crate::rules::Billing {
    let subject = Subject { id: String::new(), name: String::new(), owner: None, trial_ends_at: trial, credits: 0 };
    billing_of(subject, state.clone(), &Catalogue::standard(None, None, None), rules, now)
}

proptest! {
    #[test]
    fn every_length_is_its_seconds(
        from in instant(), grace in 0..60 * DAY, leeway in 0..60 * DAY, around in -3 * DAY..3 * DAY, status in 0..3_usize,
    ) {
        let status = ["past_due", "active", "cancel_at_period_end"][status];
        let rules = Rules { grace: TimeDelta::seconds(grace), leeway: TimeDelta::seconds(leeway), ..Rules::default() };
        let state = WorkspaceState {
            subscription_id: Some("sub_1".to_owned()),
            subscription_status: status.to_owned(),
            subscription_plan: Some("hobby".to_owned()),
            current_period_end: Some(from),
            past_due_since: Some(from),
            ..WorkspaceState::default()
        };
        let length = match status { "past_due" => grace, "active" => leeway, _ => 0 };
        let end = from.timestamp() + length;
        for now in [end - 1, end, end + around] {
            let wanted = if now < end { "hobby" } else { "free" };
            let at = DateTime::from_timestamp(now, 0).unwrap();
            prop_assert_eq!(&billing(&state, None, &rules, at).effective_plan, wanted, "{} at {}", status, at);
        }
    }

    #[test]
    fn a_trial_lasts_its_days_and_counts_them_down(created in instant(), days in 1..60_i64, passed in 0..61 * DAY) {
        let ends_at = created + TimeDelta::days(days);
        let now = created + TimeDelta::seconds(passed);
        let billing = billing(&WorkspaceState::default(), Some(ends_at), &Rules::default(), now);
        prop_assert_eq!(ends_at.timestamp() - created.timestamp(), days * DAY);
        let left = days * DAY - passed;
        prop_assert_eq!(billing.trial.active, left > 0);
        prop_assert_eq!(billing.trial.days_remaining, if left > 0 { (left + DAY - 1) / DAY } else { 0 });
        prop_assert_eq!(billing.effective_plan, if left > 0 { "pro" } else { "free" });
    }
}
