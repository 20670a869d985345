"""Consensus and competitive collaborations as they are read at the door."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.wire_specs import STEP, collaboration_of, faults_of
from upbeat.v1 import task_spec_pb2
from upbeat_server.engine.model import Competitive, Consensus, TaskSpec
from upbeat_server.rpc.validate import SubmissionReader

READER = SubmissionReader(1 << 20)
NAN, INFINITE = float("nan"), float("inf")
WORK, OTHER = TaskSpec("work"), TaskSpec("other")
JUDGE = {"type": "other"}
UNSAFE = {"type": "work", "side_effects": 3}


def mode_of(**collaboration: Any) -> Any:
    return collaboration_of(READER, **collaboration).mode


def test_every_field_of_a_consensus_arrives() -> None:
    mode = mode_of(
        consensus={
            "voter": STEP,
            "voters": 5,
            "rule": 3,
            "supermajority": 0.75,
            "quorum": 5,
            "vote": "/label",
            "normalize": 4,
            "tolerance": 0.5,
            "choices": ["yes", "", "é"],
            "weights": 2,
            "weight_label": "trust",
            "early_decision": False,
            "on_no_consensus": 4,
            "judge": JUDGE,
            "rounds": 3,
            "aggregate": 2,
        }
    )
    assert mode == Consensus(
        WORK, 5, 3, 0.75, 5, "/label", 4, 0.5, ("yes", "", "é"), 2, "trust", False, 4, OTHER, 3, 2
    )
    assert len(task_spec_pb2.Consensus.DESCRIPTOR.fields) == len(Consensus.__struct_fields__)


@pytest.mark.parametrize(("voters", "quorum"), [(0, 2), (1, 1), (2, 2), (3, 2), (4, 3), (15, 8)])
def test_a_quorum_is_half_of_the_voters_and_one(voters: int, quorum: int) -> None:
    mode = mode_of(consensus={"voter": STEP, "voters": voters})
    assert mode == Consensus(WORK, voters or 3, quorum=quorum)


def test_every_field_of_a_competition_arrives() -> None:
    mode = mode_of(
        competitive={
            "candidates": [STEP, JUDGE],
            "select": 2,
            "accept": "output.ok",
            "launch": 2,
            "hedge_delay": {"seconds": 2},
            "hedge_quantile": 0.5,
        }
    )
    assert mode == Competitive(
        (WORK, OTHER), 2, "output.ok", launch=2, hedge_delay_ms=2_000, hedge_quantile=0.5
    )
    validated = mode_of(competitive={"candidates": [STEP, STEP], "select": 2, "validator": UNSAFE})
    assert validated.validator == TaskSpec(
        "work", side_effects=3
    )  # It runs once for an output, like any step.
    scored = mode_of(competitive={"candidates": [STEP, STEP], "select": 3, "score": "/score"})
    assert (scored.score, scored.judge) == ("/score", None)
    judged = mode_of(competitive={"candidates": [STEP, STEP], "select": 3, "judge": JUDGE})
    assert judged.judge == OTHER
    ours = {"count", *Competitive.__struct_fields__} - {"hedge_delay_ms"} | {"hedge_delay"}
    assert {field.name for field in task_spec_pb2.Competitive.DESCRIPTOR.fields} == ours


@pytest.mark.parametrize(
    ("fields", "count"),
    [({}, 2), ({"select": 3, "score": "/s"}, 3), ({"count": 15}, 15), ({"count": 1}, 1)],
)
def test_a_single_candidate_is_run_several_times(fields: dict[str, Any], count: int) -> None:
    assert mode_of(competitive={"candidates": [STEP], **fields}).candidates == (WORK,) * count


VOTE = {"voter": STEP}
RACE = {"candidates": [STEP, STEP]}


@pytest.mark.parametrize(
    ("mode", "fields", "at"),
    [
        ("consensus", {}, "voter"),
        ("consensus", {**VOTE, "voters": 16}, "voters"),
        ("consensus", {**VOTE, "voters": 10**9}, "voters"),
        ("consensus", {**VOTE, "voters": -1}, "voters"),
        ("consensus", {**VOTE, "rule": 5}, "rule"),
        *(
            ("consensus", {**VOTE, "rule": 3, "supermajority": n}, "supermajority")
            for n in (0, 0.5, 1.01, NAN)
        ),
        ("consensus", {**VOTE, "supermajority": 0.7}, "supermajority"),
        ("consensus", {**VOTE, "quorum": 4}, "quorum"),
        ("consensus", {**VOTE, "quorum": -1}, "quorum"),
        ("consensus", {**VOTE, "vote": "label"}, "vote"),
        ("consensus", {**VOTE, "normalize": 5}, "normalize"),
        *(("consensus", {**VOTE, "normalize": 4, "tolerance": n}, "tolerance") for n in (-1, NAN, INFINITE)),
        ("consensus", {**VOTE, "tolerance": 1}, "tolerance"),
        ("consensus", {**VOTE, "choices": ["x"] * 101}, "choices"),
        ("consensus", {**VOTE, "choices": ["a", "x" * 1_025]}, "choices[1]"),
        ("consensus", {**VOTE, "weights": 4}, "weights"),
        ("consensus", {**VOTE, "weights": 2}, "weight_label"),
        ("consensus", {**VOTE, "weights": 2, "weight_label": "a b"}, "weight_label"),
        ("consensus", {**VOTE, "weight_label": "a"}, "weight_label"),
        ("consensus", {**VOTE, "on_no_consensus": 5}, "on_no_consensus"),
        ("consensus", {**VOTE, "on_no_consensus": 4}, "judge"),
        ("consensus", {**VOTE, "judge": JUDGE}, "judge"),
        ("consensus", {**VOTE, "rounds": 4}, "rounds"),
        ("consensus", {**VOTE, "aggregate": 4}, "aggregate"),
        ("competitive", {}, "candidates"),
        ("competitive", {"candidates": [STEP] * 16}, "candidates"),
        ("competitive", {"candidates": [STEP], "count": 16}, "count"),
        ("competitive", {"candidates": [STEP], "count": -1}, "count"),
        ("competitive", {**RACE, "count": 2}, "count"),
        ("competitive", {**RACE, "select": 4}, "select"),
        ("competitive", {**RACE, "select": 2}, "accept"),
        ("competitive", {**RACE, "select": 2, "accept": "output", "validator": STEP}, "accept"),
        ("competitive", {**RACE, "select": 2, "accept": "output.a >"}, "accept"),
        ("competitive", {**RACE, "accept": "output.a"}, "accept"),
        ("competitive", {**RACE, "validator": STEP}, "validator"),
        ("competitive", {**RACE, "select": 3}, "score"),
        ("competitive", {**RACE, "select": 3, "score": "/a", "judge": STEP}, "score"),
        ("competitive", {**RACE, "select": 3, "score": "a"}, "score"),
        ("competitive", {**RACE, "score": "/a"}, "score"),
        ("competitive", {**RACE, "judge": STEP}, "judge"),
        ("competitive", {**RACE, "launch": 4}, "launch"),
        ("competitive", {**RACE, "launch": 2, "hedge_delay": {}}, "hedge_delay"),
        ("competitive", {**RACE, "hedge_delay": {"seconds": 1}}, "hedge_delay"),
        *(
            ("competitive", {**RACE, "launch": 2, "hedge_quantile": n}, "hedge_quantile")
            for n in (0.4, 1, NAN)
        ),
        ("competitive", {"candidates": [STEP, UNSAFE]}, "candidates[1].side_effects"),
        (
            "competitive",
            {"candidates": [{"collaboration": {"sequential": {"steps": [STEP, UNSAFE]}}}]},
            "candidates[0]",
        ),
    ],
)
def test_a_field_out_of_bounds_is_refused_by_name(mode: str, fields: dict[str, Any], at: str) -> None:
    assert list(faults_of(READER, **{mode: fields})) == [f"{mode}.{at}"]


def test_a_fault_hides_no_other() -> None:
    candidates = [{"type": "a b"}, UNSAFE, {"collaboration": {"sequential": {"steps": [UNSAFE]}}}]
    faults = faults_of(READER, competitive={"candidates": candidates, "accept": "output.a"})
    assert set(faults) == {
        "competitive.candidates[0].type",
        "competitive.candidates[1].side_effects",
        "competitive.candidates[2]",
        "competitive.accept",
    }


def test_a_quorum_beyond_the_voters_is_told_both() -> None:
    words = faults_of(READER, consensus={"voter": STEP, "quorum": 4})["consensus.quorum"]
    assert words == "4 is not from 1 to voters (3); 0 means half and one"


def test_a_field_that_would_have_no_effect_says_with_what_it_has() -> None:
    words = faults_of(READER, consensus={"voter": STEP, "judge": JUDGE})["consensus.judge"]
    assert words == "has an effect with on_no_consensus JUDGE only: set that or leave it unset"
