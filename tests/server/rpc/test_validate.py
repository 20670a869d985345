"""Submissions as they are read at the door."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from upbeat.v1 import task_service_pb2
from upbeat_server.engine import reasons
from upbeat_server.engine.events import Submission
from upbeat_server.engine.model import (
    DEFAULT_RETRY,
    Collaboration,
    Competitive,
    Payload,
    Refusal,
    TaskSpec,
)
from upbeat_server.rpc.validate import SubmissionReader
from upbeat_server.store import codec

wire: Any = task_service_pb2  # Messages take dicts for messages, which their stubs do not know.
READER = SubmissionReader(1_024)
DAY_S = 86_400


def read(request_id: str = "", **spec: Any) -> Submission | Refusal:
    spec.setdefault("type", "echo")
    request = wire.SubmitTaskRequest(spec=spec, request_id=request_id)
    return READER.read(request)


def spec_of(**fields: Any) -> TaskSpec:
    answer = read(**fields)
    assert isinstance(answer, Submission), answer
    return answer.spec


def refusal_of(**fields: Any) -> Refusal:
    answer = read(**fields)
    assert isinstance(answer, Refusal), answer
    return answer


def test_a_bare_spec_gets_the_defaults_of_the_model() -> None:
    assert spec_of() == TaskSpec("echo")
    assert spec_of(retry={}).retry == DEFAULT_RETRY


def test_every_field_arrives() -> None:
    spec = spec_of(
        input={"content_type": "text/plain", "data": b"x"},
        priority=4,
        required_capabilities=["gpu", "echo", "big", "gpu"],
        selector='labels.region == "eu"',
        fairness_key="tenant",
        fairness_weight=2.5,
        labels={"b": "2", "a": "1"},
        size_hint=7.5,
        queue_timeout={"seconds": 1},
        attempt_timeout={"nanos": 1},
        total_timeout={"seconds": 3_650 * DAY_S},
        retry={
            "max_attempts": 5,
            "initial_backoff": {},
            "multiplier": 3,
            "max_backoff": {"seconds": 2},
            "non_retryable_reasons": ["B", "A", "B"],
        },
        not_before_time={"seconds": 5, "nanos": 1},
        side_effects=3,
        dedup_key="once",
        traceparent="00-1-2-03",
        sticky_key="chat 7",
    )
    assert spec.input == Payload("text/plain", b"x")
    assert spec.required_capabilities == ("big", "gpu")
    assert list(spec.labels) == ["a", "b"]
    assert (spec.queue_timeout_ms, spec.attempt_timeout_ms) == (1_000, 1)
    assert spec.total_timeout_ms == 3_650 * DAY_S * 1_000
    assert spec.retry.initial_backoff_ms == 0
    assert spec.retry.non_retryable_reasons == ("A", "B")
    assert (spec.not_before_ms, spec.side_effects) == (5_001, 3)
    assert (spec.dedup_key, spec.traceparent, spec.size_hint) == ("once", "00-1-2-03", 7.5)
    assert (spec.fairness_key, spec.sticky_key) == ("tenant", "chat 7")


def test_equal_specs_have_equal_fingerprints_and_a_predicate_comes_with_a_selector() -> None:
    first = read(labels={"a": "1", "b": "2"}, selector="has(labels.x)")
    second = read(labels={"b": "2", "a": "1"}, selector="has(labels.x)", priority=2)
    assert isinstance(first, Submission)
    assert isinstance(second, Submission)
    assert first.fingerprint == second.fingerprint == codec.fingerprint(first.spec_bytes)
    assert first.predicate is not None
    assert first.predicate({"x": ""})


@pytest.mark.parametrize(
    ("tree", "data"),
    [
        ({"b": 1, "a": [None, True, 0.5, "é", -2.0]}, '{"a":[null,true,0.5,"é",-2],"b":1}'),
        (None, "null"),
        (1e300, "1e300"),
        ({}, "{}"),
    ],
)
def test_json_written_by_hand_is_the_same_bytes_every_time(tree: Any, data: str) -> None:
    value = json_format.ParseDict(tree, struct_pb2.Value())
    assert spec_of(input={"json": value}).input == Payload("application/json", data.encode())


def test_json_that_is_none_is_refused() -> None:
    unset = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[struct_pb2.Value()]))
    for value in (struct_pb2.Value(), unset, struct_pb2.Value(number_value=float("nan"))):
        refusal = refusal_of(input={"json": value})
        assert refusal.violations[0][0] == "spec.input.json"
    typed = refusal_of(input={"json": struct_pb2.Value(bool_value=True), "content_type": "text/plain"})
    assert typed.violations[0][0] == "spec.input.content_type"


def test_an_input_is_refused_beyond_its_limit_with_a_remedy() -> None:
    assert spec_of(input={"data": bytes(1_024)}).input.data == bytes(1_024)
    refusal = refusal_of(input={"data": bytes(1_025)})
    assert refusal.reason == reasons.TASK_TOO_LARGE
    assert "1,025" in refusal.message
    assert "reference" in refusal.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue_timeout", {"seconds": 0}),
        ("queue_timeout", {"seconds": 1, "nanos": 2_000_000_000}),
        ("attempt_timeout", {"nanos": -1}),
        ("total_timeout", {"seconds": 3_661 * DAY_S}),
        ("not_before_time", {"seconds": 300_000_000_000}),
        ("not_before_time", {"nanos": -1}),
        ("fairness_key", "x" * 129),
        ("fairness_key", "a\u202eb"),
        ("fairness_weight", -1.0),
        ("fairness_weight", float("inf")),
        ("size_hint", float("inf")),
        ("dedup_key", "é" * 128),
        ("dedup_key", "a\nb"),
        ("traceparent", "é"),
        ("side_effects", 4),
        ("side_effects", -1),
        ("required_capabilities", [f"c{n}" for n in range(17)]),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field: str, value: Any) -> None:
    refusal = refusal_of(**{field: value})
    assert refusal.reason == reasons.INVALID_FIELD
    assert [name for name, _ in refusal.violations] == [f"spec.{field}"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", -1),
        ("max_attempts", 101),
        ("multiplier", 0.5),
        ("multiplier", float("nan")),
        ("initial_backoff", {"seconds": -1}),
        ("non_retryable_reasons", ["two words"]),
        ("non_retryable_reasons", ["R"] * 33),
    ],
)
def test_a_retry_policy_out_of_bounds_is_refused_by_name(field: str, value: Any) -> None:
    refusal = refusal_of(retry={field: value})
    assert [name for name, _ in refusal.violations] == [f"spec.retry.{field}"]


def test_a_backoff_that_shrinks_is_refused() -> None:
    refusal = refusal_of(retry={"initial_backoff": {"seconds": 2}, "max_backoff": {"seconds": 1}})
    assert refusal.violations[0][0] == "spec.retry.max_backoff"


def test_faults_of_several_reasons_are_one_refusal_of_fields() -> None:
    refusal = refusal_of(context=[{}], selector="((", priority=9)
    assert refusal.reason == reasons.INVALID_FIELD
    assert len(refusal.violations) == 3
    assert "2 more" in refusal.message
    assert refusal_of(selector="((").reason == reasons.INVALID_SELECTOR


def test_a_stream_needs_request_ids() -> None:
    request = wire.SubmitTaskRequest(spec={"type": "echo"})
    answer = READER.read(request, needs_request_id=True)
    assert isinstance(answer, Refusal)
    assert answer.violations[0][0] == "request_id"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (TaskSpec("echo", selector="(("), reasons.INVALID_SELECTOR),
        (
            TaskSpec("", collaboration=Collaboration(Competitive((TaskSpec("echo"),), 2, "(("))),
            reasons.INVALID_FIELD,
        ),
    ],
)
def test_a_stored_condition_that_is_no_longer_taken_is_the_refusal_of_its_task_alone(
    spec: TaskSpec, reason: str
) -> None:
    answer = READER.again(spec, "retry:1")
    assert isinstance(answer, Refusal)
    assert answer.reason == reason
