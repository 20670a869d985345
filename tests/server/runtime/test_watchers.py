"""The ring and the watches that resume from it."""

from __future__ import annotations

from typing import Any

import pytest

from upbeat_server.engine import reasons
from upbeat_server.engine.commands import TaskProgressed
from upbeat_server.engine.model import Refusal, TaskId, TaskRecord, TaskSpec, TaskState
from upbeat_server.engine.queue import Signature, requirement_of
from upbeat_server.engine.task import Task
from upbeat_server.runtime.bounds import WatchBounds
from upbeat_server.runtime.changes import Commit, commit_of
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.snapshot import TaskSnapshot
from upbeat_server.runtime.watchers import Left, Progress, TaskWatch, TaskWatches, matches
from upbeat_server.store import codec
from upbeat_server.store.store import TaskQuery, TaskRow


def task(revision: int, task_id: int = 1, state: int = 2, before: int = 0, **spec: Any) -> Task:
    """A task as a turn leaves it that made its change of that revision."""
    record = TaskRecord(task_id, state, 1_000 + task_id, revision=revision)
    if state >= TaskState.COMPLETED:
        record.end_ms = 5_000
    spec.setdefault("type", "echo")
    wanted = TaskSpec(**spec)
    changed = Task(record, wanted, Signature(requirement_of(wanted), None))
    changed.stored_state = before
    changed.spec_size = len(codec.encode_spec(changed.spec))
    return changed


def commit(*tasks: Task) -> Commit:
    """What a commit of these tasks changed."""
    rows = [
        TaskRow(
            task.task_id, task.record.state, task.spec.type, task.spec.priority, task.record.create_ms,
            task.record.end_ms, task.record.parent_id, codec.encode_record(task.record),
        )
        for task in tasks
    ]  # fmt: skip
    return commit_of(list(tasks), rows)


async def taken(watch: TaskWatch) -> list[str]:
    """What the watch has, in short."""
    told = []
    for event in await watch.take(100, 1 << 20) or []:
        if isinstance(event, TaskSnapshot):
            told.append(f"task {event.record.task_id} at {event.record.revision}")
        elif isinstance(event, Left):
            told.append(f"left {event.task_id}")
        elif isinstance(event, Progress):
            told.append(f"progress {event.sequence}")
    return told


async def test_a_watch_is_told_in_commit_order_and_only_what_it_asked_for() -> None:
    watches = TaskWatches(WatchBounds(), 0)
    wide = watches.open(None, None, False, 0)
    one = watches.open(None, TaskId(2), False, 0)
    queued = watches.open(TaskQuery(states=(2,)), None, False, 0)
    watches.publish(commit(task(1, 1), task(2, 2), task(3, 1, 3, before=2)), 3)
    assert await taken(wide) == ["task 1 at 1", "task 2 at 2", "task 1 at 3"]
    assert await taken(one) == ["task 2 at 2"]
    assert await taken(queued) == ["task 1 at 1", "task 2 at 2", "left 1"]
    assert (wide.revision, queued.revision) == (3, 3)


async def test_a_task_that_never_matched_does_not_leave() -> None:
    watches = TaskWatches(WatchBounds(), 0)
    watch = watches.open(TaskQuery(states=(2,), types=("other",)), None, False, 0)
    watches.publish(commit(task(1), task(2, 1, 3, before=2), task(3, 1, 4, before=3)), 3)
    assert await taken(watch) == []
    assert watch.revision == 3


async def test_the_watch_of_one_task_ends_with_it() -> None:
    watches = TaskWatches(WatchBounds(), 0)
    watch = watches.open(None, TaskId(1), False, 0)
    watches.publish(commit(task(1, 1, 4, before=3)), 1)
    assert await taken(watch) == ["task 1 at 1"]
    assert await watch.take(10, 1_000) is None


async def test_a_watch_resumes_from_the_ring_or_not_at_all() -> None:
    watches = TaskWatches(WatchBounds(ring_events_max=3), 10)
    for revision in range(11, 16):
        watches.publish(commit(task(revision, revision)), revision)
    watch = watches.open(None, None, False, 13)
    assert await taken(watch) == ["task 14 at 14", "task 15 at 15"]
    assert await taken(watches.open(None, None, False, 12)) == [f"task {n} at {n}" for n in (13, 14, 15)]
    for revision in (11, 16):
        with pytest.raises(Refused) as caught:
            watches.open(None, None, False, revision)
        assert caught.value.refusal.reason == reasons.REVISION_OUT_OF_RANGE
        assert caught.value.refusal.metadata == {"oldest": "12", "newest": "15"}


async def test_the_ring_is_bounded_in_bytes_too() -> None:
    watches = TaskWatches(WatchBounds(ring_bytes_max=1_000), 0)
    for revision in range(1, 50):
        watches.publish(commit(task(revision)), revision)
    with pytest.raises(Refused):
        watches.open(None, None, False, 10)
    assert await taken(watches.open(None, None, False, 48)) == ["task 1 at 49"]


