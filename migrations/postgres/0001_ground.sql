-- The tables of billing. They stand in a schema of their own, beside the app's; the connection's search path names it.
-- Ids and words of a fixed list are compared byte by byte (`collate "C"`), as SQLite compares them, whatever the database's
-- collation: that is quicker, and no index on them has to be built anew after an upgrade of the system's library.

create table users (
    id text collate "C" primary key,
    email text not null,
    name text,
    locale text not null default 'en',
    created_at timestamptz not null,
    updated_at timestamptz not null
);
-- serves: workspaces put finds the owner by address
create unique index users_email on users (lower(email));

create table workspaces (
    id text collate "C" primary key,
    name text not null,
    slug text collate "C" not null unique,
    owner_id text collate "C" references users (id),
    stripe_customer_id text collate "C",
    subscription_id text collate "C",
    subscription_status text not null default 'free'
        check (subscription_status in ('free', 'trialing', 'incomplete', 'active', 'past_due', 'unpaid', 'paused', 'cancel_at_period_end', 'deleted')),
    subscription_plan text,
    current_period_end timestamptz,
    cancel_at_period_end boolean not null default false,
    cancel_at timestamptz,                 -- when Stripe will end it, where that is not the period's end
    past_due_since timestamptz,            -- the first failure of the invoice that is unpaid now: the grace counts from here
    trial_ends_at timestamptz,
    trial_expired_at timestamptz,          -- when the sweep marked the trial's end
    date_paid timestamptz,
    credits bigint not null default 0,     -- always the sum of credit_ledger.delta
    fresh_as_of timestamptz,               -- `created` of the newest event that counted
    settings jsonb not null default '{}',
    is_active boolean not null default true,
    billing_address text,
    billing_city text,
    billing_country text,
    billing_state text,
    billing_zip_code text,
    cnpj text,
    legal_name text,
    state_registration text,
    created_at timestamptz not null,
    updated_at timestamptz not null
) with (fillfactor = 80);
-- serves: the sweep of trials whose time is up
create index workspaces_trial_due on workspaces (trial_ends_at) where trial_expired_at is null and trial_ends_at is not null;

create table workspace_members (
    workspace_id text collate "C" not null references workspaces (id) on delete cascade,
    user_id text collate "C" not null references users (id) on delete cascade,
    role text not null,
    primary key (workspace_id, user_id)
);

