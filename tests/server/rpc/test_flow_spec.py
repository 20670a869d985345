"""Sequential, parallel, pipeline and custom collaborations as they are read at the door."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.wire_specs import STEP, Picky, collaboration_of, faults_of, submission_of
from upbeat.v1 import task_spec_pb2
from upbeat_server.engine.model import (
    CustomMode,
    Parallel,
    Payload,
    Pipeline,
    Sequential,
    StopWhen,
    TaskSpec,
)
from upbeat_server.rpc.validate import SubmissionReader

WORK, OTHER = TaskSpec("work"), TaskSpec("other")
AFTER = {"type": "other"}
TRUE = {"bool_value": True}


READER = SubmissionReader(1 << 20, {"picky": Picky(), "other": Picky()})


def mode_of(**collaboration: Any) -> Any:
    return collaboration_of(READER, **collaboration).mode


def test_every_field_of_a_sequence_arrives() -> None:
    mode = mode_of(
        sequential={
            "steps": [STEP, AFTER],
            "context": 3,
            "on_step_failure": 3,
            "fallback": AFTER,
            "stop_when": {"pointer": "/a~1b/0", "equals": {"list_value": {"values": [TRUE]}}},
        }
    )
    assert mode == Sequential((WORK, OTHER), 3, 3, OTHER, StopWhen("/a~1b/0", b"[true]"))
    assert len(task_spec_pb2.Sequential.DESCRIPTOR.fields) == len(Sequential.__struct_fields__)


def test_every_field_of_a_parallel_one_arrives() -> None:
    mode = mode_of(
        parallel={
            "steps": [STEP],
            "map_over": "/items",
            "join": 2,
            "quorum": 9,
            "failure_policy": 2,
            "reducer": AFTER,
        }
    )
    assert mode == Parallel((WORK,), "/items", 2, 9, 2, OTHER)
    assert mode_of(parallel={"steps": [{**STEP, "name": "a"}], "output_form": 2}).output_form == 2
    assert len(task_spec_pb2.Parallel.DESCRIPTOR.fields) == len(Parallel.__struct_fields__)


def test_a_pointer_to_the_whole_is_not_no_pointer() -> None:
    assert mode_of(parallel={"steps": [STEP], "map_over": ""}).map_over == ""
    assert mode_of(parallel={"steps": [STEP]}).map_over is None
    assert mode_of(pipeline={"stages": [STEP], "items_pointer": ""}).items_pointer == ""
    assert mode_of(pipeline={"stages": [STEP]}).items_pointer is None


def test_every_field_of_a_pipeline_arrives() -> None:
    mode = mode_of(
        pipeline={
            "stages": [STEP, AFTER],
            "items": [{"data": b"1", "content_type": "a/b"}, {"json": TRUE}],
            "open": True,
            "barrier": True,
            "stage_concurrency": 1_000,
            "buffer": 1,
            "ordering": 2,
            "on_item_failure": 3,
            "max_item_failures": 7,
            "discard_outputs": True,
        },
        max_concurrency=1_000,
    )
    items = (Payload("a/b", b"1"), Payload("application/json", b"true"))
    assert mode == Pipeline((WORK, OTHER), items, True, None, True, 1_000, 1, 2, 3, 7, True)
    assert len(task_spec_pb2.Pipeline.DESCRIPTOR.fields) == len(Pipeline.__struct_fields__)


def test_defaults_are_those_of_the_model() -> None:
    assert mode_of(sequential={"steps": [STEP]}) == Sequential((WORK,))
    assert mode_of(parallel={}) == Parallel(())
    assert mode_of(pipeline={"stages": [STEP]}) == Pipeline((WORK,))


MANY = [STEP] * 101
NAMED = [{**STEP, "name": "a"}]


@pytest.mark.parametrize(
    ("mode", "fields", "at"),
    [
        ("sequential", {}, "steps"),
        ("sequential", {"steps": MANY}, "steps"),
        ("sequential", {"steps": [STEP], "context": 4}, "context"),
        ("sequential", {"steps": [STEP], "on_step_failure": -1}, "on_step_failure"),
        ("sequential", {"steps": [STEP], "on_step_failure": 3}, "fallback"),
        ("sequential", {"steps": [STEP], "fallback": STEP}, "fallback"),
        ("sequential", {"steps": [STEP], "stop_when": {}}, "stop_when.equals"),
        ("sequential", {"steps": [STEP], "stop_when": {"equals": {}}}, "stop_when.equals"),
        (
            "sequential",
            {"steps": [STEP], "stop_when": {"equals": {"string_value": "x" * 4_095}}},
            "stop_when.equals",
        ),
        ("sequential", {"steps": [STEP], "stop_when": {"pointer": "a", "equals": TRUE}}, "stop_when.pointer"),
        (
            "sequential",
            {"steps": [STEP], "stop_when": {"pointer": "/~2", "equals": TRUE}},
            "stop_when.pointer",
        ),
        ("parallel", {"steps": [STEP] * 1_001}, "steps"),
        ("parallel", {"steps": [STEP, STEP], "map_over": ""}, "steps"),
        ("parallel", {"steps": [], "map_over": ""}, "steps"),
        ("parallel", {"steps": [STEP], "map_over": "a"}, "map_over"),
        ("parallel", {"steps": [STEP], "map_over": "/" + "a" * 1_024}, "map_over"),
        ("parallel", {"steps": [STEP], "join": 5}, "join"),
        ("parallel", {"steps": [STEP], "join": 2}, "quorum"),
        ("parallel", {"steps": [STEP], "join": 2, "quorum": 2}, "quorum"),
        ("parallel", {"steps": [STEP], "join": 2, "quorum": -1, "map_over": ""}, "quorum"),
        ("parallel", {"steps": [STEP], "quorum": 1}, "quorum"),
        ("parallel", {"steps": [STEP], "failure_policy": 3}, "failure_policy"),
        ("parallel", {"steps": [STEP], "output_form": 3}, "output_form"),
        ("parallel", {"steps": [STEP], "output_form": 2}, "steps[0].name"),
        ("parallel", {"steps": NAMED, "output_form": 2, "map_over": ""}, "output_form"),
        ("parallel", {"steps": NAMED, "output_form": 2, "reducer": STEP}, "output_form"),
        ("pipeline", {}, "stages"),
        ("pipeline", {"stages": [STEP] * 33}, "stages"),
        ("pipeline", {"stages": [STEP], "items": [{}] * 10_001}, "items"),
        ("pipeline", {"stages": [STEP], "items": [{"content_type": "é"}]}, "items[0].content_type"),
        ("pipeline", {"stages": [STEP], "items": [{}], "items_pointer": ""}, "items_pointer"),
        ("pipeline", {"stages": [STEP], "items_pointer": "x"}, "items_pointer"),
        ("pipeline", {"stages": [STEP], "stage_concurrency": 1_001}, "stage_concurrency"),
        ("pipeline", {"stages": [STEP], "buffer": -1}, "buffer"),
        ("pipeline", {"stages": [STEP], "ordering": 3}, "ordering"),
        ("pipeline", {"stages": [STEP], "on_item_failure": 4}, "on_item_failure"),
        ("pipeline", {"stages": [STEP], "max_item_failures": 3}, "max_item_failures"),
        ("pipeline", {"stages": [STEP], "on_item_failure": 2, "max_item_failures": -3}, "max_item_failures"),
    ],
)
def test_a_field_out_of_bounds_is_refused_by_name(mode: str, fields: dict[str, Any], at: str) -> None:
    assert list(faults_of(READER, **{mode: fields})) == [f"{mode}.{at}"]


def test_a_custom_mode_is_given_what_it_was_told() -> None:
    mode = mode_of(custom={"name": "picky", "params": {"data": b"p"}, "steps": [STEP]})
    assert mode == CustomMode("picky", Payload("", b"p"), (WORK,))


def test_an_unknown_mode_is_answered_with_those_there_are() -> None:
    faults = faults_of(READER, custom={"name": "../../etc/passwd"})
    assert faults == {"custom.name": "is no mode that this server has; installed: other, picky"}
    assert "installed: none" in faults_of(SubmissionReader(9), custom={"name": "x"})["custom.name"]


def test_what_a_mode_finds_is_told_below_it() -> None:
    faults = faults_of(READER, custom={"name": "picky"})
    assert faults == {"custom.params": "must be set", "custom.steps": "must have one"}


def test_what_a_mode_says_of_its_width_counts() -> None:
    wide = {"name": "picky", "params": {"data": b"wide"}, "steps": [STEP]}
    submission_of(READER, custom=wide)  # Its max_concurrency bounds it.
    steps = [{"collaboration": {"custom": wide, "max_concurrency": 100}}]
    assert "1,010" in faults_of(READER, custom=wide | {"steps": steps}, max_concurrency=10)["max_concurrency"]


def test_a_mode_that_breaks_is_told_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    faults = faults_of(READER, custom={"name": "picky", "params": {"data": b"break"}, "steps": [STEP]})
    assert list(faults) == ["custom"]
    assert "secret" not in faults["custom"]
