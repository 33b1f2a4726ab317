-- What belongs to a workspace is found by the workspace alone: an index ends with the rowid, so its entries lie in the order in
-- which the rows came. With the time in it, half as many fitted into a page, and of what a batch writes a third was pages of
-- these, one for each entry, as the workspaces come in any order.

drop index stripe_events_workspace;
-- serves: explain, the newest first
create index stripe_events_workspace on stripe_events (workspace_id) where workspace_id is not null;

drop index audit_events_workspace;
-- serves: the history of one workspace, the newest first
create index audit_events_workspace on audit_events (workspace_id);

drop index emails_workspace;
-- serves: the mails of one workspace, the newest first
create index emails_workspace on emails (workspace_id);
