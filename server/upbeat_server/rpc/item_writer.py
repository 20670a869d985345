"""Writes the items that there are as many of as tasks, straight as their bytes on the wire.

A protobuf object costs a call for every field; here an item is one formatting of bytes. It
is what protobuf would write, byte for byte, under the numbers of the contract. Fields that
few items have are written by protobuf and put behind.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from upbeat.v1 import agent_service_pb2, payload_pb2, task_service_pb2
from upbeat_server.engine.model import TaskState
from upbeat_server.rpc.ids import LEASE_DIGITS, TASK_DIGITS, lease_text, task_text
from upbeat_server.rpc.parts import fill_duration, fill_error, fill_payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import Descriptor

    from upbeat_server.engine.model import Payload
    from upbeat_server.runtime.outbox import Assignment, ResultAnswer
    from upbeat_server.runtime.submissions import Finished

_VARINT, _BYTES = 0, 2
_COMPLETED = int(TaskState.COMPLETED)


def _long_varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


_VARINTS = tuple(map(_long_varint, range(1_024)))


def varint(number: int) -> bytes:
    """A number that is not negative, or the size of what follows."""
    return _VARINTS[number] if number < 1_024 else _long_varint(number)


def _key(message: Descriptor, name: str, kind: int = _BYTES) -> bytes:
    """What a field begins with."""
    return varint(message.fields_by_name[name].number << 3 | kind)


def _id(message: Descriptor, name: str, digits: int) -> bytes:
    """The field of an id, to be formatted with it."""
    return _key(message, name) + varint(digits) + b"%%0%dx" % digits


_PAYLOAD = payload_pb2.Payload.DESCRIPTOR
_CONTENT_TYPE = _key(_PAYLOAD, "content_type")
_DATA = _key(_PAYLOAD, "data")

_RESPONSE = agent_service_pb2.ConnectResponse.DESCRIPTOR
_ASSIGNMENTS = _key(_RESPONSE, "assignments")
_RESULT_ACKS = _key(_RESPONSE, "result_acks")

_OF_ASSIGNMENT = agent_service_pb2.Assignment.DESCRIPTOR
_TYPE = _key(_OF_ASSIGNMENT, "type")
_INPUT = _key(_OF_ASSIGNMENT, "input")
_TIME_REMAINING = _key(_OF_ASSIGNMENT, "time_remaining")
_ASSIGNMENT = (
    _id(_OF_ASSIGNMENT, "task_id", TASK_DIGITS)
    + _id(_OF_ASSIGNMENT, "lease_id", LEASE_DIGITS)
    + _key(_OF_ASSIGNMENT, "attempt", _VARINT)
    + b"%b%b%b%b"  # The number of the attempt; the fields of type, input and time.
)

_OF_ACK = agent_service_pb2.ResultAck.DESCRIPTOR
_ACK = _id(_OF_ACK, "lease_id", LEASE_DIGITS) + _key(_OF_ACK, "outcome", _VARINT) + b"%c"
_RESULT_ACK = _RESULT_ACKS + varint(len(_ACK % (0, 0))) + _ACK

_OF_STREAM = task_service_pb2.StreamTasksResponse.DESCRIPTOR
_OF_ACCEPTED = task_service_pb2.TaskAccepted.DESCRIPTOR
_ACCEPTED_ID = _id(_OF_ACCEPTED, "task_id", TASK_DIGITS)
_ACCEPTED = _key(_OF_STREAM, "accepted") + b"%b" + _key(_OF_ACCEPTED, "request_id") + b"%b%b" + _ACCEPTED_ID
_ACCEPTED_BYTES = len(_key(_OF_ACCEPTED, "request_id")) + len(_ACCEPTED_ID % 0)

_OF_FINISHED = task_service_pb2.TaskFinished.DESCRIPTOR
_ALL_FINISHED = _key(_OF_STREAM, "finished")
_OUTPUT = _key(_OF_FINISHED, "output")
_ERROR = _key(_OF_FINISHED, "error")
_ATTEMPT_COUNT = _key(_OF_FINISHED, "attempt_count", _VARINT)
_FINISHED = (
    _key(_OF_FINISHED, "request_id")
    + b"%b%b"
    + _id(_OF_FINISHED, "task_id", TASK_DIGITS)
    + _key(_OF_FINISHED, "state", _VARINT)
    + b"%c%b"  # The state; the fields of output or error.
)


class AssignmentWriter:
    """Writes the assignments of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        start = namespace.encode() + b"/"
        key, task = _key(_OF_ASSIGNMENT, "idempotency_key"), start + b"%%0%dx" % TASK_DIGITS
        self._id_bytes = len(start) + TASK_DIGITS
        self._plain = _ASSIGNMENT + key + varint(self._id_bytes) + task
        self._child = (
            _ASSIGNMENT + key + b"%b" + task + b"/%b" + _id(_OF_ASSIGNMENT, "parent_task_id", TASK_DIGITS)
        )

    def write(self, assignments: Iterable[Assignment], parts: list[bytes]) -> None:
        """Append each as a field of an agent's frame."""
        add = parts.append
        for item in assignments:
            spec, task_id = item.spec, item.task_id
            fields = (
                task_id,
                item.lease_id,
                varint(item.attempt),
                _type_field(spec.type),
                _payload_field(_INPUT, spec.input),
                _time_field(item.time_remaining_ms),
            )
            if spec.labels or item.traceparent or spec.context or item.last_progress is not None:
                body = _ASSIGNMENT % fields + self._rest(item).SerializeToString()
            elif item.parent_id:
                member, parent_id = item.member.encode(), item.parent_id
                size = varint(self._id_bytes + 1 + len(member))
                body = self._child % (*fields, size, parent_id, member, parent_id)
            else:
                body = self._plain % (*fields, task_id)
            add(_ASSIGNMENTS)
            add(varint(len(body)))
            add(body)

    def _rest(self, item: Assignment) -> agent_service_pb2.Assignment:
        """What stands behind the time."""
        message = agent_service_pb2.Assignment()
        spec, progress = item.spec, item.last_progress
        if spec.labels:
            message.labels.update(spec.labels)
        if item.traceparent:
            message.traceparent = item.traceparent
        # Task ids are unique within a namespace only. What a child is to its collaboration is the same if
        # the collaboration should ever make it anew.
        message.idempotency_key = f"{self._namespace}/{task_text(item.task_id)}"
        if item.parent_id:
            message.parent_task_id = parent = task_text(item.parent_id)
            message.idempotency_key = f"{self._namespace}/{parent}/{item.member}"
            for entry in spec.context:
                fill_payload(message.context.add(name=entry.name).payload, entry.payload)
        if progress is not None:
            last = message.last_progress
            last.lease_id = lease_text(progress.lease_id)
            last.fraction = progress.fraction
            last.message = progress.message
            last.chunk = progress.chunk
            last.sequence = progress.sequence
        return message


