"""What collaborations become on the wire: every term of the contract, nesting, and mistakes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf import json_format

import upbeat
from upbeat import Budget, CodecError, Retry, Skill, StopWhen
from upbeat.collaboration import terms
from upbeat.spec import spec_of
from upbeat.v1 import task_spec_pb2 as wire


@dataclass
class Doc:
    text: str


@dataclass
class Label:
    label: str


DRAFT = Skill("draft", str, Doc)
CLASSIFY = Skill("classify", Doc, Label)
PUBLISH = Skill("publish", Label, str)

untyped: Any = upbeat
"""For mistakes that the type checker would not let pass."""

GROUP = terms.GroupOptions(
    step_timeout=1.5,
    max_concurrency=4,
    distinct_agents=False,
    on_infeasible="fail_fast",
    cancel_grace=dt.timedelta(seconds=2),
    include_partial=False,
    budget=Budget(max_children=1, max_attempts_total=2, max_cost_micros=3, attempt_cost_micros=4),
)
GROUP_JSON = {
    "step_timeout": "1.500s",
    "max_concurrency": 4,
    "distinct_agents": False,
    "on_infeasible": "ON_INFEASIBLE_FAIL_FAST",
    "cancel_grace": "2s",
    "include_partial": False,
    "budget": {
        "max_children": 1,
        "max_attempts_total": 2,
        "max_cost_micros": "3",
        "attempt_cost_micros": "4",
    },
}


MODES = {field.name for field in wire.Collaboration.DESCRIPTOR.oneofs_by_name["mode"].fields}


def group_of(kind: upbeat.Kind[Any, Any]) -> dict[str, Any]:
    """The collaboration of a kind's spec as plain values."""
    plain: dict[str, Any] = json_format.MessageToDict(
        kind.spec().collaboration, preserving_proto_field_name=True
    )
    return plain


def test_every_term_of_a_sequence_reaches_its_field() -> None:
    kind = upbeat.sequence(
        DRAFT,
        CLASSIFY,
        context="all",
        on_step_failure="fallback",
        fallback="repair",
        stop_when=StopWhen("/done", {"at": [1, "x", None]}),
        **GROUP,
    )
    assert group_of(kind) == {
        **GROUP_JSON,
        "sequential": {
            "steps": [{"type": "draft"}, {"type": "classify"}],
            "context": "CONTEXT_ALL",
            "on_step_failure": "ON_STEP_FAILURE_FALLBACK",
            "fallback": {"type": "repair"},
            "stop_when": {"pointer": "/done", "equals": {"at": [1.0, "x", None]}},
        },
    }


def test_every_term_of_a_parallel_reaches_its_field() -> None:
    kind = upbeat.parallel(
        CLASSIFY,
        map_over="/docs",
        join="quorum",
        quorum=2,
        failure_policy="collect",
        output_form="by_name",
        reducer="merge",
        **GROUP,
    )
    assert group_of(kind) == {
        **GROUP_JSON,
        "parallel": {
            "steps": [{"type": "classify", "name": "classify"}],
            "map_over": "/docs",
            "join": "JOIN_QUORUM",
            "quorum": 2,
            "failure_policy": "FAILURE_POLICY_COLLECT",
            "output_form": "OUTPUT_FORM_BY_NAME",
            "reducer": {"type": "merge"},
        },
    }


def test_every_term_of_a_pipeline_reaches_its_field() -> None:
    kind = upbeat.pipeline(
        DRAFT,
        CLASSIFY,
        barrier=True,
        stage_concurrency=3,
        buffer=5,
        ordering="unordered",
        on_item_failure="dead_letter",
        max_item_failures=7,
        discard_outputs=True,
        **GROUP,
    )
    plain = {
        "stages": [{"type": "draft"}, {"type": "classify"}],
        "barrier": True,
        "stage_concurrency": 3,
        "buffer": 5,
        "ordering": "ORDERING_UNORDERED",
        "on_item_failure": "ON_ITEM_FAILURE_DEAD_LETTER",
        "max_item_failures": 7,
        "discard_outputs": True,
    }
    assert group_of(kind) == {**GROUP_JSON, "pipeline": plain}
    assert group_of(kind.opened())["pipeline"] == {**plain, "open": True}
    assert group_of(kind.over_input("/docs"))["pipeline"] == {**plain, "items_pointer": "/docs"}
    assert kind.over_input().spec().collaboration.pipeline.HasField("items_pointer")
    items = kind.over(["a", "b"]).spec().collaboration.pipeline.items
    assert [(item.content_type, item.data) for item in items] == [
        ("text/plain; charset=utf-8", b"a"),
        ("text/plain; charset=utf-8", b"b"),
    ]


