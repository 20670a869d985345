"""Writes what a collaboration came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.rpc.ids import task_text
from upbeat_server.rpc.parts import fill_duration, fill_error, fill_payload
from upbeat_server.rpc.values import JSON_TYPE

if TYPE_CHECKING:
    from upbeat.v1 import payload_pb2, task_pb2
    from upbeat_server.engine.model import ChildOutcome, CollaborationResult, GroupRecord


def fill_group(message: task_pb2.Task, group: GroupRecord, *, with_payloads: bool) -> None:
    """Write the children of a collaboration in numbers, and what it came to once that is known."""
    children = message.children
    children.SetInParent()
    children.live = group.live
    children.completed = group.completed
    children.failed = group.failed
    children.cancelled = group.cancelled
    if group.result is not None:
        _fill_result(message.collaboration_result, group.result, with_payloads=with_payloads)


def _fill_result(
    message: task_pb2.CollaborationResult, result: CollaborationResult, *, with_payloads: bool
) -> None:
    message.SetInParent()
    message.mode = result.mode
    if result.winner_id:
        message.winner_task_id = task_text(result.winner_id)
    message.child_task_ids.extend(task_text(task_id) for task_id in result.child_ids)
    for entry in result.tally:
        added = message.tally.add(ballots=entry.ballots, weight=entry.weight)
        _fill_json(added.value, entry.value)
    message.margin = result.margin
    if result.winning_value:
        _fill_json(message.winning_value, result.winning_value)
    message.dissent_task_ids.extend(task_text(task_id) for task_id in result.dissent_ids)
    message.missing = result.missing
    message.abstained = result.abstained
    message.decided_early = result.decided_early
    message.rounds = result.rounds
    for outcome in result.partial:
        _fill_outcome(message.partial.add(), outcome, with_payloads=with_payloads)
    message.partial_truncated = result.partial_truncated
    for item in result.item_errors:
        error = message.item_errors.add(index=item.index, stage=item.stage, task_id=task_text(item.task_id))
        if item.error is not None:
            fill_error(error.error, item.error)
    message.failed_items = result.failed_items
    message.completed_items = result.completed_items
    if result.wasted_ms:
        fill_duration(message.wasted, result.wasted_ms)


def _fill_outcome(message: task_pb2.ChildOutcome, outcome: ChildOutcome, *, with_payloads: bool) -> None:
    message.task_id = task_text(outcome.task_id)
    message.name = outcome.name
    message.ordinal = outcome.ordinal
    message.state = outcome.state  # type: ignore[assignment]
    if with_payloads and outcome.output is not None:
        fill_payload(message.output, outcome.output)
    if outcome.error is not None:
        fill_error(message.error, outcome.error)


def _fill_json(message: payload_pb2.Payload, value: bytes) -> None:
    message.content_type = JSON_TYPE
    message.data = value
