"""From what the server answers to the errors that are raised.

The rich details of a call (`grpc-status-details-bin`) are read with message
classes that this module builds in a descriptor pool of its own, which never
clashes with another copy of google.rpc in the process. Details that cannot be
read are ignored: the code and the message are always there.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from upbeat.errors import (
    TASK_REASONS,
    Refused,
    TaskCancelled,
    TaskEnded,
    TaskFailed,
    Violation,
    refused,
)
from upbeat.v1 import payload_pb2, refusal_pb2, task_pb2

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "upbeat"

_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _BYTES, _INT32, _INT64, _MESSAGE = (
    _Field.TYPE_STRING,
    _Field.TYPE_BYTES,
    _Field.TYPE_INT32,
    _Field.TYPE_INT64,
    _Field.TYPE_MESSAGE,
)
# The parts of google.rpc.Status and its details that are read here; numbers
# as in google/rpc/status.proto and error_details.proto. A trailing * repeats.
_SHAPES: dict[str, list[tuple[str, int, int, str]]] = {
    "Any": [("type_url", 1, _STRING, ""), ("value", 2, _BYTES, "")],
    "Status": [("code", 1, _INT32, ""), ("message", 2, _STRING, ""), ("details*", 3, _MESSAGE, "Any")],
    "Entry": [("key", 1, _STRING, ""), ("value", 2, _STRING, "")],
    "ErrorInfo": [
        ("reason", 1, _STRING, ""),
        ("domain", 2, _STRING, ""),
        ("metadata*", 3, _MESSAGE, "Entry"),
    ],
    "FieldViolation": [("field", 1, _STRING, ""), ("description", 2, _STRING, "")],
    "BadRequest": [("field_violations*", 1, _MESSAGE, "FieldViolation")],
    "Delay": [("seconds", 1, _INT64, ""), ("nanos", 2, _INT32, "")],
    "RetryInfo": [("retry_delay", 1, _MESSAGE, "Delay")],
}


def _classes() -> dict[str, Any]:
    package = "upbeat.client.details"
    file = descriptor_pb2.FileDescriptorProto(
        name="upbeat/client/details.proto", package=package, syntax="proto3"
    )
    for name, fields in _SHAPES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            message.field.add(
                name=field.rstrip("*"),
                number=number,
                type=kind,
                label=_Field.LABEL_REPEATED if field.endswith("*") else _Field.LABEL_OPTIONAL,
                type_name=f".{package}.{of}" if of else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in _SHAPES
    }


_CLASSES = _classes()


def error_of_call(error: grpc.aio.AioRpcError) -> Refused:
    """The typed error for a call that ended with a status."""
    return error_of_status(error.code(), error.details() or "", error.trailing_metadata())


def error_of_status(code: grpc.StatusCode, message: str, trailing: Any) -> Refused:
    """The typed error for a status, with whatever its trailing metadata adds."""
    reason, metadata, violations, retry_after = "", {}, [], None
    for detail in _details(trailing):
        name = detail.type_url.rpartition(".")[2]
        if name not in ("ErrorInfo", "BadRequest", "RetryInfo"):
            continue
        try:
            body = _CLASSES[name].FromString(detail.value)
        except DecodeError:
            continue
        if name == "ErrorInfo" and body.domain == DOMAIN:
            reason = body.reason
            metadata = {entry.key: entry.value for entry in body.metadata}
        elif name == "BadRequest":
            violations = [Violation(each.field, each.description) for each in body.field_violations]
        elif name == "RetryInfo":
            retry_after = body.retry_delay.seconds + body.retry_delay.nanos / 1e9
    return refused(code.name, reason)(
        message or code.name,
        reason=reason,
        code=code.name,
        metadata=metadata,
        violations=violations,
        retry_after=retry_after,
    )


def _details(trailing: Any) -> list[Any]:
    for key, value in trailing or ():
        if key == DETAILS_KEY:
            try:
                return list(_CLASSES["Status"].FromString(value).details)
            except DecodeError:
                return []
    return []


_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def error_of_refusal(refusal: refusal_pb2.Refusal) -> Refused:
    """The typed error for one refused item of a batch or a stream."""
    code = _CODES.get(refusal.code, "UNKNOWN")
    return refused(code, refusal.reason)(
        refusal.message or refusal.reason or code,
        reason=refusal.reason,
        code=code,
        metadata=refusal.metadata,
        violations=[Violation(each.field, each.description) for each in refusal.violations],
        retry_after=refusal.retry_delay.ToTimedelta().total_seconds()
        if refusal.HasField("retry_delay")
        else None,
    )


def error_of_task(
    state: task_pb2.Task.State.ValueType, error: payload_pb2.Error, task_id: str, attempt_count: int
) -> TaskEnded | None:
    """What a finished task raises; None when it COMPLETED."""
    if state == task_pb2.Task.STATE_COMPLETED:
        return None
    kind: type[TaskEnded] = TASK_REASONS.get(error.reason, TaskFailed)
    if state == task_pb2.Task.STATE_CANCELLED:
        kind = TaskCancelled
    return kind(
        error.message or f"task {task_id} ended as {task_pb2.Task.State.Name(state)}",
        reason=error.reason or ("CANCELLED" if kind is TaskCancelled else ""),
        task_id=task_id,
        attempt_count=attempt_count,
        details=error.details,
    )
