-- Comparisons with Stripe: when, of which time, and what they found.

create table reconciliations (
    id text primary key,
    complete integer not null,      -- by schedule, and with nothing left out: the next begins where this one ended
    since text not null,            -- when the events were made that were looked at
    until text not null,
    started_at text not null,
    finished_at text not null,
    events_listed integer not null, -- as Stripe lists them, of types that say anything to us
    events_missing integer not null,
    subscriptions_listed integer not null,
    subscriptions_differing integer not null,
    found text not null             -- the drift itself: the first hundred of each kind
) strict;
-- serves: the newest first, and the end of those of long ago
create index reconciliations_finished on reconciliations (finished_at);
