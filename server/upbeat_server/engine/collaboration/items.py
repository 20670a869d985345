"""Items of open pipelines: appended and closed while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.admission import full
from upbeat_server.engine.collaboration.children import SPEC_BYTES
from upbeat_server.engine.collaboration.groups import tell
from upbeat_server.engine.commands import ItemsAnswered, NotLive
from upbeat_server.engine.model import Refusal

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import ItemsAppended, ItemsClosed
    from upbeat_server.engine.model import Payload

HELD_MAX = 1_000
"""Items that may wait for the first stage; beyond, the caller comes back later."""

ITEMS_MAX = 100_000
"""Items that one pipeline ever takes: after a restart all of them are looked at."""

RETRY_MS = 500


def append_items(engine: Engine, event: ItemsAppended, now_ms: int) -> None:
    """Items come to an open pipeline; each is a child from now on."""
    group = _group_of(engine, event)
    if group is None:
        return
    reducer = group.reducer
    count: int = reducer.item_count  # type: ignore[attr-defined]
    first = count if event.first_index < 0 else event.first_index
    new = event.items[max(0, count - first) :]
    refusal = _gap(count, first) if first > count else None
    if refusal is None and new:  # A repeat of what is in is answered before any bound is looked at.
        refusal = _refusal(engine, group, new, count)
        if refusal is None:
            group.record.items += len(new)
            engine.persist(group.task)
            tell(engine, group, lambda: reducer.appended(new), now_ms)  # type: ignore[attr-defined]
            count += len(new)
    engine.commands.append(ItemsAnswered(event.origin, count, refusal))


def _gap(count: int, first: int) -> Refusal:
    words = f"{first} leaves a gap: {count} items are there, so the next one has this index"
    return Refusal(reasons.INVALID_FIELD, f"first_index {words}", violations=(("first_index", words),))


def _refusal(engine: Engine, group: Group, new: list[Payload], count: int) -> Refusal | None:
    """Why these items may not come in behind the ``count`` that are there; None if they may."""
    bounds = engine.limits.bounds
    if not group.is_open:
        return _closed("its items are closed")
    if count + len(new) > ITEMS_MAX:
        words = f"a pipeline takes {ITEMS_MAX:,} items: close this one and begin another"
        return Refusal(reasons.ITEMS_FULL, words, {"bound": "items_max", "limit": str(ITEMS_MAX)})
    if len(group.held) + len(new) > HELD_MAX:
        words = f"{len(group.held):,} items wait, {HELD_MAX:,} may: try again later"
        metadata = {"bound": "items_held_max", "limit": str(HELD_MAX)}
        return Refusal(reasons.ITEMS_FULL, words, metadata, retry_ms=RETRY_MS)
    # Items wait beside what was reserved for the children that work.
    if len(engine.tasks) + len(new) > bounds.queue_tasks_max:
        return full(reasons.QUEUE_FULL, "queue_tasks_max", bounds.queue_tasks_max, "unfinished tasks")
    size = sum(SPEC_BYTES + len(item.data) for item in new)
    if engine.queue_bytes + size > bounds.queue_bytes_max:
        what = "bytes of unfinished tasks"
        return full(reasons.QUEUE_BYTES_FULL, "queue_bytes_max", bounds.queue_bytes_max, what)
    return None


def close_items(engine: Engine, event: ItemsClosed, now_ms: int) -> None:
    """No further items come."""
    group = _group_of(engine, event)
    if group is None:
        return
    reducer = group.reducer
    if group.is_open:
        group.record.items_closed = True
        engine.persist(group.task)
        tell(engine, group, reducer.closed, now_ms)  # type: ignore[attr-defined]
    engine.commands.append(ItemsAnswered(event.origin, reducer.item_count, None))  # type: ignore[attr-defined]


def _group_of(engine: Engine, event: ItemsAppended | ItemsClosed) -> Group | None:
    """The open, or once open, pipeline; None if it was answered why there is none."""
    task = engine.tasks.get(event.task_id)
    if task is None:
        engine.commands.append(NotLive(event.origin, event.task_id))
        return None
    group = task.group
    is_open_kind = group is not None and getattr(group.collaboration.mode, "open", True)
    if group is None or not is_open_kind or not hasattr(group.reducer, "item_count"):
        words = "it has not begun" if group is None and task.spec.collaboration else "it takes no items"
        engine.commands.append(ItemsAnswered(event.origin, 0, _closed(words)))
        return None
    return group


def _closed(why: str) -> Refusal:
    return Refusal(reasons.ITEMS_CLOSED, f"the task is no open pipeline: {why}")