-- The inbox: every event that was answered 200, as it was signed. Each row is changed once, when its event is over; with room for
-- that on its own page the log gets what changed instead of the body a second time.
create table stripe_events (
    id text collate "C" primary key,
    type text not null,
    api_version text,
    livemode boolean not null,
    account text,                          -- the connected account, where Stripe names one
    created timestamptz not null,
    object_id text collate "C",
    payload text compression lz4 not null,
    received_at timestamptz not null,
    status text collate "C" not null check (status in ('received', 'processed', 'ignored', 'dead')),
    attempts bigint not null default 0,
    processed_at timestamptz,
    last_error text,
    workspace_id text collate "C",         -- whose state it touched, once known
    owner text collate "C",                -- the customer; `workspace:ID` is the guest of a workspace, where Stripe names none
    lane smallint not null default 0,      -- events of different lanes are processed side by side
    job_id text collate "C"                -- the job that carries it
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
-- serves: the backlog, job by job; the rescue of events that no live job carries, and the age of the oldest unfinished one
create index stripe_events_unfinished on stripe_events (received_at, job_id) where status = 'received';
-- serves: the mail of a failed payment waits for the action that the bank requires
create index stripe_events_action on stripe_events (object_id)
    where status = 'received' and type = 'invoice.payment_action_required';
-- serves: events list, newest first; `nulls first`, though there are none, so that nothing that wants the oldest of the
-- backlog first can go through all events for it
create index stripe_events_received on stripe_events (received_at nulls first);
-- serves: events list --workspace
create index stripe_events_workspace on stripe_events (workspace_id, received_at) where workspace_id is not null;

-- serves: explain, for what came before its customer was linked
create index stripe_events_unlinked on stripe_events (owner) where workspace_id is null and owner is not null;

-- The latest known state of each Stripe object, field by field, each with the event that wrote it.
create table stripe_objects (
    kind text collate "C" not null,        -- Stripe's own word: customer, subscription, invoice, checkout.session ..
    id text collate "C" not null,
    livemode boolean,                       -- as the events said; null while only an operator has named it
    scope text collate "C" not null default '', -- where the id is unique: the connected account, empty for our own; `testmode` for ids that the merchant makes up
    owner text collate "C",                -- the customer (`workspace:ID` is the guest of a workspace, where Stripe names none); `sale:ID` of a payment; with the scope, where there is one
    workspace_id text collate "C",         -- customers only: the workspace it is linked to
    version bigint not null default 1,     -- how often it was written: a transaction that read an older one has to run again
    facts json compression lz4 not null,   -- field -> value; not `jsonb`, which takes twice as long to write and to read whole
    writes text compression lz4 not null,  -- what decides between two values of a field: [[terminal, at, rank, changed, event, [field, ..]], ..]
    updated_at timestamptz not null,
    primary key (id, kind, scope)         -- the id first: it alone finds the row
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- serves: the projection reads a customer's subscriptions; a sale finds its payments
create index stripe_objects_owner on stripe_objects (owner) where kind in ('subscription', 'payment_intent');
-- serves: the projection reads a workspace's customers
create index stripe_objects_workspace on stripe_objects (workspace_id) where workspace_id is not null;

-- The workspaces that ask for a customer, while it has none.
create table stripe_claims (
    workspace_id text collate "C" not null, -- there may be no such workspace yet
    customer text collate "C" not null,    -- with the account in front, where it has one
    primary key (workspace_id, customer)
);
-- serves: the link of a customer takes its claims away
create index stripe_claims_customer on stripe_claims (customer);

create table credit_ledger (
    id text collate "C" primary key,
    workspace_id text collate "C" not null references workspaces (id),
    delta bigint not null,
    balance_after bigint not null,
    reason text collate "C" not null,
    source_id text collate "C" not null,   -- the session, invoice, refund or dispute that is the cause
    sale text collate "C",                 -- of what is taken or given back: the source of the grant
    created_at timestamptz not null,
    unique (reason, source_id)
);
-- serves: the ledger of one workspace
create index credit_ledger_workspace on credit_ledger (workspace_id, created_at);
-- serves: what was taken back of a sale
create index credit_ledger_sale on credit_ledger (sale) where sale is not null;

-- What happened, once per cause. A cause whose customer has no workspace yet waits here for the link.
create table audit_events (
    id text collate "C" primary key,
    workspace_id text collate "C",
    kind text collate "C" not null,
    cause text collate "C" not null,       -- what makes it one thing: an invoice and attempt, a session, ..
    owner text collate "C",
    stripe_event_id text collate "C",      -- the earliest event that tells of it
    occurred_at timestamptz not null,      -- that event's `created`
    data jsonb not null,
    created_at timestamptz not null,
    unique (kind, cause)
);
-- serves: the history of one workspace
create index audit_events_workspace on audit_events (workspace_id, created_at);
-- serves: the link of a customer releases what waited for it
create index audit_events_waiting on audit_events (owner) where workspace_id is null;

create table emails (
    id text collate "C" primary key,
    workspace_id text collate "C" not null references workspaces (id),
    template text collate "C" not null,
    recipient text not null,
    locale text not null,
    dedupe_key text collate "C" not null unique,
    data jsonb not null,
    status text collate "C" not null check (status in ('queued', 'sent', 'skipped', 'dead')),
    attempts bigint not null default 0,
    claimed_until timestamptz,             -- a worker is sending it until then at the latest
    created_at timestamptz not null,
    sent_at timestamptz,
    last_error text,
    job_id text collate "C"                -- the job that carries it
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- serves: the rescue of mails that no live job carries
create index emails_unfinished on emails (created_at) where status = 'queued';
-- serves: the mails of one workspace
create index emails_workspace on emails (workspace_id, created_at);

-- Stripe's objects as tables for people.
create view stripe_customers as
select id, livemode, workspace_id, facts ->> 'email' as email, facts ->> 'name' as name,
       coalesce((facts ->> 'deleted')::boolean, false) as deleted, updated_at
from stripe_objects where kind = 'customer' and id not like 'workspace:%';

create view stripe_subscriptions as
select id, livemode, case when owner like '%workspace:%' then null when substr(owner, 1, length(scope) + 1) = scope || '/' then substr(owner, length(scope) + 2) else owner end as customer_id, facts ->> 'status' as status, facts ->> 'plan' as plan,
       to_timestamp((facts ->> 'current_period_end')::bigint) as current_period_end,
       coalesce((facts ->> 'cancel_at_period_end')::boolean, false) as cancel_at_period_end,
       to_timestamp((facts ->> 'cancel_at')::bigint) as cancel_at,
       to_timestamp((facts ->> 'canceled_at')::bigint) as canceled_at,
       to_timestamp((facts ->> 'ended_at')::bigint) as ended_at,
       (facts -> 'items')::jsonb as items, updated_at
from stripe_objects where kind = 'subscription';

create view stripe_invoices as
select id, livemode, case when owner like '%workspace:%' then null when substr(owner, 1, length(scope) + 1) = scope || '/' then substr(owner, length(scope) + 2) else owner end as customer_id, facts ->> 'subscription' as subscription_id, facts ->> 'number' as number,
       facts ->> 'status' as status, facts ->> 'billing_reason' as billing_reason,
       (facts ->> 'total')::bigint as total, (facts ->> 'amount_paid')::bigint as amount_paid,
       (facts ->> 'amount_due')::bigint as amount_due, facts ->> 'currency' as currency,
       (facts ->> 'attempt_count')::bigint as attempt_count,
       to_timestamp((facts ->> 'next_payment_attempt')::bigint) as next_payment_attempt,
       to_timestamp((facts ->> 'paid_at')::bigint) as paid_at,
       facts ->> 'hosted_invoice_url' as hosted_invoice_url, updated_at
from stripe_objects where kind = 'invoice';

create view stripe_plans as
select o.id, o.kind, o.livemode, nullif(replace(replace(o.scope, ':testmode', ''), 'testmode', ''), '') as account, o.facts ->> 'product' as product_id,
       p.facts ->> 'name' as product_name, o.facts ->> 'nickname' as nickname,
       o.facts ->> 'lookup_key' as lookup_key, (o.facts ->> 'unit_amount')::bigint as unit_amount,
       o.facts ->> 'currency' as currency, o.facts ->> 'interval' as interval,
       coalesce((o.facts ->> 'active')::boolean, true) as active, o.updated_at
from stripe_objects o
left join stripe_objects p on p.id = o.facts ->> 'product' and p.kind = 'product' and p.scope = o.scope
where o.kind in ('price', 'plan');

-- Nobody looks for rows by what is in these, and to sample them is most of what an analysis of a table costs.
alter table stripe_events alter payload set statistics 0;
alter table stripe_objects alter facts set statistics 0, alter writes set statistics 0;
alter table audit_events alter data set statistics 0;
alter table emails alter data set statistics 0;

-- An analysis samples 300 rows for each step that the finest of its columns is told in: 30,000 rows of each table that grows
-- with the events, every minute while they come fast. They are read by key; a tenth of that tells enough of them.
do $$ declare c record; begin
    for c in select attrelid::regclass as grows, attname from pg_attribute
             where attrelid = any('{stripe_events,stripe_objects,credit_ledger,audit_events,emails}'::regclass[])
               and attnum > 0 and coalesce(attstattarget, -1) = -1 loop
        execute format('alter table %s alter %I set statistics 10', c.grows, c.attname);
    end loop;
end $$;