def test_every_term_of_a_consensus_reaches_its_field() -> None:
    kind = upbeat.consensus(
        CLASSIFY,
        voters=5,
        rule="supermajority",
        supermajority=0.75,
        quorum=4,
        vote="/label",
        normalize="number",
        tolerance=0.5,
        choices=["a", 2, True, {"k": None}],
        weights="static",
        weight_label="trust",
        early_decision=False,
        on_no_consensus="judge",
        judge="judge",
        rounds=2,
        aggregate="trimmed_mean",
        **GROUP,
    )
    assert group_of(kind) == {
        **GROUP_JSON,
        "consensus": {
            "voter": {"type": "classify"},
            "voters": 5,
            "rule": "RULE_SUPERMAJORITY",
            "supermajority": 0.75,
            "quorum": 4,
            "vote": "/label",
            "normalize": "NORMALIZE_NUMBER",
            "tolerance": 0.5,
            "choices": ["a", "2", "true", '{"k":null}'],
            "weights": "WEIGHTS_STATIC",
            "weight_label": "trust",
            "early_decision": False,
            "on_no_consensus": "ON_NO_CONSENSUS_JUDGE",
            "judge": {"type": "judge"},
            "rounds": 2,
            "aggregate": "AGGREGATE_TRIMMED_MEAN",
        },
    }


def test_every_term_of_a_race_reaches_its_field() -> None:
    kind = upbeat.race(
        DRAFT,
        candidates=3,
        select="best_of",
        accept="output.ok",
        validator="validate",
        score="/score",
        judge="judge",
        launch="hedged",
        hedge_delay=0.25,
        hedge_quantile=0.9,
        **GROUP,
    )
    assert group_of(kind) == {
        **GROUP_JSON,
        "competitive": {
            "candidates": [{"type": "draft"}],
            "count": 3,
            "select": "SELECT_BEST_OF",
            "accept": "output.ok",
            "validator": {"type": "validate"},
            "score": "/score",
            "judge": {"type": "judge"},
            "launch": "LAUNCH_HEDGED",
            "hedge_delay": "0.250s",
            "hedge_quantile": 0.9,
        },
    }


def test_a_custom_mode_gets_its_steps_and_parameters() -> None:
    kind = upbeat.custom("auction", DRAFT, "bid", params={"floor": 2**60}, **GROUP)
    custom = kind.spec().collaboration.custom
    assert (custom.name, [step.type for step in custom.steps]) == ("auction", ["draft", "bid"])
    assert custom.params.data == b'{"floor":1152921504606846976}'
    assert not upbeat.custom("auction").spec().collaboration.custom.HasField("params")


@pytest.mark.parametrize(
    ("message", "options", "written_otherwise"),
    [
        (
            wire.Collaboration,
            terms.GroupOptions,
            {f.name for f in wire.Collaboration.DESCRIPTOR.oneofs[0].fields},
        ),
        (wire.Sequential, terms.SequenceOptions, {"steps"}),
        (wire.Parallel, terms.ParallelOptions, {"steps", "reducer", "output_form"}),
        (wire.Pipeline, terms.PipelineOptions, {"stages", "items", "open", "items_pointer"}),
        (wire.Consensus, terms.ConsensusOptions, {"voter", "aggregate"}),
        (wire.Competitive, terms.RaceOptions, {"candidates", "count"}),
    ],
)
def test_every_field_of_the_contract_has_a_parameter(
    message: Any, options: Any, written_otherwise: set[str]
) -> None:
    fields = {field.name for field in message.DESCRIPTOR.fields}
    common = set() if options is terms.GroupOptions else set(terms.GroupOptions.__annotations__)
    own = set(options.__annotations__) - common
    assert fields - written_otherwise == own - {"candidates"}


