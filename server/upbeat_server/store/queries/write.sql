-- What the writer does, as triggers, so that a whole commit is ONE statement in autocommit: SQLite
-- is entered once, and the interpreter lock is let go once, for all rows and the fsync together.
-- Both views are temporary: part of the program, not of the file. jsonb_each hands each row on as it was
-- parsed; json_each would write it as text again, for every ->> to parse anew.

-- spaces: [[namespace_id, epoch, clock_ms, revision], ...]
-- tasks:  [[namespace_id, task_id, state, type, priority, create_ms, end_ms, parent_id, request_id,
--           offset, length], ...]
-- specs:  [[namespace_id, task_id, offset, length], ...]
-- labels: [[namespace_id, key, value, task_id], ...]
-- notes:  [[namespace_id, kind, key, offset, length], ...], each key once; without a length: remove it
-- bytes:  what the offsets, counted from 1, point into
create temp view turn (spaces, tasks, specs, labels, notes, bytes) as
select null, null, null, null, null, null;

create temp trigger turn_written instead of insert on turn
begin
    select raise(abort, 'stale epoch')
    from jsonb_each(new.spaces) as space
    left join namespace on namespace.namespace_id = space.value ->> 0
    where namespace.epoch is not space.value ->> 1;

    update namespace
    set
        clock_ms = max(clock_ms, space.value ->> 2),
        revision = max(revision, space.value ->> 3),
        is_copy = 0
    from jsonb_each(new.spaces) as space
    where namespace_id = space.value ->> 0;

    insert into task
    select
        value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
        value ->> 7, value ->> 8, substr(new.bytes, value ->> 9, value ->> 10)
    from jsonb_each(new.tasks)
    where true
    on conflict (namespace_id, task_id) do update
    set state = excluded.state, end_ms = excluded.end_ms, record = excluded.record;

    -- Only with the first row of a task: before its spec is there.
    insert into label
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3
    from jsonb_each(new.labels)
    where not exists (
        select 1 from spec where spec.namespace_id = value ->> 0 and spec.task_id = value ->> 3
    )
    on conflict do nothing;

    insert into spec
    select value ->> 0, value ->> 1, substr(new.bytes, value ->> 2, value ->> 3)
    from jsonb_each(new.specs)
    where true
    on conflict do nothing;

    insert into note
    select value ->> 0, value ->> 1, value ->> 2, substr(new.bytes, value ->> 3, value ->> 4)
    from jsonb_each(new.notes)
    where value ->> 4 is not null
    on conflict (namespace_id, kind, key) do update
    set value = excluded.value;

    delete from note
    where (namespace_id, kind, key) in (
        select value ->> 0, value ->> 1, value ->> 2
        from jsonb_each(new.notes)
        where value ->> 4 is null
    );
end;

-- task_ids: [task_id, ...]
create temp view purge (namespace_id, task_ids) as
select null, null;

create temp trigger purge_written instead of insert on purge
begin
    delete from task
    where namespace_id = new.namespace_id and task_id in (select value from json_each(new.task_ids));

    delete from spec
    where namespace_id = new.namespace_id and task_id in (select value from json_each(new.task_ids));

    delete from label
    where namespace_id = new.namespace_id and task_id in (select value from json_each(new.task_ids));
end;
