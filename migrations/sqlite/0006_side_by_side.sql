-- An index by workspace takes a page for nearly every row, once there are many workspaces, as they come in any order. So of the two
-- that are left, one goes, and in the other what is written at one time lies side by side.

-- What an entry of the ledger was caused by is found by the cause, and the history of one workspace is asked for by no job, and of
-- the commands by the demo alone, whose file is small. A person who asks can wait for a second.
drop index audit_events_workspace;

-- Events of one bucket were received one after the other; so many that their part of the index is some 50 pages, which stay in
-- memory while it fills, and so few that to look into each bucket there is takes no time that a person notices. Null: finished by
-- an earlier version.
alter table stripe_events add column bucket integer;
drop index stripe_events_workspace;
-- serves: explain, the newest first
create index stripe_events_workspace on stripe_events (bucket, workspace_id) where workspace_id is not null;
