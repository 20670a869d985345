-- The next notes behind (:kind, :key), in their order, as one row.
select
    json_group_array(kind), json_group_array(key), json_group_array(length(value)),
    cast(group_concat(value, '') as blob)
from (
    select kind, key, value
    from note
    where namespace_id = :namespace_id and (kind, key) > (:kind, :key)
    order by kind, key
    limit :limit
);
