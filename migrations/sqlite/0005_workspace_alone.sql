-- No job asks for the mails of one workspace, and a person who does can wait for a second, as can one who deletes a workspace
-- by hand. An index for that takes a page for nearly every mail, once there are many workspaces, as they come in any order.
drop index emails_workspace;