@pytest.mark.parametrize(
    ("options", "field", "name"),
    [
        ({"accept": "output"}, "select", "FIRST_ACCEPTABLE"),
        ({"validator": "v"}, "select", "FIRST_ACCEPTABLE"),
        ({"score": "/s"}, "select", "BEST_OF"),
        ({"judge": "j"}, "select", "BEST_OF"),
        ({"judge": "j", "select": "first_success"}, "select", "FIRST_SUCCESS"),
        ({"hedge_delay": 1}, "launch", "HEDGED"),
        ({"hedge_quantile": 0.9}, "launch", "HEDGED"),
    ],
)
def test_a_term_of_a_race_implies_what_it_is_for(options: Any, field: str, name: str) -> None:
    assert group_of(upbeat.race(DRAFT, **options))["competitive"][field].endswith(name)


@pytest.mark.parametrize(
    ("options", "field", "name"),
    [
        ({"supermajority": 0.7}, "rule", "RULE_SUPERMAJORITY"),
        ({"tolerance": 0.7}, "normalize", "NORMALIZE_NUMBER"),
        ({"weight_label": "w"}, "weights", "WEIGHTS_STATIC"),
        ({"judge": "j"}, "on_no_consensus", "ON_NO_CONSENSUS_JUDGE"),
    ],
)
def test_a_term_of_a_consensus_implies_what_it_is_for(options: Any, field: str, name: str) -> None:
    assert group_of(upbeat.consensus(CLASSIFY, **options))["consensus"][field] == name


def test_a_fallback_and_a_quorum_imply_what_they_are_for() -> None:
    assert group_of(upbeat.sequence(DRAFT, fallback="f"))["sequential"]["on_step_failure"].endswith(
        "FALLBACK"
    )
    assert group_of(upbeat.parallel(DRAFT, quorum=1))["parallel"]["join"] == "JOIN_QUORUM"


def test_what_is_left_out_is_left_to_the_server() -> None:
    assert group_of(upbeat.consensus(CLASSIFY)) == {"consensus": {"voter": {"type": "classify"}}}
    assert group_of(upbeat.race(DRAFT)) == {"competitive": {"candidates": [{"type": "draft"}]}}
    assert group_of(upbeat.parallel()) == {"parallel": {}}


def test_collaborations_are_steps_of_others() -> None:
    inner = upbeat.consensus(CLASSIFY, voters=3, vote="/label")
    kind = upbeat.sequence(
        DRAFT, upbeat.step(inner, name="review", timeout=60), upbeat.parallel(PUBLISH, "log")
    )
    first, second, third = kind.spec().collaboration.sequential.steps
    assert first.type == "draft"
    assert (second.name, second.collaboration.consensus.voters) == ("review", 3)
    assert second.total_timeout.ToSeconds() == 60
    assert not second.HasField("attempt_timeout")
    assert [step.type for step in third.collaboration.parallel.steps] == ["publish", "log"]
    assert inner.spec().name == ""


def test_a_step_says_what_its_place_asks_of_it() -> None:
    step = upbeat.step(
        CLASSIFY,
        name="second",
        input=Doc("given"),
        timeout=2,
        queue_timeout=3,
        total_timeout=4,
        labels={"k": "v"},
        retry=Retry(max_attempts=1),
        selector='labels.region == "eu"',
        required_capabilities=["gpu"],
        size_hint=2.5,
        side_effects="none",
    ).message
    assert json_format.MessageToDict(step, preserving_proto_field_name=True) == {
        "type": "classify",
        "name": "second",
        "input": {"content_type": "application/json", "data": "eyJ0ZXh0IjoiZ2l2ZW4ifQ=="},
        "attempt_timeout": "2s",
        "queue_timeout": "3s",
        "total_timeout": "4s",
        "labels": {"k": "v"},
        "retry": {"max_attempts": 1},
        "selector": 'labels.region == "eu"',
        "required_capabilities": ["gpu"],
        "size_hint": 2.5,
        "side_effects": "SIDE_EFFECTS_NONE",
    }


