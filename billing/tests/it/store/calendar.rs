//! Days on which clocks on walls are changed, and other days that calendars are proud of: for us all of them have 86,400 s.

use billing::store::{Db, expire_trials, put_workspace, remind_trials};
use chrono::{DateTime, TimeDelta, Utc};

use crate::testing::{self, on_both};

/// In the order of time.
const MOMENTS: [(&str, &str); 12] = [
    ("a leap second", "2016-12-31T23:59:59Z"),
    ("São Paulo, back", "2018-02-18T02:00:00Z"),
    ("São Paulo, forward, for the last time", "2018-11-04T03:00:00Z"),
    ("New York, forward", "2026-03-08T07:00:00Z"),
    ("Berlin, forward", "2026-03-29T01:00:00Z"),
    ("Lord Howe, back by half an hour", "2026-04-04T15:00:00Z"),
    ("Berlin, back", "2026-10-25T01:00:00Z"),
    ("New York, back", "2026-11-01T06:00:00Z"),
    ("the end of a year", "2026-12-31T23:59:59Z"),
    ("the end of a month", "2027-01-31T23:59:59Z"),
    ("no leap day", "2027-02-28T23:59:59Z"),
    ("a leap day", "2028-02-29T00:00:00Z"),
];

on_both! {
    async fn a_trial_is_reminded_of_and_ends_at_its_second_on_every_day_of_the_calendar(db: Db) {
        for (what, moment) in MOMENTS {
            let moment: DateTime<Utc> = moment.parse().unwrap();
            // One reminder before it, one after, and the end.
            let ends_at = moment + TimeDelta::hours(36);
            let mut tx = db.begin().await.unwrap();
            put_workspace(&mut tx, what, what, Some(ends_at), ends_at - TimeDelta::days(14)).await.unwrap();
            for (before, left) in [(3 * 86_400, 1), (86_400, 0)] {
                let due = ends_at - TimeDelta::seconds(before);
                assert!(remind_trials(&mut tx, due - TimeDelta::seconds(1), 10).await.unwrap().is_empty(), "{what}");
                let reminded = remind_trials(&mut tx, due, 10).await.unwrap();
                let reminded: Vec<_> = reminded.iter().map(|trial| (trial.id.as_str(), trial.trial_reminder_days)).collect();
                assert_eq!(reminded, [(what, left)]);
            }
            assert!(expire_trials(&mut tx, ends_at - TimeDelta::seconds(1), 10).await.unwrap().is_empty(), "{what}");
            let expired = expire_trials(&mut tx, ends_at, 10).await.unwrap();
            assert_eq!(expired.iter().map(|trial| (trial.id.as_str(), trial.trial_ends_at)).collect::<Vec<_>>(), [(what, ends_at)]);
            tx.commit().await.unwrap();
        }
    }
}
