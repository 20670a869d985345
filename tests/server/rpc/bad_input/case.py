"""One bad input, and what has to be answered."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf.message import Message

from upbeat.v1 import (
    agent_service_pb2,
    collaboration_service_pb2,
    message_service_pb2,
    operations_service_pb2,
    sample_service_pb2,
    stats_service_pb2,
    task_service_pb2,
)

# Messages take dicts for messages, which their stubs do not know.
tasks_pb: Any = task_service_pb2
agents_pb: Any = agent_service_pb2
collaborations_pb: Any = collaboration_service_pb2
stats_pb: Any = stats_service_pb2
sample_pb: Any = sample_service_pb2
bus_pb: Any = message_service_pb2
operations_pb: Any = operations_service_pb2

Code = grpc.StatusCode
INVALID = Code.INVALID_ARGUMENT

TASKS, AGENTS = "upbeat.v1.TaskService/", "upbeat.v1.AgentService/"
SUBMIT, BATCH, STREAM = f"{TASKS}SubmitTask", f"{TASKS}BatchSubmitTasks", f"{TASKS}StreamTasks"
GET, LIST, CANCEL = f"{TASKS}GetTask", f"{TASKS}ListTasks", f"{TASKS}CancelTask"
WATCH, EXPLAIN = f"{TASKS}WatchTasks", f"{TASKS}ExplainTask"
CONNECT = f"{AGENTS}Connect"
COLLABORATIONS = "upbeat.v1.CollaborationService/"
APPEND, CLOSE, GRADE = (f"{COLLABORATIONS}{name}" for name in ("AppendItems", "CloseItems", "GradeTask"))
MESSAGES = "upbeat.v1.MessageService/"

NOBODY = "0" * 15 + "1"
"""A task_id that no task has: no epoch is 0."""
NO_LEASE = "0" * 19 + "1"

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


class Case(NamedTuple):
    """What is sent on one call, and the status it has to end with."""

    name: str
    method: str
    frames: tuple[bytes, ...]
    code: grpc.StatusCode
    reason: str = ""
    field: str = ""
    metadata: Metadata = ()


class FrameCase(NamedTuple):
    """One bad frame on a stream that goes on; what is good in the frame still counts."""

    name: str
    frame: Message
    reason: str = ""
    field: str = ""
    outcome: int = 0
    """Of the result in the frame, for agents."""


def case(
    name: str,
    method: str,
    sent: Message | bytes | tuple[Message | bytes, ...],
    code: grpc.StatusCode,
    reason: str = "",
    field: str = "",
) -> Case:
    """A case; messages are given as such."""
    frames = sent if isinstance(sent, tuple) else (sent,)
    data = tuple(frame if isinstance(frame, bytes) else frame.SerializeToString() for frame in frames)
    return Case(name, method, data, code, reason, field)


def invalid(name: str, method: str, sent: Message | bytes, field: str, reason: str = "INVALID_FIELD") -> Case:
    """A message with one bad field."""
    return case(name, method, sent, INVALID, reason, field)


def hello(**fields: Any) -> Any:
    """A first frame that is good but for what is given."""
    wanted = {"agent_id": "bad", "capabilities": ["bad.work"], "slots": 1, **fields}
    return agents_pb.ConnectRequest(hello=wanted)
