-- The finished tasks behind :after_id whose parent is unfinished, by id, and how large each is. It goes
-- from the unfinished ones to their children: most have none, and the index of children says so at once.
select json_group_array(task_id), json_group_array(size)
from (
    select
        member.task_id,
        length(member.record) + ifnull(
            (
                select length(spec.spec)
                from spec
                where spec.namespace_id = member.namespace_id and spec.task_id = member.task_id
            ), 0
        ) as size
    from task as parent indexed by task_end
    cross join task as member indexed by task_parent
        on member.namespace_id = parent.namespace_id and member.parent_id = parent.task_id
    where
        parent.namespace_id = :namespace_id
        and parent.end_ms = 0
        and member.parent_id > 0
        and member.task_id > :after_id
        and member.end_ms > 0
    order by member.task_id
    limit :limit
);
