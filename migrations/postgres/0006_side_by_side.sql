-- Nothing, here: an index by workspace keeps all rows of one under one key, and what a batch adds to it is few pages beside millions
-- of events, too. SQLite's has no such lists, and needs buckets for that.
select 1;
