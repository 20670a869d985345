"""Tasks as people write them: every spelling, and every fault with its path."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format

import upbeat
from upbeat import Budget, Retry, Skill, StopWhen
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.spec_reader import spec_of
from upbeat.v1.task_spec_pb2 import PRIORITY_HIGH, SideEffects, TaskSpec


def faults(document: Any) -> dict[str, str]:
    """What is wrong, by path."""
    with pytest.raises(Failure) as caught:
        spec_of(document, "spec.yaml")
    assert caught.value.code is ExitCode.USAGE
    assert caught.value.message.startswith("spec.yaml is no task")
    return dict(caught.value.violations)


def test_single_work_is_read_in_every_field() -> None:
    spec = spec_of(
        {
            "type": "summarize",
            "input": {"text": "x", "exact": 2**64 + 1},
            "priority": "high",
            "required_capabilities": ["gpu"],
            "selector": 'labels.region == "eu"',
            "fairness_key": "team",
            "fairness_weight": 2,
            "labels": {"k": "v"},
            "size_hint": 1.5,
            "queue_timeout": "30s",
            "attemptTimeout": "1m30s",
            "total_timeout": 90,
            "retry": {"max_attempts": 5, "initialBackoff": "200ms", "non_retryable_reasons": ["NOPE"]},
            "not_before_time": "2030-01-31T12:00:00Z",
            "side_effects": "SIDE_EFFECTS_UNSAFE",
            "dedup_key": "d",
            "limits": [{"key": "openai", "max_running": 5, "perSecond": 0.5}],
        },
        "x",
    )
    assert (spec.input.content_type, spec.input.data) == (
        "application/json",
        b'{"text":"x","exact":18446744073709551617}',
    )
    assert (spec.priority, spec.side_effects) == (PRIORITY_HIGH, SideEffects.SIDE_EFFECTS_UNSAFE)
    timeouts = (spec.queue_timeout, spec.attempt_timeout, spec.total_timeout, spec.retry.initial_backoff)
    assert [timeout.ToMilliseconds() for timeout in timeouts] == [30_000, 90_000, 90_000, 200]
    assert spec.not_before_time.ToJsonString() == "2030-01-31T12:00:00Z"
    assert (spec.limits[0].key, spec.limits[0].max_running, spec.limits[0].per_second) == ("openai", 5, 0.5)
    assert (spec.labels["k"], spec.size_hint, spec.retry.max_attempts) == ("v", 1.5, 5)


def test_what_the_sdk_makes_can_be_written_by_hand() -> None:
    kind = upbeat.sequence(
        upbeat.step("draft", name="draft", timeout=60, retry=Retry(max_attempts=1)),
        upbeat.consensus("review", voters=5, vote="/ok", choices=[True, False], judge="chief"),
        upbeat.race("publish", "print", launch="hedged", hedge_delay=2),
        stop_when=StopWhen("/done", equals={"n": [1, None]}),
        budget=Budget(max_cost_micros=10**12, attempt_cost_micros=5),
    )
    document = {
        "collaboration": {
            "sequential": {
                "steps": [
                    {"type": "draft", "name": "draft", "attempt_timeout": "1m", "retry": {"max_attempts": 1}},
                    {
                        "collaboration": {
                            "consensus": {
                                "voter": "review",
                                "voters": 5,
                                "vote": "/ok",
                                "choices": [True, False],
                                "judge": "chief",
                                "on_no_consensus": "Judge",
                            }
                        }
                    },
                    {
                        "collaboration": {
                            "competitive": {
                                "candidates": ["publish", "print"],
                                "launch": "LAUNCH_HEDGED",
                                "hedge_delay": "2s",
                            }
                        }
                    },
                ],
                "stop_when": {"pointer": "/done", "equals": {"n": [1, None]}},
            },
            "budget": {"max_cost_micros": "1000000000000", "attempt_cost_micros": 5},
        }
    }
    assert spec_of(document, "x") == kind.spec()


def test_the_contracts_own_json_is_read_back() -> None:
    spec = upbeat.pipeline(
        Skill("fetch", str, str),
        Skill("read", str, str),
        buffer=3,
        on_item_failure="dead_letter",
        step_timeout=1,
    ).spec()
    assert spec_of(json_format.MessageToDict(spec), "x") == spec
    assert spec_of(json_format.MessageToDict(spec, preserving_proto_field_name=True), "x") == spec


@pytest.mark.parametrize(
    ("value", "content_type", "data"),
    [
        ("text", "application/json", b'"text"'),
        (7, "application/json", b"7"),
        ([1, {"a": None}], "application/json", b'[1,{"a":null}]'),
        ({"content_type": "text/plain", "text": "hü"}, "text/plain", "hü".encode()),
        ({"contentType": "a/b", "data": base64.b64encode(b"\x00").decode()}, "a/b", b"\x00"),
        ({"content_type": "application/json", "json": {"a": 1}}, "application/json", b'{"a":1}'),
        ({"content_type": "x", "title": "y"}, "application/json", b'{"content_type":"x","title":"y"}'),
        ({"json": 1}, "application/json", b'{"json":1}'),
    ],
)
def test_an_input_is_the_json_itself_or_a_payload_as_answers_show_it(
    value: Any, content_type: str, data: bytes
) -> None:
    spec = spec_of({"type": "t", "input": value}, "x")
    assert (spec.input.content_type, spec.input.data) == (content_type, data)


def test_items_of_a_pipeline_may_be_anything_null_too() -> None:
    pipeline = {"stages": ["a"], "items": [1, "b", None]}
    spec = spec_of({"collaboration": {"pipeline": pipeline}}, "x")
    assert [item.data for item in spec.collaboration.pipeline.items] == [b"1", b'"b"', b"null"]


def test_null_is_not_given() -> None:
    assert spec_of({"type": "t", "input": None, "priority": None, "labels": None}, "x") == TaskSpec(type="t")


def test_an_empty_mode_is_one() -> None:
    assert spec_of({"collaboration": {"parallel": {}}}, "x").collaboration.HasField("parallel")


def test_an_unknown_key_names_its_path_and_the_one_that_was_meant() -> None:
    step = {"type": "a", "colaboration": {}}
    told = faults(
        {
            "tipe": "x",
            "collaboration": {"sequential": {"steps": ["ok", step], "onStepFail": "skip"}},
            "zzz": 1,
            5: 6,
        }
    )
    assert told["tipe"] == "unknown key; is type meant?"
    assert told["collaboration.sequential.steps[1].colaboration"] == "unknown key; is collaboration meant?"
    assert told["collaboration.sequential.onStepFail"] == "unknown key; is on_step_failure meant?"
    assert told["zzz"].startswith("unknown key; known are type, input, priority")
    assert "5" in told


def test_every_fault_is_told_with_its_path() -> None:
    consensus = {
        "voter": {"type": "v"},
        "voters": "many",
        "rule": "most",
        "early_decision": "yes",
        "quorum": 2**40,
    }
    told = faults(
        {
            "type": 7,
            "priority": "urgent",
            "side_effects": 2,
            "labels": {"k": 1, 2: "v"},
            "retry": "often",
            "required_capabilities": "gpu",
            "size_hint": True,
            "queue_timeout": "soon",
            "attempt_timeout": [],
            "not_before_time": 5,
            "collaboration": {"consensus": consensus, "race": {}},
        }
    )
    assert told["type"] == "is a number; expected is a text: quote it"
    assert told["priority"] == "'urgent' is unknown; one of low, normal, high, critical"
    assert told["side_effects"] == "is a number; expected is one of idempotent, none, unsafe"
    assert told["labels.k"] == "is a number; expected is a text: quote it"
    assert told["labels.2"] == "is a number; expected is a text: quote it"
    assert told["retry"] == "is a text; expected is an object"
    assert told["required_capabilities"] == "is a text; expected is a list"
    assert told["size_hint"] == "is true or false; expected is a number"
    assert told["queue_timeout"] == "'soon' is not a duration; write 30s, 5m, 1h30m or 200ms"
    assert told["attempt_timeout"] == "is a list; expected is a duration such as 30s"
    assert told["not_before_time"] == "5 is not a time; write 2030-01-31T12:00:00Z"
    assert told["collaboration.consensus.voters"] == "is a text; expected is a whole number"
    assert told["collaboration.consensus.rule"].startswith("'most' is unknown; one of majority")
    assert told["collaboration.consensus.early_decision"] == "is a text; expected is true or false"
    assert told["collaboration.consensus.quorum"] == f"{2**40} is out of range"
    assert told["collaboration.race"].startswith("unknown key")


@pytest.mark.parametrize(
    ("document", "path", "says"),
    [
        (["type", "x"], "(all of it)", "is a list; expected is an object"),
        ({"type": "a", "attempt_timeout": "1s", "attemptTimeout": "1s"}, "attemptTimeout", "given twice"),
        (
            {"collaboration": {"parallel": {}, "pipeline": {}}},
            "collaboration",
            "parallel and pipeline: choose one",
        ),
        ({"input": {"content_type": "a/b", "data": "?"}}, "input.data", "not base64"),
        ({"input": {"content_type": 5, "data": ""}}, "input.content_type", "is a number"),
        ({"input": {"content_type": "a/b", "text": 5}}, "input.text", "is a number"),
        ({"input": float("inf")}, "input", "no JSON value"),
        ({"size_hint": "1"}, "size_hint", "is a text; expected is a number"),
        ({"retry": {"max_attempts": 1.5}}, "retry.max_attempts", "is a number; expected is a whole number"),
        ({"retry": {"max_attempts": json.loads("1e999")}}, "retry.max_attempts", "a whole number"),
    ],
)
def test_a_document_that_is_wrong_says_where_and_what(document: Any, path: str, says: str) -> None:
    assert says in faults(document)[path]


def test_a_document_within_itself_is_refused() -> None:
    document: dict[str, Any] = {"type": "a"}
    document["collaboration"] = {"sequential": {"steps": [document]}}
    assert faults(document)["(all of it)"] == "nested too deeply, or within itself"
