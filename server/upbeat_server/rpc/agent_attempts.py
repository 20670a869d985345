"""Attempts, told from their agent's side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.rpc.ids import task_text
from upbeat_server.rpc.parts import fill_time

if TYPE_CHECKING:
    from collections.abc import Reversible

    from upbeat.v1 import agent_service_pb2
    from upbeat_server.telemetry.recorder import AgentAttempt


def latest(ended: Reversible[AgentAttempt], agent_id: str, from_ms: int, most: int) -> list[AgentAttempt]:
    """The last of what ended at ``from_ms`` or later, oldest first; agent "" is any."""
    found: list[AgentAttempt] = []
    for entry in reversed(ended):
        attempt = entry[2]
        if len(found) >= most:
            break
        if attempt.end_ms >= from_ms and (not agent_id or attempt.agent_id == agent_id):
            found.append(entry)
    found.reverse()
    return found


def fill_attempt(message: agent_service_pb2.AgentAttempt, entry: AgentAttempt) -> None:
    """Write an attempt into an empty message."""
    task_id, task_type, attempt = entry
    message.agent_id = attempt.agent_id
    message.task_id = task_text(task_id)
    message.type = task_type
    message.attempt = attempt.attempt
    fill_time(message.start_time, attempt.start_ms)
    if attempt.end_ms:
        fill_time(message.end_time, attempt.end_ms)
    message.outcome = attempt.outcome  # type: ignore[assignment]
