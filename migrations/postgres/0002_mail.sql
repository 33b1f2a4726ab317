-- Mail: reminders before a trial's end, who is written to, and who is not.

alter table workspaces add column trial_reminder_days bigint not null default 3; -- the reminder to come: 3 days before the end, then 1, then 0 for none
-- serves: the sweep of trials that end soon
create index workspaces_trial_ending on workspaces (trial_reminder_days, trial_ends_at) where trial_expired_at is null and trial_ends_at is not null;

-- Null: nobody has said; then Stripe's preferred locale counts, then the default.
alter table users alter column locale drop not null;
alter table users alter column locale drop default;

-- Addresses that a workspace names beside its members with the roles owner and billing.
create table mail_recipients (
    workspace_id text collate "C" not null references workspaces (id) on delete cascade,
    address text not null,
    created_at timestamptz not null
);
create unique index mail_recipients_address on mail_recipients (workspace_id, lower(address));

-- Templates that a workspace does not want; only such as are not essential.
create table mail_opt_outs (
    workspace_id text collate "C" not null references workspaces (id) on delete cascade,
    template text collate "C" not null,
    created_at timestamptz not null,
    primary key (workspace_id, template)
);

-- Addresses whose server has refused them for good: nothing is sent there until an operator lifts it.
create table mail_suppressions (
    address text primary key,              -- in lower case
    reason text not null,                  -- the server's reply
    email_id text collate "C",             -- the mail that was refused
    created_at timestamptz not null
);