def test_an_input_of_none_is_an_input() -> None:
    assert upbeat.step("x", input=None).message.input.data == b"null"
    assert not upbeat.step("x").message.HasField("input")


def test_the_input_is_that_of_the_first_step_that_is_given_it() -> None:
    with pytest.raises(CodecError, match="skill names str"):
        upbeat.sequence(DRAFT, CLASSIFY).encode_input(7)  # type: ignore[arg-type]
    given = upbeat.step(DRAFT, input="own")
    assert upbeat.sequence(given, CLASSIFY).encode_input({"any": 1}).data == b'{"any":1}'
    assert upbeat.parallel(given, DRAFT).encode_input("x").content_type.startswith("text/plain")
    spec = spec_of(upbeat.sequence(DRAFT, CLASSIFY), "topic", {"priority": "high", "labels": {"k": "v"}})
    assert (spec.input.data, spec.priority, spec.labels["k"]) == (b"topic", wire.PRIORITY_HIGH, "v")


def test_a_kind_is_not_changed_by_being_run() -> None:
    kind = upbeat.race(DRAFT)
    spec_of(kind, "x", {"priority": "low"}).collaboration.competitive.count = 9
    assert kind.spec() == upbeat.race(DRAFT).spec()


def test_items_that_are_mapped_are_one_json_list() -> None:
    kind = upbeat.parallel(CLASSIFY).over([Doc("a"), Doc("b")])
    assert kind.encode_input(None).data == b'[{"text":"a"},{"text":"b"}]'
    assert kind.spec().collaboration.parallel.HasField("map_over")
    assert upbeat.parallel(DRAFT, map_over="").encode_input(["a"]).data == b'["a"]'  # type: ignore[arg-type]
    assert upbeat.parallel(DRAFT, map_over="/a").encode_input({"a": []}).data == b'{"a":[]}'  # type: ignore[arg-type]


@pytest.mark.parametrize("items", [b"bytes", "text", {"a": 1}, 7, [b"bytes"], [7]])
def test_items_that_json_cannot_hold_as_they_are_are_refused(items: Any) -> None:
    with pytest.raises(CodecError):
        upbeat.parallel(DRAFT).over(items)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (untyped.sequence, "at least one step"),
        (untyped.pipeline, "at least one stage"),
        (untyped.race, "at least one candidate"),
        (lambda: untyped.race("a", "b", candidates=3), "candidates=3 beside 2 steps"),
        (lambda: untyped.parallel("a", "b", map_over=""), "2 are given"),
        (lambda: untyped.parallel("a", "b").over([]), "2 are given"),
        (lambda: untyped.parallel("a/b", output_form="by_name"), "by_name.*name of its own"),
        (lambda: untyped.parallel("a", "a", output_form="by_name"), "by_name.*name of its own"),
        (lambda: untyped.consensus("a", rule="most"), "rule='most'.*majority, plurality"),
        (lambda: untyped.consensus("a", step_timeout=-1), "step_timeout"),
        (lambda: untyped.step("a", timeout=float("nan")), "attempt_timeout"),
        (lambda: untyped.consensus("a", voters=2**40), "voters"),
    ],
)
def test_what_cannot_be_expressed_is_a_value_error_that_names_it(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: untyped.sequence("a", {"b": 1}), "no step"),
        (lambda: untyped.consensus("a", votes=3), "unknown option votes; known: .*voters"),
        (lambda: untyped.sequence("a", stop_when=("/x", 1)), r"StopWhen\(...\) is expected"),
        (lambda: untyped.sequence("a", budget={"max_children": 1}), r"Budget\(...\) is expected"),
        (lambda: untyped.consensus("a", voters="three"), "voters='three'"),
        (lambda: untyped.consensus("a", rule=3), "rule is int"),
        (lambda: untyped.consensus("a", choices="yes"), "a list of the valid votes"),
        (lambda: untyped.step("a", timeout=1, attempt_timeout=2), "timeout is short for attempt_timeout"),
        (lambda: untyped.step("a", priority="high"), "has that of its collaboration"),
        (lambda: untyped.step("a", colour="red"), "unknown task option colour"),
    ],
)
def test_a_mistyped_term_is_a_type_error_that_names_it(make: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()
