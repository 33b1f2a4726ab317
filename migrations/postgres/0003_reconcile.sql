-- Comparisons with Stripe: when, of which time, and what they found.

create table reconciliations (
    id text collate "C" primary key,
    complete boolean not null,     -- by schedule, and with nothing left out: the next begins where this one ended
    since timestamptz not null,    -- when the events were made that were looked at
    until timestamptz not null,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    events_listed bigint not null, -- as Stripe lists them, of types that say anything to us
    events_missing bigint not null,
    subscriptions_listed bigint not null,
    subscriptions_differing bigint not null,
    found jsonb not null           -- the drift itself: the first hundred of each kind
);
-- serves: the newest first, and the end of those of long ago
create index reconciliations_finished on reconciliations (finished_at);