def write_answers(answers: Iterable[ResultAnswer], parts: list[bytes]) -> None:
    """Append each answer to a result as a field of an agent's frame."""
    add = parts.append
    for answer in answers:
        lease, error = answer.lease, answer.error
        if error is None and isinstance(lease, int):
            add(_RESULT_ACK % (lease, answer.outcome))
            continue
        text = lease if isinstance(lease, str) else lease_text(lease)
        ack = agent_service_pb2.ResultAck(lease_id=text, outcome=answer.outcome)  # type: ignore[arg-type]
        if error is not None:
            fill_error(ack.error, error)
        add(_field(_RESULT_ACKS, ack.SerializeToString()))


def write_accepted(accepted: Iterable[tuple[str, int]], parts: list[bytes]) -> None:
    """Append each acceptance as a field of a submitter's frame."""
    add = parts.append
    for request_id, task_id in accepted:
        text = request_id.encode()
        size = varint(len(text))
        add(_ACCEPTED % (varint(_ACCEPTED_BYTES + len(size) + len(text)), size, text, task_id))


def write_finished(finished: Iterable[Finished], parts: list[bytes]) -> None:
    """Append each end as a field of a submitter's frame."""
    add = parts.append
    for end in finished:
        record, text = end.record, end.request_id.encode()
        rest = b""
        if record.state == _COMPLETED:
            if record.output is not None:
                rest = _payload_field(_OUTPUT, record.output)
        elif record.error is not None:
            error = payload_pb2.Error()
            fill_error(error, record.error)
            rest = _field(_ERROR, error.SerializeToString())
        if record.attempt:
            rest += _ATTEMPT_COUNT + varint(record.attempt)
        body = _FINISHED % (varint(len(text)), text, record.task_id, record.state, rest)
        add(_ALL_FINISHED)
        add(varint(len(body)))
        add(body)


def _field(key: bytes, data: bytes) -> bytes:
    return b"%b%b%b" % (key, varint(len(data)), data)


def _payload_field(key: bytes, payload: Payload) -> bytes:
    data = payload.data
    head, size = _content_head(payload.content_type), varint(len(data))
    return b"%b%b%b%b%b" % (key, varint(len(head) + len(size) + len(data)), head, size, data)


@lru_cache(1_024)
def _content_head(content_type: str) -> bytes:
    """What a payload has before the size of its data."""
    return (_field(_CONTENT_TYPE, content_type.encode()) if content_type else b"") + _DATA


@lru_cache(1_024)
def _type_field(type_name: str) -> bytes:
    return _field(_TYPE, type_name.encode()) if type_name else b""


@lru_cache(1_024)
def _time_field(milliseconds: int) -> bytes:
    duration = Duration()
    fill_duration(duration, max(milliseconds, 0))
    return _field(_TIME_REMAINING, duration.SerializeToString())
