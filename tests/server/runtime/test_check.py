"""Checks: conditions on outputs of agents, from callers."""

from __future__ import annotations

import json

import pytest

from upbeat_server.engine import reasons
from upbeat_server.engine.model import (
    Collaboration,
    Competitive,
    Labels,
    Parallel,
    Payload,
    Predicate,
    Refusal,
    Sequential,
    TaskSpec,
)
from upbeat_server.runtime.check import OUTPUT_BYTES_MAX, compile_check
from upbeat_server.runtime.conditions import conditions_of
from upbeat_server.runtime.refused import Refused

OUTPUT = {"score": 1, "ratio": 0.9, "label": "good", "tags": ["a", "b"], "ok": True, "nested": {"n": 3.0}}

PASSING = [
    "output.score > 0.8",
    "output.ratio >= 0.9 && output.label == 'good'",
    "'a' in output.tags",
    "output.tags.exists(tag, tag == 'b')",
    "output.tags.exists(tag, tag == 'output') || output.tags.exists(tag, tag == 'a')",
    "[{'output': 1}].exists(each, each.output == 1) && output.ok",
    "output.nested.n == 3",
    "output.ok",
    "size(output.tags) == 2",
    "has(output.label)",
]
FAILING = [
    "output.score > 1",
    "output.absent == 1",
    "output.label > 1",
    "output.label",
    "1 / 0 == output.score",
]
REFUSED = {
    "does not parse": "output.score >",
    "names a label": "labels.region == 'eu'",
    "gives a number": "1 + 1",
    "gives a size": "size(output.tags)",
    "compiles a pattern": "output.label.matches('(a+)+$')",
    "is too long": "true && " * 200 + "true",
    "loops in loops": "[1].all(a, [1].all(b, true))",
    "looks at all for each": "output.tags.all(tag, tag in output.tags)",
    "looks at all for each of another": "[1, 2].exists(n, [n] == [output])",
}


def payload(value: object) -> Payload:
    return Payload("application/json", json.dumps(value).encode())


@pytest.mark.parametrize("text", PASSING)
def test_it_passes_what_it_asks_for(text: str) -> None:
    assert compile_check(text)(payload(OUTPUT))


@pytest.mark.parametrize("text", FAILING)
def test_it_passes_nothing_else_whatever_goes_wrong(text: str) -> None:
    assert not compile_check(text)(payload(OUTPUT))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'"\xff"', b"[" * 100_000, b"nan"])
def test_an_output_that_is_no_json_does_not_pass(data: bytes) -> None:
    assert not compile_check("output == output || true")(Payload("application/json", data))


def test_an_output_that_would_keep_everybody_waiting_does_not_pass() -> None:
    check = compile_check("size(output) > 0")
    assert check(payload("x" * (OUTPUT_BYTES_MAX - 2)))
    assert not check(payload("x" * (OUTPUT_BYTES_MAX - 1)))


def test_the_whole_output_may_be_the_verdict() -> None:
    assert compile_check("output")(payload(True))
    assert not compile_check("output")(payload(1))


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_check_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused) as caught:
        compile_check(text)
    assert caught.value.refusal.reason == reasons.INVALID_FIELD
    assert "output.score > 0.8" in caught.value.refusal.message


def nested(inner: TaskSpec, accept: str) -> TaskSpec:
    return TaskSpec("", collaboration=Collaboration(Competitive((inner, inner), 2, accept)))


def test_the_conditions_of_a_collaboration_are_those_of_everything_in_it() -> None:
    work = TaskSpec("work", selector="has(labels.gpu)")
    race = nested(TaskSpec("", collaboration=Collaboration(Parallel((work, TaskSpec("x"))))), "output.ok")
    lost: list[Refusal] = []
    predicates, checks = conditions_of(
        TaskSpec("", collaboration=Collaboration(Sequential((race,)))), lost.append
    )
    assert list(predicates) == ["has(labels.gpu)"]
    assert predicates["has(labels.gpu)"]({"gpu": ""})
    assert list(checks) == ["output.ok"]
    assert checks["output.ok"](payload(OUTPUT))
    assert lost == []


def test_conditions_that_no_longer_compile_never_hold_and_are_told() -> None:
    lost: list[Refusal] = []
    predicates, checks = conditions_of(nested(TaskSpec("work", selector="(("), "(("), lost.append)
    selector: Predicate = predicates["(("]
    labels: Labels = {"gpu": ""}
    assert not selector(labels)
    assert not checks["(("](payload(True))
    assert len(lost) == 2