async def test_a_commit_is_resumed_from_within_and_forgotten_whole() -> None:
    watches = TaskWatches(WatchBounds(ring_events_max=5), 0)
    watches.publish(commit(task(1, 1), task(3, 2), task(4, 3)), 5)
    assert await taken(watches.open(None, None, False, 3)) == ["task 3 at 4"]
    watches.publish(commit(task(6, 4), task(8, 5), task(9, 6)), 9)
    assert await taken(watches.open(None, None, False, 6)) == ["task 5 at 8", "task 6 at 9"]
    with pytest.raises(Refused) as caught:
        watches.open(None, None, False, 3)
    assert caught.value.refusal.metadata == {"oldest": "4", "newest": "9"}
    watches.publish(commit(*[task(revision) for revision in range(10, 16)]), 15)
    with pytest.raises(Refused):
        watches.open(None, None, False, 14)
    watches.publish(commit(task(16)), 16)
    assert await taken(watches.open(None, None, False, 15)) == ["task 1 at 16"]


async def test_a_slow_watch_is_ended_with_where_to_resume() -> None:
    watches = TaskWatches(WatchBounds(watch_events_max=2), 0)
    watch = watches.open(None, None, False, 0)
    watches.publish(commit(task(1)), 1)
    await watch.take(10, 1_000)
    watches.publish(commit(*[task(revision) for revision in range(2, 6)]), 5)
    with pytest.raises(Refused) as caught:
        await watch.take(10, 1_000)
    assert caught.value.refusal.reason == reasons.SLOW_READER
    assert caught.value.refusal.metadata == {"revision": "1"}


async def test_a_watch_that_is_too_far_behind_to_hold_what_it_missed_is_told_to_begin_anew() -> None:
    watches = TaskWatches(WatchBounds(watch_events_max=2), 0)
    watches.publish(commit(*[task(revision) for revision in range(1, 5)]), 4)
    with pytest.raises(Refused) as refused:
        watches.open(None, None, False, 1)
    assert refused.value.refusal.reason == reasons.REVISION_OUT_OF_RANGE
    assert watches.count == 0
    assert await taken(watches.open(None, None, False, 2)) == ["task 1 at 3", "task 1 at 4"]


async def test_progress_goes_to_those_who_want_it_and_the_oldest_makes_room() -> None:
    watches = TaskWatches(WatchBounds(progress_events_max=2), 0)
    wants = watches.open(None, TaskId(1), True, 0)
    other = watches.open(None, TaskId(1), False, 0)
    watches.publish(commit(task(1, 1, 3)), 1)
    for sequence in range(1, 5):
        watches.publish_progress(TaskProgressed(TaskId(1), 1, 0.5, "", b"x", sequence))
    watches.publish_progress(TaskProgressed(TaskId(2), 1, 0.5, "", b"x", 9))
    assert await taken(wants) == ["task 1 at 1", "progress 3", "progress 4"]
    assert await taken(other) == ["task 1 at 1"]


async def test_progress_that_comes_after_a_slow_watch_was_ended_is_nothing_to_it() -> None:
    watches = TaskWatches(WatchBounds(watch_events_max=2, progress_events_max=1), revision=1)
    watch = watches.open(None, None, True, 0)
    watches.publish_progress(TaskProgressed(TaskId(1), 1, 0.1, "", b"", 0))
    for revision in range(2, 5):
        watches.publish(commit(task(revision, task_id=revision)), revision)
    watches.publish_progress(TaskProgressed(TaskId(1), 1, 0.2, "", b"", 0))
    with pytest.raises(Refused, match="revision 1"):
        await watch.take(10, 1 << 20)


async def test_ending_ends_all_and_closing_is_idempotent() -> None:
    watches = TaskWatches(WatchBounds(), 0)
    wide, one = watches.open(None, None, False, 0), watches.open(None, TaskId(1), False, 0)
    assert watches.count == 2
    watches.end(Refusal(reasons.DRAINING, "bye"))
    for watch in (wide, one):
        with pytest.raises(Refused):
            await watch.take(1, 1)
        watch.close()
        watch.close()
    assert watches.count == 0


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (TaskQuery(), True),
        (TaskQuery(states=(4,), types=("echo",), priorities=(2,)), True),
        (TaskQuery(priorities=(3,)), False),
        (TaskQuery(labels=(("team", "a"),)), True),
        (TaskQuery(labels=(("team", "b"),)), False),
        (TaskQuery(parent_id=7), False),
        (TaskQuery(create_from_ms=1_001, create_to_ms=1_002), True),
        (TaskQuery(create_to_ms=1_001), False),
        (TaskQuery(create_from_ms=1_002), False),
        (TaskQuery(end_from_ms=5_000, end_to_ms=5_001), True),
        (TaskQuery(end_to_ms=5_000), False),
    ],
)
def test_a_change_matches_as_a_row_would(query: TaskQuery, wanted: bool) -> None:
    (done,) = commit(task(1, state=4, before=3, labels={"team": "a"})).changes()
    assert matches(query, done, done.state) is wanted
