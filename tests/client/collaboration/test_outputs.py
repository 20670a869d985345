"""How the outputs of collaborations become the types of their steps."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pytest

import upbeat
from upbeat import CodecError, NoConsensus, Skill, StepFailed, TallyEntry, Verdict, codec
from upbeat.task import task_of
from upbeat.v1 import payload_pb2, task_pb2


@dataclass
class Doc:
    text: str


@dataclass
class Label:
    label: str


DRAFT = Skill("draft", str, Doc)
CLASSIFY = Skill("classify", Doc, Label)
SAY = Skill("say", str, str)


def wrapped(payload: payload_pb2.Payload) -> dict[str, str]:
    """An output that is no JSON, as it appears in a bundle."""
    return {"content_type": payload.content_type, "base64": base64.b64encode(payload.data).decode()}


def test_a_sequence_answers_what_its_last_step_does() -> None:
    assert upbeat.sequence(DRAFT, CLASSIFY).decode_output(codec.encode({"label": "a"})) == Label("a")


def test_a_parallel_answers_each_as_its_step_does() -> None:
    mixed = upbeat.parallel(DRAFT, CLASSIFY, "any")
    outputs = codec.encode([{"text": "t"}, {"label": "l"}, 2**70])
    assert mixed.decode_output(outputs) == [Doc("t"), Label("l"), 2**70]
    assert upbeat.parallel(CLASSIFY, CLASSIFY).decode_output(codec.encode([{"label": "a"}])) == [Label("a")]
    assert upbeat.parallel().decode_output(codec.encode([])) == []


def test_outputs_that_are_no_json_come_whole_out_of_a_bundle() -> None:
    bundle = codec.encode([wrapped(codec.encode("ü")), "ü"])
    assert upbeat.parallel(SAY, SAY).decode_output(bundle) == ["ü", "ü"]
    with pytest.raises(CodecError, match="no base64"):
        upbeat.parallel(SAY).decode_output(codec.encode([{"content_type": "text/plain", "base64": "?"}]))


def test_what_did_not_complete_is_none_where_the_join_allows_it() -> None:
    bundle = codec.encode([None, {"label": "l"}])
    assert upbeat.parallel(CLASSIFY, CLASSIFY, join="settled").decode_output(bundle) == [None, Label("l")]
    with pytest.raises(CodecError):
        upbeat.parallel(CLASSIFY, CLASSIFY).decode_output(bundle)


def test_outputs_by_name_are_a_dict() -> None:
    kind = upbeat.parallel(upbeat.step(DRAFT, name="d"), CLASSIFY, output_form="by_name")
    assert kind.decode_output(codec.encode({"d": {"text": "t"}, "classify": {"label": "l"}})) == {
        "d": Doc("t"),
        "classify": Label("l"),
    }


def test_a_reducer_says_what_a_parallel_answers() -> None:
    kind = upbeat.parallel(DRAFT, DRAFT, reducer=CLASSIFY)
    assert kind.decode_output(codec.encode({"label": "l"})) == Label("l")


def test_what_is_no_bundle_is_refused() -> None:
    for kind in (upbeat.parallel(DRAFT), upbeat.pipeline(DRAFT)):
        with pytest.raises(CodecError, match="int where"):
            kind.decode_output(codec.encode(7))


def test_a_pipeline_answers_the_one_item_or_all_of_them() -> None:
    kind = upbeat.pipeline(DRAFT, CLASSIFY)
    assert kind.decode_output(codec.encode([{"label": "l"}])) == Label("l")
    assert kind.over(["a", "b"]).decode_output(codec.encode([{"label": "a"}, {"label": "b"}])) == [
        Label("a"),
        Label("b"),
    ]
    with pytest.raises(CodecError, match="0 outputs"):
        kind.decode_output(codec.encode([]))


def test_a_race_answers_as_its_candidates_where_they_are_alike() -> None:
    other = Skill("classify-slowly", Doc, Label)
    assert upbeat.race(CLASSIFY, other).decode_output(codec.encode({"label": "l"})) == Label("l")
    assert upbeat.race(CLASSIFY, DRAFT).decode_output(codec.encode({"label": "l"})) == {"label": "l"}


def test_an_aggregate_is_a_number_and_no_ballot() -> None:
    assert upbeat.consensus(CLASSIFY, aggregate="mean").decode_output(codec.encode(2.5)) == 2.5
    assert upbeat.consensus(CLASSIFY).decode_output(codec.encode({"label": "l"})) == Label("l")


def test_nested_outputs_are_typed_all_the_way_down() -> None:
    kind = upbeat.parallel(upbeat.sequence(DRAFT, CLASSIFY), upbeat.pipeline(DRAFT, CLASSIFY))
    assert kind.decode_output(codec.encode([{"label": "a"}, [{"label": "b"}]])) == [Label("a"), Label("b")]


def vote(state: str, error: str = "") -> task_pb2.Task:
    """A finished vote of five."""
    task = task_pb2.Task(task_id="t1", state=task_pb2.Task.State.Value(f"STATE_{state}"))
    result = task.collaboration_result
    result.mode = "consensus"
    for value, ballots, weight in (("spam", 3, 3.5), ("ham", 1, 1.0)):
        result.tally.add(value=payload_pb2.Payload(content_type=codec.JSON), ballots=ballots, weight=weight)
        result.tally[-1].value.data = f'"{value}"'.encode()
    result.margin = 2.5
    result.dissent_task_ids.append("c4")
    result.missing, result.abstained, result.rounds, result.decided_early = 1, 1, 2, True
    if error:
        task.error.reason, task.error.message = error, "spam 3.5, ham 1"
        result.partial.add(task_id="c1", name="v", ordinal=3, state=task_pb2.Task.STATE_COMPLETED)
        result.partial[-1].output.CopyFrom(codec.encode({"label": "spam"}))
        result.partial.add(task_id="c2", state=task_pb2.Task.STATE_FAILED)
        result.partial[-1].error.reason = "NOPE"
    else:
        task.output.CopyFrom(codec.encode({"label": "spam"}))
        result.winning_value.CopyFrom(payload_pb2.Payload(content_type=codec.JSON, data=b'"spam"'))
    return task


def test_a_verdict_tells_all_of_a_vote() -> None:
    kind = upbeat.consensus(CLASSIFY, vote="/label")
    assert kind.verdict(task_of(vote("COMPLETED"))) == Verdict(
        value="spam",
        output=Label("spam"),
        tally=(TallyEntry("spam", 3, 3.5), TallyEntry("ham", 1, 1.0)),
        margin=2.5,
        dissent=("c4",),
        missing=1,
        abstained=1,
        decided_early=True,
        rounds=2,
        task_id="t1",
    )
    assert not kind.verdict(task_of(vote("COMPLETED"))).is_unanimous


def test_a_vote_without_a_winner_raises_with_its_tally() -> None:
    with pytest.raises(NoConsensus, match=r"spam 3\.5") as caught:
        upbeat.consensus(CLASSIFY).verdict(task_of(vote("FAILED", "NO_CONSENSUS")))
    assert [entry.value for entry in caught.value.tally] == ["spam", "ham"]
    assert caught.value.collaboration is not None
    first, second = caught.value.collaboration.partial
    assert (first.task_id, first.state, first.output, first.ordinal) == (
        "c1",
        "COMPLETED",
        {"label": "spam"},
        3,
    )
    assert (second.state, second.output, second.reason) == ("FAILED", None, "NOPE")


def test_single_work_has_no_verdict() -> None:
    task = task_pb2.Task(task_id="t1", state=task_pb2.Task.STATE_COMPLETED)
    task.output.CopyFrom(codec.encode({"label": "x"}))
    assert task_of(task).collaboration is None
    with pytest.raises(ValueError, match="no collaboration"):
        upbeat.consensus(CLASSIFY).verdict(task_of(task))


def test_a_failed_step_is_named() -> None:
    task = task_pb2.Task(task_id="t1", state=task_pb2.Task.STATE_FAILED)
    task.error.reason, task.error.message = "STEP_FAILED", "step review failed"
    task.error.details.update({"step": "step/1", "task_id": "c2", "reason": "NOPE"})
    with pytest.raises(StepFailed) as caught:
        task_of(task).result()
    assert (caught.value.step, caught.value.step_task_id, caught.value.step_reason) == (
        "step/1",
        "c2",
        "NOPE",
    )
