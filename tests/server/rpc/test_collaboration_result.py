"""Tasks that are collaborations or their children, as they are answered."""

from __future__ import annotations

from typing import Any

from upbeat.v1 import task_pb2
from upbeat_server.engine.model import (
    ChildOutcome,
    Collaboration,
    CollaborationResult,
    Error,
    GroupRecord,
    ItemError,
    Payload,
    Sequential,
    Tally,
    TaskRecord,
    TaskSpec,
    TaskState,
)
from upbeat_server.rpc.convert import BASIC, FULL, TaskWriter
from upbeat_server.rpc.ids import task_text
from upbeat_server.runtime.snapshot import TaskSnapshot

GROUP = TaskSpec("", collaboration=Collaboration(Sequential((TaskSpec("work"),))))
RESULT = CollaborationResult(
    mode="consensus",
    winner_id=7,
    child_ids=(7, 8),
    tally=(Tally(b'"a"', 2, 1.5), Tally(b'"b"', 1, 1.0)),
    margin=0.5,
    winning_value=b'"a"',
    dissent_ids=(8,),
    missing=2,
    abstained=1,
    decided_early=True,
    rounds=2,
    partial=(
        ChildOutcome(7, 0, TaskState.COMPLETED, "first", Payload("", b"secret")),
        ChildOutcome(8, 1, TaskState.FAILED, error=Error("BROKEN", "it broke")),
    ),
    partial_truncated=True,
    item_errors=(ItemError(3, 1, 9, Error("LOST")), ItemError(4, 0, 10)),
    failed_items=2,
    completed_items=5,
    wasted_ms=1_500,
)


def answered(record: TaskRecord, spec: TaskSpec, view: int = FULL) -> Any:
    message = task_pb2.Task()
    TaskWriter(1_000).fill(message, TaskSnapshot(record, spec), "default", view)
    return message


def ended(view: int = FULL) -> Any:
    group = GroupRecord(live=1, completed=2, failed=3, cancelled=4, result=RESULT)
    return answered(TaskRecord(1, TaskState.FAILED, 5, end_ms=6, group=group), GROUP, view)


def test_every_field_of_a_result_is_answered() -> None:
    result = ended().collaboration_result
    told = {field.name for field, _ in result.ListFields()}
    assert told == {field.name for field in task_pb2.CollaborationResult.DESCRIPTOR.fields}
    assert (result.winner_task_id, list(result.dissent_task_ids)) == (task_text(7), [task_text(8)])
    assert list(result.child_task_ids) == [task_text(7), task_text(8)]
    assert [(entry.value.data, entry.ballots, entry.weight) for entry in result.tally] == [
        (b'"a"', 2, 1.5),
        (b'"b"', 1, 1.0),
    ]
    assert (result.winning_value.content_type, result.winning_value.data) == ("application/json", b'"a"')
    first, second = result.partial
    assert (first.task_id, first.name, first.output.data) == (task_text(7), "first", b"secret")
    assert (second.ordinal, second.state, second.error.reason) == (1, TaskState.FAILED, "BROKEN")
    assert [(item.index, item.stage, item.task_id, item.error.reason) for item in result.item_errors] == [
        (3, 1, task_text(9), "LOST"),
        (4, 0, task_text(10), ""),
    ]
    assert result.wasted.ToMilliseconds() == 1_500


def test_the_short_form_leaves_outputs_of_children_out() -> None:
    short = ended(BASIC)
    assert b"secret" not in short.SerializeToString()
    assert [outcome.task_id for outcome in short.collaboration_result.partial] == [task_text(7), task_text(8)]


def test_children_are_counted_also_while_there_are_none() -> None:
    children = ended().children
    counts = (children.live, children.completed, children.failed, children.cancelled)
    assert counts == (1, 2, 3, 4)
    begun = answered(TaskRecord(1, TaskState.RUNNING, 5, group=GroupRecord()), GROUP)
    assert begun.HasField("children")
    assert not begun.HasField("collaboration_result")
    assert not answered(TaskRecord(1, TaskState.QUEUED, 5), TaskSpec("work")).HasField("children")


def test_a_child_knows_its_place() -> None:
    record = TaskRecord(9, TaskState.RUNNING, 5, parent_id=4, root_id=3, ordinal=2, member="step/2")
    child = answered(record, TaskSpec("work", name="third"))
    assert (child.parent_task_id, child.root_task_id) == (task_text(4), task_text(3))
    assert (child.ordinal, child.spec.name) == (2, "third")


def test_a_winning_value_that_there_is_not_is_unset() -> None:
    group = GroupRecord(result=CollaborationResult(mode="sequential"))
    result = answered(TaskRecord(1, TaskState.COMPLETED, 5, group=group), GROUP).collaboration_result
    assert result.mode == "sequential"
    assert not result.HasField("winning_value")
    assert not result.winner_task_id
