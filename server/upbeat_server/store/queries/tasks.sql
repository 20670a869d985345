-- The tasks of a list of ids, in its order, as one row: stepping row by row would let the interpreter
-- lock go and wait for it again at each. group_concat joins blobs byte for byte.
select
    json_group_array(task_id), json_group_array(length(record)), json_group_array(length(spec)),
    cast(group_concat(record, '') as blob), cast(group_concat(spec, '') as blob)
from (
    select task.task_id, task.record, ifnull(spec.spec, x'') as spec
    from json_each(:task_ids) as wanted
    cross join task on task.namespace_id = :namespace_id and task.task_id = wanted.value
    left join spec on spec.namespace_id = task.namespace_id and spec.task_id = task.task_id
    order by wanted.key
    limit -1 offset 0
);
