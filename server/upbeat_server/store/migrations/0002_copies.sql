-- What a file knows of being a backup: its history may have gone on elsewhere (see sqlite_backup.py).

-- One row for each time that it was made from another file.
create table copy (
    copy_id integer primary key,
    made_ms integer not null
) strict;

-- 1 in a copy until the first commit there: what was unfinished may have gone on elsewhere.
alter table namespace add column is_copy integer not null default 0;
