-- Mail: reminders before a trial's end.

alter table workspaces add column trial_reminder_days bigint not null default 3; -- the reminder to come: 3 days before the end, then 1, then 0 for none
-- serves: the sweep of trials that end soon
create index workspaces_trial_ending on workspaces (trial_reminder_days, trial_ends_at) where trial_expired_at is null and trial_ends_at is not null;
