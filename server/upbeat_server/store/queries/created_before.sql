-- The last id created before :create_ms, or 0. Tasks are created in the order of their ids, so this
-- is a search by halves over the ids and needs no index of its own.
with recursive search (last_id, step) as (
    select 0, 1 << 62
    union all
    select
        last_id + iif(
            (
                select create_ms
                from task
                where namespace_id = :namespace_id and task_id >= last_id + step
                order by task_id
                limit 1
            ) < :create_ms,
            step, 0
        ),
        step >> 1
    from search
    where step > 0
)
select max(last_id) from search;
