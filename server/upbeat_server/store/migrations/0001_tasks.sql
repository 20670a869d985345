-- The tasks of all namespaces. Ids rise in time, so every b-tree below is written at its end.

create table namespace (
    namespace_id integer primary key,
    name text not null unique,
    epoch integer not null,      -- Of the owner; who commits with another one is refused.
    clock_ms integer not null,   -- Engine time of the last commit.
    revision integer not null    -- Of the last change.
) strict;

-- What changes of a task: a few columns to find it by, and its bytes.
create table task (
    namespace_id integer not null,
    task_id integer not null,
    state integer not null,
    type text not null,
    priority integer not null,
    create_ms integer not null,
    end_ms integer not null,     -- 0 while unfinished.
    parent_id integer not null,  -- 0 without.
    request_id text not null,    -- '' without.
    record blob not null,
    primary key (namespace_id, task_id)
) strict, without rowid;

-- What never changes of a task, apart from it so that it is written once.
create table spec (
    namespace_id integer not null,
    task_id integer not null,
    spec blob not null,
    primary key (namespace_id, task_id)
) strict, without rowid;

-- Only tasks that have labels pay for them.
create table label (
    namespace_id integer not null,
    key text not null,
    value text not null,
    task_id integer not null,
    primary key (namespace_id, key, value, task_id)
) strict, without rowid;

create index label_task on label (namespace_id, task_id);

-- The unfinished by id (end_ms = 0), the finished by end; what adoption and purge ask is in the index.
create index task_end on task (namespace_id, end_ms, task_id, request_id);

create index task_type on task (namespace_id, type, task_id);

-- Failed and cancelled tasks are few among many, and what people look for.
create index task_unsuccessful on task (namespace_id, task_id) where state >= 5;

create index task_parent on task (namespace_id, parent_id, task_id) where parent_id > 0;
