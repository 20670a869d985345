"""Collaborations as they are read at the door: what all modes share, and how they nest."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2

from tests.support.wire_specs import STEP, collaboration_of, faults_of, read, spec_faults, submission_of, wire
from upbeat.v1 import task_spec_pb2
from upbeat_server.engine import reasons
from upbeat_server.engine.model import Budget, Collaboration, Payload, Refusal, Sequential, TaskSpec
from upbeat_server.rpc.validate import SubmissionReader

READER = SubmissionReader(1 << 20)
SEQUENTIAL = {"steps": [STEP]}


def within(spec: dict[str, Any], levels: int) -> dict[str, Any]:
    """The spec as the only step of so many collaborations."""
    for _ in range(levels):
        spec = {"collaboration": {"sequential": {"steps": [spec]}}}
    return spec


def test_a_bare_collaboration_gets_the_defaults_of_the_model() -> None:
    assert collaboration_of(READER, sequential=SEQUENTIAL) == Collaboration(Sequential((TaskSpec("work"),)))


def test_every_common_field_arrives() -> None:
    found = collaboration_of(
        READER,
        sequential=SEQUENTIAL,
        step_timeout={"seconds": 7},
        max_concurrency=1_000,
        distinct_agents=True,
        on_infeasible=2,
        cancel_grace={"nanos": 1},
        include_partial=False,
        budget={"max_children": 1, "max_attempts_total": 2, "max_cost_micros": 3, "attempt_cost_micros": 3},
    )
    assert (found.step_timeout_ms, found.max_concurrency, found.distinct_agents) == (7_000, 1_000, True)
    assert (found.on_infeasible, found.cancel_grace_ms, found.include_partial) == (2, 1, False)
    assert found.budget == Budget(1, 2, 3, 3)


def test_no_field_of_the_contract_is_left_unread() -> None:
    known = {field.name for field in task_spec_pb2.Collaboration.DESCRIPTOR.fields}
    modes = {field.name for field in task_spec_pb2.Collaboration.DESCRIPTOR.oneofs_by_name["mode"].fields}
    ours = {"step_timeout", "max_concurrency", "distinct_agents", "on_infeasible", "cancel_grace"}
    assert known - modes == ours | {"include_partial", "budget"}


def test_defaults_depend_on_the_mode() -> None:
    vote = collaboration_of(READER, consensus={"voter": STEP})
    race = collaboration_of(READER, competitive={"candidates": [STEP]})
    line = collaboration_of(READER, pipeline={"stages": [STEP]})
    assert [one.distinct_agents for one in (vote, race, line)] == [True, True, False]
    assert [one.max_concurrency for one in (vote, race, line)] == [16, 16, 1_000]
    assert not collaboration_of(READER, consensus={"voter": STEP}, distinct_agents=False).distinct_agents


def test_a_budget_of_nothing_is_none() -> None:
    assert collaboration_of(READER, sequential=SEQUENTIAL, budget={}).budget is None


@pytest.mark.parametrize(
    ("field", "value", "at"),
    [
        ("step_timeout", {}, "step_timeout"),
        ("step_timeout", {"seconds": -1}, "step_timeout"),
        ("max_concurrency", -1, "max_concurrency"),
        ("max_concurrency", 1_001, "max_concurrency"),
        ("on_infeasible", 3, "on_infeasible"),
        ("cancel_grace", {"seconds": 3_601}, "cancel_grace"),
        ("cancel_grace", {"nanos": -1}, "cancel_grace"),
        ("budget", {"max_children": -1}, "budget.max_children"),
        ("budget", {"max_attempts_total": -1}, "budget.max_attempts_total"),
        ("budget", {"max_cost_micros": -1}, "budget.max_cost_micros"),
        ("budget", {"max_cost_micros": 5}, "budget.attempt_cost_micros"),
        ("budget", {"max_cost_micros": 5, "attempt_cost_micros": 6}, "budget.attempt_cost_micros"),
        ("budget", {"attempt_cost_micros": 6}, "budget.attempt_cost_micros"),
        ("budget", {"max_cost_micros": 5, "attempt_cost_micros": -6}, "budget.attempt_cost_micros"),
    ],
)
def test_a_common_field_out_of_bounds_is_refused_by_name(field: str, value: Any, at: str) -> None:
    assert list(faults_of(READER, sequential=SEQUENTIAL, **{field: value})) == [at]


def test_a_choice_that_is_none_is_answered_with_those_there_are() -> None:
    faults = faults_of(READER, sequential=SEQUENTIAL, on_infeasible=77)
    assert faults == {"on_infeasible": "77 is no OnInfeasible: use WAIT (1), FAIL_FAST (2)"}


def test_a_collaboration_without_a_mode_is_told_the_modes() -> None:
    words = spec_faults(READER, collaboration={})["spec.collaboration"]
    assert "sequential, parallel, pipeline, consensus, competitive, custom" in words


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "work"),
        ("required_capabilities", ["gpu"]),
        ("selector", "has(labels.gpu)"),
        ("size_hint", 1.0),
        ("queue_timeout", {"seconds": 1}),
        ("attempt_timeout", {"seconds": 1}),
        ("retry", {}),
        ("side_effects", 2),
        ("limits", [{"key": "llm"}]),
    ],
)
def test_what_steps_say_for_themselves_is_refused_of_a_collaboration(field: str, value: Any) -> None:
    for levels in (0, 1):
        spec = within({"collaboration": {"sequential": SEQUENTIAL}, field: value}, levels)
        faults = spec_faults(READER, **spec)
        assert list(faults) == ["spec" + ".collaboration.sequential.steps[0]" * levels + f".{field}"]
        assert "set it in its steps" in next(iter(faults.values()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 4),
        ("fairness_key", "k"),
        ("fairness_weight", 2.0),
        ("not_before_time", {"seconds": 1}),
        ("dedup_key", "d"),
        ("traceparent", "00-1-2-03"),
    ],
)
def test_what_steps_inherit_is_refused_in_them_and_taken_around_them(field: str, value: Any) -> None:
    assert not isinstance(read(READER, **within(STEP, 1), **{field: value}), Refusal)
    for levels in (1, 2):
        faults = spec_faults(READER, **within({**STEP, field: value}, levels))
        assert list(faults) == ["spec" + ".collaboration.sequential.steps[0]" * levels + f".{field}"]
        assert "inherited" in next(iter(faults.values()))


def test_steps_have_what_is_theirs() -> None:
    step = {
        "type": "work",
        "name": "first",
        "input": {"data": b"x"},
        "labels": {"a": "1"},
        "total_timeout": {"seconds": 2},
        "attempt_timeout": {"seconds": 1},
        "side_effects": 3,
        "retry": {"max_attempts": 1},
        "required_capabilities": ["work", "gpu"],
    }
    mode = collaboration_of(READER, sequential={"steps": [step]}).mode
    assert isinstance(mode, Sequential)
    (found,) = mode.steps
    assert (found.name, found.input, found.labels) == ("first", Payload("", b"x"), {"a": "1"})
    assert (found.total_timeout_ms, found.attempt_timeout_ms, found.side_effects) == (2_000, 1_000, 3)
    assert (found.retry.max_attempts, found.required_capabilities) == (1, ("gpu",))


def test_names_are_for_steps_and_one_each() -> None:
    assert list(spec_faults(READER, type="work", name="a")) == ["spec.name"]
    named = {**STEP, "name": "a"}
    faults = faults_of(READER, sequential={"steps": [named, named], "on_step_failure": 3, "fallback": named})
    assert list(faults) == ["sequential.steps[1].name", "sequential.fallback.name"]
    bad = faults_of(READER, sequential={"steps": [{**STEP, "name": "a b"}]})
    assert list(bad) == ["sequential.steps[0].name"]
    nested = within(named, 1) | {"name": "a"}  # The same name in another collaboration is another name.
    submission_of(READER, sequential={"steps": [nested]})


def test_context_is_never_taken() -> None:
    context = [{"name": "original"}]
    assert list(spec_faults(READER, type="work", context=context)) == ["spec.context"]
    faults = faults_of(READER, sequential={"steps": [{**STEP, "context": context}]})
    assert list(faults) == ["sequential.steps[0].context"]


def test_all_faults_of_all_levels_are_told_at_once_with_their_whole_path() -> None:
    inner = {"collaboration": {"parallel": {"steps": [{"type": "a b", "priority": 9}]}}}
    vote = {"collaboration": {"consensus": {"voter": {}, "voters": 99}, "max_concurrency": -1}}
    faults = spec_faults(
        READER, type="work", labels={"": "x"}, collaboration={"sequential": {"steps": [STEP, vote, inner]}}
    )
    steps = "spec.collaboration.sequential.steps"
    assert set(faults) == {
        "spec.type",
        "spec.labels['']",
        f"{steps}[1].collaboration.consensus.voter.type",
        f"{steps}[1].collaboration.consensus.voters",
        f"{steps}[1].collaboration.max_concurrency",
        f"{steps}[2].collaboration.parallel.steps[0].type",
        f"{steps}[2].collaboration.parallel.steps[0].priority",
    }


def test_four_deep_is_read_and_five_deep_is_refused() -> None:
    assert not isinstance(read(READER, **within(STEP, 4)), Refusal)
    faults = spec_faults(READER, **within(STEP, 5))
    assert list(faults) == ["spec" + ".collaboration.sequential.steps[0]" * 4 + ".collaboration"]
    assert "4 deep is the limit" in next(iter(faults.values()))


def test_a_thousand_steps_in_all_are_read_and_one_more_is_refused() -> None:
    half = {"collaboration": {"parallel": {"steps": [STEP] * 499}}}
    submission_of(READER, parallel={"steps": [half, half]})
    faults = spec_faults(READER, collaboration={"parallel": {"steps": [half, half, STEP]}})
    assert "1,000 steps" in faults["spec.collaboration"]


def test_a_repeated_candidate_counts_with_all_that_it_holds() -> None:
    spec: dict[str, Any] = STEP
    for _ in range(3):
        spec = {"collaboration": {"competitive": {"candidates": [spec], "count": 12}, "max_concurrency": 1}}
    assert "1,000 steps" in spec_faults(READER, **spec)["spec.collaboration"]


def test_what_could_be_live_at_once_is_bounded_with_both_numbers() -> None:
    inner = {"collaboration": {"parallel": {"map_over": "", "steps": [STEP]}, "max_concurrency": 99}}
    submission_of(READER, parallel={"map_over": "/a", "steps": [inner]}, max_concurrency=10)
    faults = faults_of(READER, parallel={"map_over": "/a", "steps": [inner]}, max_concurrency=11)
    words = faults["max_concurrency"]
    assert "1,100" in words
    assert "1,000" in words
    assert "lower it" in words


def test_a_whole_collaboration_has_a_bound_in_bytes_repeats_included() -> None:
    large = {"type": "work", "input": {"data": bytes(300_000)}}
    submission_of(READER, competitive={"candidates": [large], "count": 6})
    for collaboration in (
        {"competitive": {"candidates": [large], "count": 7}},
        {"parallel": {"steps": [large] * 7}},
        {"pipeline": {"stages": [STEP], "items": [{"data": bytes(300_000)}] * 7}},
    ):
        answer = read(READER, collaboration=collaboration)
        assert isinstance(answer, Refusal)
        assert answer.reason == reasons.TASK_TOO_LARGE
        assert answer.violations[0][0] == "spec.collaboration"
        assert "2,097,152" in answer.message


def test_json_that_grows_when_it_is_written_counts_as_it_is_stored() -> None:
    text = struct_pb2.Value(string_value="\1" * 170_000)
    answer = read(READER, collaboration={"parallel": {"steps": [{"type": "w", "input": {"json": text}}] * 3}})
    assert isinstance(answer, Refusal)
    assert answer.reason == reasons.TASK_TOO_LARGE


def test_an_input_of_a_step_has_the_bound_of_any_input() -> None:
    large = {"type": "work", "input": {"data": bytes((1 << 20) + 1)}}
    answer = read(READER, collaboration={"sequential": {"steps": [large]}})
    assert isinstance(answer, Refusal)
    assert answer.reason == reasons.TASK_TOO_LARGE
    assert answer.violations[0][0] == "spec.collaboration.sequential.steps[0].input"


def test_conditions_of_all_steps_come_with_the_submission() -> None:
    race = {
        "competitive": {
            "candidates": [{**STEP, "selector": "has(labels.a)"}],
            "select": 2,
            "accept": "output.ok",
        }
    }
    submission = submission_of(READER, sequential={"steps": [{"collaboration": race}, STEP]})
    assert submission.predicate is None
    assert list(submission.predicates) == ["has(labels.a)"]
    assert list(submission.checks) == ["output.ok"]
    assert submission.checks["output.ok"](Payload("", b'{"ok": true}'))
    plain = READER.read(wire.SubmitTaskRequest(spec=STEP))
    assert not isinstance(plain, Refusal)
    assert (plain.predicates, plain.checks) == ({}, {})


def test_a_selector_of_a_step_is_refused_where_it_stands() -> None:
    answer = read(READER, **within({**STEP, "selector": "(("}, 2))
    assert isinstance(answer, Refusal)
    assert answer.reason == reasons.INVALID_SELECTOR
    assert answer.violations[0][0] == "spec" + ".collaboration.sequential.steps[0]" * 2 + ".selector"


def test_conditions_are_bounded_before_they_are_compiled() -> None:
    def selecting(count: int) -> list[Any]:
        return [{**STEP, "selector": f"labels.a == '{number}'"} for number in range(count)]

    submission_of(READER, parallel={"steps": selecting(32) * 3})
    race = {"competitive": {"candidates": [STEP], "select": 2, "accept": "output.a"}}
    faults = faults_of(READER, parallel={"steps": [*selecting(34), {"collaboration": race}]})
    assert list(faults) == [
        "parallel.steps[32].selector",
        "parallel.steps[33].selector",
        "parallel.steps[34].collaboration.competitive.accept",
    ]
    assert "more than 32" in faults["parallel.steps[32].selector"]


def test_equal_collaborations_have_equal_fingerprints_defaults_said_or_not() -> None:
    race = {"candidates": [{**STEP, "retry": {"max_attempts": 3}}], "launch": 2}
    said = submission_of(
        READER,
        competitive=race | {"count": 2, "hedge_quantile": 0.95, "select": 1},
        max_concurrency=16,
        distinct_agents=True,
        cancel_grace={"seconds": 5},
        budget={},
    )
    unsaid = submission_of(READER, competitive={"candidates": [STEP, STEP], "launch": 2})
    assert said.fingerprint == unsaid.fingerprint
    assert said.spec_bytes == unsaid.spec_bytes


@pytest.mark.parametrize("count", [1_001, 100_000])
def test_too_many_steps_are_refused_without_reading_them(count: int) -> None:
    request = wire.SubmitTaskRequest(spec={"collaboration": {"parallel": {"steps": [{}] * count}}})
    answer = READER.read(request)
    assert isinstance(answer, Refusal)
    assert [field for field, _ in answer.violations] == ["spec.collaboration.parallel.steps"]
    assert "0 to 1,000" in answer.message  # Nothing of their missing types: none was looked at.
