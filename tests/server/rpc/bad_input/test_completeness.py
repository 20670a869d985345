"""What the contract has, some row touches: a new RPC or field without bad input fails here."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

import upbeat.v1
from tests.server.rpc.bad_input import agent_frames, submission_frames
from tests.server.rpc.bad_input.case import FrameCase
from tests.server.rpc.bad_input.corpus import CASES
from upbeat.v1 import agent_service_pb2, task_service_pb2, task_spec_pb2

READ_BYTES_MAX = 64 << 10
"""What is larger is bad for its size."""
METHODS: dict[str, MethodDescriptor] = {
    f"{service.full_name}/{method.name}": method
    for module in pkgutil.iter_modules(upbeat.v1.__path__)
    if module.name.endswith("_pb2")
    for service in importlib.import_module(f"upbeat.v1.{module.name}").DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def contract() -> set[str]:
    """Every field that a request can hold, as message.field."""
    seen: set[str] = set()

    def walk(message: Descriptor) -> None:
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None and not is_map(field):
                walk(field.message_type)

    for method in METHODS.values():
        walk(method.input_type)
    pool = {full_name for full_name in seen if not full_name.startswith("google.protobuf.")}
    fields = set()
    for method in METHODS.values():
        for message in messages_below(method.input_type):
            if message.full_name in pool:
                fields |= {field.full_name for field in message.fields}
    return fields


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def messages_below(message: Descriptor, seen: set[str] | None = None) -> Iterator[Descriptor]:
    """The message and all that it can hold."""
    seen = set() if seen is None else seen
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    yield message
    for field in message.fields:
        if field.message_type is not None and not is_map(field):
            yield from messages_below(field.message_type, seen)


def touched(message: Message) -> Iterator[str]:
    """Every field that is set in a message, at any depth."""
    for field, value in message.ListFields():
        yield field.full_name
        if field.message_type is None or is_map(field):
            continue
        for inner in value if field.is_repeated else [value]:
            yield from touched(inner)


def sent() -> Iterator[Message]:
    """Every message of the corpus that is one."""
    for case in CASES:
        method = METHODS.get(case.method)
        for frame in case.frames if method is not None else ():
            if len(frame) > READ_BYTES_MAX:
                continue
            try:
                yield GetMessageClass(method.input_type).FromString(frame)  # type: ignore[union-attr]
            except DecodeError:
                continue
    for frames in (agent_frames.CASES, submission_frames.CASES):
        for frame_case in frames:
            yield frame_case.frame


def test_every_rpc_has_bad_input_of_its_own() -> None:
    assert set(METHODS) - {case.method for case in CASES} == set()


def test_every_field_of_every_request_is_in_some_row() -> None:
    assert contract() - {name for message in sent() for name in touched(message)} == set()


@pytest.mark.parametrize("name", [field.name for field in task_spec_pb2.TaskSpec.DESCRIPTOR.fields])
def test_every_field_of_a_spec_is_named_when_it_is_bad(name: str) -> None:
    assert [case for case in CASES if case.field.split("[")[0].startswith(f"spec.{name}")]


@pytest.mark.parametrize("name", [field.name for field in task_spec_pb2.RetryPolicy.DESCRIPTOR.fields])
def test_every_field_of_a_retry_policy_is_named_when_it_is_bad(name: str) -> None:
    assert [case for case in CASES if case.field == f"spec.retry.{name}"]


@pytest.mark.parametrize(
    ("message", "cases"),
    [
        (agent_service_pb2.ConnectRequest, agent_frames.CASES),
        (task_service_pb2.StreamTasksRequest, submission_frames.CASES),
    ],
    ids=["ConnectRequest", "StreamTasksRequest"],
)
def test_every_field_of_a_frame_is_bad_once_on_a_stream_that_goes_on(
    message: type[Message], cases: list[FrameCase]
) -> None:
    fields = {field.full_name for field in message.DESCRIPTOR.fields}
    ends = {"upbeat.v1.ConnectRequest.hello"}  # A second one ends the stream: test_corpus.py has it.
    assert fields - ends - {name for case in cases for name in touched(case.frame)} == set()


def test_no_two_rows_have_one_name() -> None:
    counts = Counter(case.name for case in CASES)
    assert [name for name, count in counts.items() if count > 1] == []


def test_there_are_as_many_as_were_asked_for() -> None:
    assert len(CASES) + len(agent_frames.CASES) + len(submission_frames.CASES) >= 170
