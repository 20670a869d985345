from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from upbeat.skill import Skill
from upbeat.spec import Limit, Retry, TaskOptions, spec_of
from upbeat.v1 import task_spec_pb2

ECHO = Skill("echo", dict, dict)

EVERYTHING = TaskOptions(
    priority="critical",
    required_capabilities=["gpu"],
    selector='labels.region == "eu"',
    fairness_key="team-a",
    fairness_weight=2.0,
    labels={"k": "v"},
    size_hint=3.5,
    queue_timeout=1,
    attempt_timeout=1.5,
    total_timeout=dt.timedelta(minutes=1),
    retry=Retry(
        max_attempts=5, initial_backoff=0.1, multiplier=3, max_backoff=9, non_retryable_reasons=["NOPE"]
    ),
    not_before_time=dt.datetime(2030, 1, 1, tzinfo=dt.UTC),
    side_effects="unsafe",
    dedup_key="d",
    sticky_key="chat",
    traceparent="00-1-2-01",
    limits=[Limit("openai", max_running=5, per_second=0.5), Limit("gpu", max_running=1)],
)


def test_every_option_reaches_its_field() -> None:
    spec = spec_of(ECHO, {"a": 1}, EVERYTHING)
    assert spec.type == "echo"
    assert spec.input.data == b'{"a":1}'
    assert spec.priority == task_spec_pb2.PRIORITY_CRITICAL
    assert list(spec.required_capabilities) == ["gpu"]
    assert spec.selector == 'labels.region == "eu"'
    assert (spec.fairness_key, spec.fairness_weight, spec.size_hint) == ("team-a", 2.0, 3.5)
    assert dict(spec.labels) == {"k": "v"}
    assert [
        duration.ToMilliseconds()
        for duration in (spec.queue_timeout, spec.attempt_timeout, spec.total_timeout)
    ] == [1_000, 1_500, 60_000]
    assert spec.retry.max_attempts == 5
    assert spec.retry.initial_backoff.ToMilliseconds() == 100
    assert spec.retry.multiplier == 3
    assert spec.retry.max_backoff.ToMilliseconds() == 9_000
    assert list(spec.retry.non_retryable_reasons) == ["NOPE"]
    assert spec.not_before_time.ToJsonString() == "2030-01-01T00:00:00Z"
    assert spec.side_effects == task_spec_pb2.SIDE_EFFECTS_UNSAFE
    assert [(limit.key, limit.max_running, limit.per_second) for limit in spec.limits] == [
        ("openai", 5, 0.5),
        ("gpu", 1, 0.0),
    ]
    assert (spec.dedup_key, spec.sticky_key, spec.traceparent) == ("d", "chat", "00-1-2-01")


def test_every_field_of_single_work_has_an_option() -> None:
    of_the_kind = {"type", "collaboration"}
    of_a_step = {"name", "context"}
    fields = {field.name for field in task_spec_pb2.TaskSpec.DESCRIPTOR.fields}
    assert fields - {"input"} - of_the_kind - of_a_step == set(TaskOptions.__annotations__)


def test_without_options_nothing_is_set() -> None:
    spec = spec_of(ECHO, {}, {})
    assert {field.name for field, _ in spec.ListFields()} == {"type", "input"}


@pytest.mark.parametrize("name", ["HIGH", "high", "PRIORITY_HIGH"])
def test_priorities_are_read_in_any_form(name: str) -> None:
    assert spec_of(ECHO, {}, {"priority": name}).priority == task_spec_pb2.PRIORITY_HIGH


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"priority": "urgent"}, "low, normal, high, critical"),
        ({"side_effects": "maybe"}, "idempotent, none, unsafe"),
        ({"total_timeout": -1}, "total_timeout"),
        ({"attempt_timeout": float("inf")}, "attempt_timeout"),
        ({"queue_timeout": float("nan")}, "queue_timeout"),
        ({"limits": [Limit("k", max_running=1 << 40)]}, "limits"),
        ({"not_before_time": dt.datetime(2030, 1, 1, tzinfo=None)}, "time zone"),  # noqa: DTZ001 - the mistake
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        spec_of(ECHO, {}, options)


@pytest.mark.parametrize("options", [{"prioritty": "high"}, {"priority": 3}])
def test_a_mistyped_option_is_a_type_error(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="prior"):
        spec_of(ECHO, {}, options)


def test_limits_are_told_what_they_are_made_of() -> None:
    with pytest.raises(TypeError, match=r"Limit\(key, max_running"):
        spec_of(ECHO, {}, {"limits": [{"key": "openai"}]})


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 129, "ü"])
def test_a_skill_needs_a_name_that_the_contract_takes(name: str) -> None:
    with pytest.raises(ValueError, match="type"):
        Skill(name, dict, dict)
