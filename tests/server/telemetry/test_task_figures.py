"""Tasks by priority and type, with no more types than are allowed."""

from __future__ import annotations

from upbeat_server.engine.model import Priority, TaskRecord, TaskSpec, TaskState
from upbeat_server.engine.queue import Signature
from upbeat_server.engine.task import Task
from upbeat_server.telemetry.task_figures import COLLABORATION, OTHER, Allowance, TypedTasks


def task(task_type: str, attempt: int = 1, priority: Priority = Priority.NORMAL) -> Task:
    """A task that was submitted at 0 ms, queued at 1,000 ms and leased at 3,000 ms."""
    record = TaskRecord(
        task_id=1,
        state=TaskState.RUNNING,
        create_ms=0,
        queued_since_ms=1_000,
        start_ms=3_000,
        attempt=attempt,
    )
    return Task(record, TaskSpec(type=task_type, priority=priority), Signature((task_type, (), ""), None))


def counted(typed: TypedTasks) -> dict[tuple[int, str], int]:
    """How many waits are counted where."""
    return {(priority, name): sum(figures.wait.counts) for priority, name, figures in typed.items()}


def test_a_wait_is_counted_at_the_first_lease_and_begins_in_the_queue() -> None:
    typed = TypedTasks(9, Allowance())
    typed.leased([task("a"), task("a", attempt=2)])
    ((_, _, figures),) = typed.items()
    assert sum(figures.wait.counts) == 1
    assert figures.wait.sum == 2


def test_neighbours_of_other_priorities_and_types_are_kept_apart() -> None:
    typed = TypedTasks(9, Allowance())
    typed.leased([task("a"), task("b"), task("a"), task("a", priority=Priority.HIGH)])
    assert counted(typed) == {(Priority.NORMAL, "a"): 2, (Priority.NORMAL, "b"): 1, (Priority.HIGH, "a"): 1}


def test_types_beyond_those_allowed_are_counted_as_other() -> None:
    typed = TypedTasks(2, Allowance())
    typed.leased([task(name) for name in "abcdab"])
    normal = Priority.NORMAL
    assert counted(typed) == {(normal, "a"): 2, (normal, "b"): 2, (normal, OTHER): 2}
    assert typed.names.labels == ["a", "b"]


def test_all_namespaces_together_name_no_more_than_is_allowed() -> None:
    allowance = Allowance(3)
    first, second = TypedTasks(2, allowance), TypedTasks(2, allowance)
    first.leased([task("a"), task("b")])
    second.leased([task("c"), task("d")])
    assert [*first.names.labels, *second.names.labels] == ["a", "b", "c"]


def test_nothing_is_named_where_nothing_may_be() -> None:
    typed = TypedTasks(0, Allowance())
    typed.leased([task("a")])
    assert counted(typed) == {(Priority.NORMAL, OTHER): 1}


def test_collaborations_have_no_type_and_take_no_name() -> None:
    names = TypedTasks(1, Allowance()).names
    assert (names.label(""), names.label("a"), names.label("")) == (COLLABORATION, "a", COLLABORATION)
    assert names.labels == ["a"]


def test_turns_add_up() -> None:
    typed = TypedTasks(9, Allowance())
    for _ in range(2):
        ended = task("a")
        ended.record.state, ended.record.end_ms = TaskState.FAILED, 4_000
        for figures in typed.ended([ended, ended]):
            figures.close_turn()
    ((_, _, figures),) = typed.items()
    assert figures.ended[TaskState.FAILED] == 4
    assert figures.total.sum == 16
