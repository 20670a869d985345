-- What people look for among a million that wait: those that run, and those of another priority than most.
create index task_running on task (namespace_id, task_id) where state = 3;

create index task_priority on task (namespace_id, priority, task_id) where end_ms = 0 and priority <> 2;
