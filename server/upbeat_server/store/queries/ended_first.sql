-- The finished tasks up to (:end_ms, :task_id), oldest end first, but for those whose parent is
-- unfinished: it is rebuilt from them.
select json_group_array(task_id), json_group_array(request_id)
from (
    select task_id, request_id
    from task indexed by task_end
    where
        namespace_id = :namespace_id
        and end_ms > 0
        and (end_ms, task_id) <= (:end_ms, :task_id)
        and not exists (
            select 1
            from task as parent
            where
                parent.namespace_id = task.namespace_id
                and parent.task_id = task.parent_id
                and parent.end_ms = 0
        )
    order by end_ms, task_id
    limit :limit
);
