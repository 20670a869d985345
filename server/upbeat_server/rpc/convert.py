"""Tasks and agents as messages. Repeated items are built with ``add``: half the cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.v1 import task_pb2
from upbeat_server.engine.model import FINISHED, attempt_of, lease_of, task_of
from upbeat_server.rpc.collaboration_result import fill_group
from upbeat_server.rpc.ids import lease_text, task_text
from upbeat_server.rpc.parts import fill_duration, fill_error, fill_payload, fill_time, fill_usage
from upbeat_server.rpc.spec_writer import fill_spec

if TYPE_CHECKING:
    from upbeat.v1 import agent_pb2
    from upbeat_server.runtime.snapshot import AgentSnapshot, TaskSnapshot

FULL = task_pb2.TASK_VIEW_FULL
BASIC = task_pb2.TASK_VIEW_BASIC


class TaskWriter:
    """Writes tasks of one server as messages."""

    def __init__(self, retention_ms: int) -> None:
        self._retention_ms = retention_ms

    def fill(self, message: task_pb2.Task, snapshot: TaskSnapshot, namespace: str, view: int) -> None:
        """Write a task into an empty message."""
        record, spec = snapshot.record, snapshot.spec
        is_full = view == FULL
        message.task_id = message.root_task_id = task_text(record.task_id)
        message.namespace = namespace
        fill_spec(message.spec, spec, with_payloads=is_full)
        message.state = record.state  # type: ignore[assignment]
        if record.parent_id:
            message.parent_task_id = task_text(record.parent_id)
            message.member = record.member
        if record.root_id:
            message.root_task_id = task_text(record.root_id)
        message.attempt_count = record.attempt
        for attempt in record.attempts:
            added = message.attempts.add(
                attempt=attempt.attempt,
                lease_id=lease_text(lease_of(task_of(lease_of(record.task_id, 0)), attempt.attempt)),  # type: ignore[arg-type]
                agent_id=attempt.agent_id,
                outcome=attempt.outcome,
            )
            fill_time(added.start_time, attempt.start_ms)
            if attempt.end_ms:
                fill_time(added.end_time, attempt.end_ms)
            if attempt.error is not None:
                fill_error(added.error, attempt.error)
        if snapshot.progress is not None and attempt_of(snapshot.progress.lease_id) == record.attempt:  # type: ignore[arg-type]
            message.progress = snapshot.progress.fraction
            message.progress_message = snapshot.progress.message
        if is_full and record.output is not None:
            fill_payload(message.output, record.output)
        if record.error is not None:
            fill_error(message.error, record.error)
        fill_usage(message.usage, record.usage)
        self._fill_times(message, snapshot)
        message.revision = record.revision
        message.request_id = record.request_id
        message.ordinal = record.ordinal
        if record.group is not None:
            fill_group(message, record.group, with_payloads=is_full)

    def _fill_times(self, message: task_pb2.Task, snapshot: TaskSnapshot) -> None:
        record, spec = snapshot.record, snapshot.spec
        fill_time(message.create_time, record.create_ms)
        if record.start_ms:
            fill_time(message.start_time, record.start_ms)
        if record.end_ms:
            fill_time(message.end_time, record.end_ms)
        if spec.total_timeout_ms:
            fill_time(message.deadline_time, record.create_ms + spec.total_timeout_ms)
        if record.state in FINISHED:
            fill_time(message.expire_time, record.end_ms + self._retention_ms)
        if record.queued_since_ms:
            fill_time(message.queue_time, record.queued_since_ms)
        if record.eligible_ms:
            fill_time(message.eligible_time, record.eligible_ms)


def fill_agent(message: agent_pb2.Agent, agent: AgentSnapshot) -> None:
    """Write an agent."""
    message.agent_id = agent.agent_id
    message.name = agent.name
    message.capabilities.extend(agent.capabilities)
    message.labels.update(agent.labels)
    message.slots = agent.slots
    message.in_use = agent.in_use
    message.state = agent.state  # type: ignore[assignment]
    fill_time(message.connect_time, agent.connect_ms)
    fill_time(message.last_seen_time, agent.last_seen_ms)
    message.sdk_version = agent.sdk_version
    message.completed_count = agent.completed
    message.failed_count = agent.failed
    for line in agent.performance:
        added = message.performance.add(type=line.type, count=line.count, success_rate=line.success_rate)
        fill_duration(added.duration_estimate, round(line.duration_ms))
