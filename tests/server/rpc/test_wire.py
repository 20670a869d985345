"""The scan of large messages: never more permissive than the parser, and bounded."""

from __future__ import annotations

import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from upbeat.v1 import agent_service_pb2, payload_pb2, task_service_pb2, task_spec_pb2
from upbeat_server.engine import reasons
from upbeat_server.rpc import wire
from upbeat_server.runtime.refused import Refused

BATCH = wire.plan_of(task_service_pb2.BatchSubmitTasksRequest.DESCRIPTOR)
CONNECT = wire.plan_of(agent_service_pb2.ConnectRequest.DESCRIPTOR)
VALUE = wire.plan_of(struct_pb2.Value.DESCRIPTOR)
LARGE = b"p" * (wire.SCAN_FREE_BYTES + 1)


def reason(message: bytes, plan: wire.Plan = BATCH) -> str:
    """Why the scan refuses; empty if it does not."""
    try:
        wire.check(message, plan)
    except Refused as error:
        return error.refusal.reason
    return ""


def large_batch(spec: task_spec_pb2.TaskSpec) -> bytes:
    """A request that is large enough to be scanned."""
    spec.input.data = LARGE
    submission = task_service_pb2.SubmitTaskRequest(spec=spec)
    return task_service_pb2.BatchSubmitTasksRequest(requests=[submission]).SerializeToString()


def test_a_small_message_is_not_scanned() -> None:
    assert reason(b"\x12\x00" * 1_000) == ""


def test_empty_messages_without_end_are_refused_with_their_field() -> None:
    with pytest.raises(Refused) as caught:
        wire.check(b"\x12\x00" * 524_288, BATCH)
    assert caught.value.refusal.violations[0][0] == "requests"


def test_keys_of_a_map_that_repeat_are_counted_each() -> None:
    submission = task_service_pb2.SubmitTaskRequest(spec=task_spec_pb2.TaskSpec(labels={"a": "b"}))
    spec = submission.spec.SerializeToString() * 200_000
    inner = b"\x12" + _length(spec) + spec
    with pytest.raises(Refused) as caught:
        wire.check(b"\x12" + _length(inner) + inner, BATCH)
    assert caught.value.refusal.violations[0][0] == "labels"


def test_a_large_json_object_is_not_taken_for_a_map_of_ours() -> None:
    payload = payload_pb2.Payload()
    payload.json.struct_value.update({f"key{number}": "x" * 60 for number in range(2_000)})
    assert reason(payload.SerializeToString(), wire.plan_of(payload.DESCRIPTOR)) == ""


def test_fields_of_all_levels_together_are_bounded() -> None:
    results = b"\x2a\x04\x22\x02\x08\x01" * 19_000  # Within the bound of one field.
    progress = b"\x22\x04\x0a\x02ab" * 19_000
    acks = b"\x1a\x04\x0a\x02ab" * 19_000
    with pytest.raises(Refused) as caught:
        wire.check((results + progress + acks) * 2, CONNECT)
    assert caught.value.refusal.reason == reasons.INVALID_FIELD


def test_what_a_legal_agent_may_hold_passes() -> None:
    hello = agent_service_pb2.Hello(held_leases=[f"{number:020x}" for number in range(20_000)])
    request = agent_service_pb2.ConnectRequest(hello=hello)
    assert reason(request.SerializeToString(), CONNECT) == ""


def test_the_largest_batch_passes() -> None:
    spec = task_spec_pb2.TaskSpec(
        type="t",
        labels={f"key{number}": "value" for number in range(32)},
        required_capabilities=[f"c{number}" for number in range(16)],
    )
    submission = task_service_pb2.SubmitTaskRequest(spec=spec, request_id="r")
    batch = task_service_pb2.BatchSubmitTasksRequest(requests=[submission] * 1_000)
    assert reason(batch.SerializeToString()) == ""


@pytest.mark.parametrize(
    "tail",
    [
        b"\x08" + b"\x80" * 10 + b"\x01",  # A varint of eleven bytes.
        b"\x12",  # A length that is missing.
        b"\x12\x05ab",  # A length past the end.
        b"\x0d\x00",  # A fixed number past the end.
        b"\x7b",  # An open group.
        b"\x7c",  # A group that was never opened.
        b"\x7b\x84\x01",  # A group closed under another number.
        b"\x0e",  # A kind that does not exist.
        b"\x7b" * 101 + b"\x7c" * 101,  # 101 levels.
        b"\x7b" * 100_000 + b"\x7c" * 100_000,
    ],
)
def test_a_large_message_that_is_broken_is_malformed(tail: bytes) -> None:
    assert reason(large_batch(task_spec_pb2.TaskSpec()) + tail) == reasons.MALFORMED_MESSAGE


def test_groups_that_are_closed_pass_as_unknown_fields() -> None:
    tail = b"\x7b" * 100 + b"\x7c" * 100
    message = large_batch(task_spec_pb2.TaskSpec()) + tail
    assert reason(message) == ""
    task_service_pb2.BatchSubmitTasksRequest.FromString(message)


def test_deep_values_are_refused_like_the_parser_does() -> None:
    value = struct_pb2.Value(string_value="x" * wire.SCAN_FREE_BYTES).SerializeToString()
    for _ in range(60):
        value = b"\x0a" + _length(value) + value
        value = b"\x32" + _length(value) + value
    assert reason(value, VALUE) == reasons.MALFORMED_MESSAGE
    with pytest.raises(DecodeError):
        struct_pb2.Value.FromString(value)


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_the_scan_refuses_nothing_that_the_parser_takes(tail: bytes) -> None:
    message = large_batch(task_spec_pb2.TaskSpec(type="t")) + tail
    try:
        task_service_pb2.BatchSubmitTasksRequest.FromString(message)
    except DecodeError:
        return
    assert reason(message) == ""


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_the_scan_answers_or_refuses_whatever_comes(tail: bytes) -> None:
    assert reason(LARGE + tail) in {reasons.MALFORMED_MESSAGE, reasons.INVALID_FIELD, ""}


FIELD_NAMES = st.sampled_from(("type", "selector", "fairness_key", "dedup_key"))


@given(st.lists(st.tuples(FIELD_NAMES, st.text(max_size=20)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_message_that_was_encoded_passes(fields: list[tuple[str, str]]) -> None:
    spec = task_spec_pb2.TaskSpec()
    for name, text in fields:
        setattr(spec, name, text.encode("utf-8", "ignore").decode())
    assert reason(large_batch(spec)) == ""


def _length(data: bytes) -> bytes:
    size, encoded = len(data), bytearray()
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)
