"""Which index a query walks, as SQL.

Every walk yields tasks in the order of their ids, so that a page is the first ``limit`` rows of
it and the next page begins behind the last one. The index is named, never left to the planner:
it knows nothing about how many tasks have a label or a type, we know a little.
"""

# ruff: noqa: S608 - the text is made of constants of this file; every value is bound.

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.model import FINISHED, Priority, TaskState
from upbeat_server.store.codec import clean_text

if TYPE_CHECKING:
    from upbeat_server.store.store import TaskQuery

_UNFINISHED = frozenset(TaskState) - FINISHED
_UNSUCCESSFUL = FINISHED - {TaskState.COMPLETED}
_LAST_ID = (1 << 63) - 1


class Span(msgspec.Struct, frozen=True):
    """The ids that the times of a query leave: above the one, up to the other."""

    above: int = 0
    up_to: int = _LAST_ID
    is_end_narrow: bool = False  # Few tasks ended in its range: find them by their end.


WHOLE = Span()


class Plan(msgspec.Struct, frozen=True):
    """One statement that answers ids and sizes; ``:limit`` is still to be bound."""

    sql: str
    bindings: dict[str, int | str]


def plan_of(namespace_id: int, query: TaskQuery, span: Span = WHOLE) -> Plan:
    """The statement for a query within a span of ids."""
    bindings: dict[str, int | str] = {"namespace_id": namespace_id}
    task_id, source, walk = _walk(query, span, bindings)
    conditions = [walk] if walk else []
    conditions += _conditions(query, bindings, has_label_walk=task_id != "task.task_id")
    bindings["above"], bindings["up_to"] = span.above, span.up_to
    if query.after_id and query.descending:
        bindings["up_to"] = min(span.up_to, query.after_id - 1)
    elif query.after_id:
        bindings["above"] = max(span.above, query.after_id)
    where = "".join(f" and {condition}" for condition in conditions)
    order = "desc" if query.descending else "asc"
    return Plan(
        "select json_group_array(task_id), json_group_array(size) from ("
        f"select {task_id} as task_id, length(task.record) + ifnull((select length(spec.spec) from spec"
        " where spec.namespace_id = task.namespace_id and spec.task_id = task.task_id), 0) as size"
        f" from {source} where task.namespace_id = :namespace_id"
        f" and {task_id} > :above and {task_id} <= :up_to{where}"
        f" order by {task_id} {order} limit :limit)",
        bindings,
    )


def _walk(query: TaskQuery, span: Span, bindings: dict[str, int | str]) -> tuple[str, str, str]:
    """The column of the id, the table with its index, and the condition that makes the index fit."""
    states = frozenset(query.states)
    task_id = "task.task_id"
    if query.parent_id:
        return task_id, "task indexed by task_parent", "task.parent_id > 0"
    if query.labels:
        key, value = query.labels[0]
        bindings["label_key"], bindings["label_value"] = clean_text(key), clean_text(value)
        source = "label cross join task not indexed on task.task_id = label.task_id"
        on = "label.namespace_id = :namespace_id and label.key = :label_key and label.value = :label_value"
        return "label.task_id", source, on
    if span.is_end_narrow:
        return task_id, "task indexed by task_end", ""
    if states == {TaskState.RUNNING}:
        return task_id, "task indexed by task_running", "task.state = 3"
    if (
        states
        and states <= _UNFINISHED
        and len(query.priorities) == 1
        and Priority.NORMAL not in query.priorities
    ):
        return task_id, "task indexed by task_priority", "task.end_ms = 0 and task.priority <> 2"
    if states and states <= _UNFINISHED:
        return task_id, "task indexed by task_end", "task.end_ms = 0"
    if states and states <= _UNSUCCESSFUL:
        return task_id, "task indexed by task_unsuccessful", "task.state >= 5"
    if len(query.types) == 1:
        return task_id, "task indexed by task_type", ""
    return task_id, "task not indexed", ""


def _conditions(query: TaskQuery, bindings: dict[str, int | str], *, has_label_walk: bool) -> list[str]:
    """What a task must satisfy whatever walk led to it."""
    found = []
    for column, values in (
        ("state", query.states),
        ("type", tuple(map(clean_text, query.types))),
        ("priority", query.priorities),
    ):
        if len(values) == 1:
            found.append(f"task.{column} = :{column}")
            bindings[column] = values[0]
        elif values:
            found.append(f"task.{column} in (select value from json_each(:{column}))")
            bindings[column] = msgspec.json.encode(values).decode()
    for column, operator, name, bound in (
        ("parent_id", "=", "parent_id", query.parent_id),
        ("create_ms", ">=", "create_from_ms", query.create_from_ms),
        ("create_ms", "<", "create_to_ms", query.create_to_ms),
        ("end_ms", ">=", "end_from_ms", query.end_from_ms),
        ("end_ms", "<", "end_to_ms", query.end_to_ms),
    ):
        if bound:
            found.append(f"task.{column} {operator} :{name}")
            bindings[name] = bound
    if query.roots:
        found.append("task.parent_id = 0")
    if query.end_to_ms and not query.end_from_ms:
        found.append("task.end_ms > 0")
    for number, (key, value) in enumerate(query.labels[1 if has_label_walk else 0 :]):
        found.append(
            "exists (select 1 from label as other where other.namespace_id = task.namespace_id"
            f" and other.key = :key{number} and other.value = :value{number}"
            " and other.task_id = task.task_id)"
        )
        bindings[f"key{number}"], bindings[f"value{number}"] = clean_text(key), clean_text(value)
    return found
