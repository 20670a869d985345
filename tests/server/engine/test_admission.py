"""At the door of the queue: repeats, duplicates, and every bound by its name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lines import HIGH, cancel, hello, purged, result, spec_of, submission, submit
from tests.support.play import START_MS, Play
from upbeat_server.engine.commands import Persist, SubmissionKnown, SubmissionRefused, Submitted
from upbeat_server.engine.events import TasksSubmitted
from upbeat_server.engine.limits import Bounds, Limits
from upbeat_server.engine.model import Refusal, TaskState
from upbeat_server.store.codec import decode_spec, encode_spec, fingerprint


def bounded(**bounds: int) -> Play:
    return Play(Limits(Bounds(**bounds)))


def refusal(play: Play) -> Refusal:
    """The one refusal of the last turn."""
    (refused,) = play.heard(SubmissionRefused)
    play.skip()
    return refused.refusal


def test_a_submission_is_answered_with_its_task_which_is_persisted(play: Play) -> None:
    play >> submit("t1", request_id="r1")
    (submitted,) = play.heard(Submitted)
    record = submitted.task.record
    assert (record.state, record.create_ms, record.queued_since_ms) == (TaskState.QUEUED, START_MS, START_MS)
    assert record.fingerprint == fingerprint(encode_spec(spec_of()))
    assert decode_spec(play.durable[play.tasks["t1"]][1]) == spec_of()


def test_a_batch_is_answered_one_by_one(play: Play) -> None:
    batch = [submission(spec_of(dedup_key=key), index=index) for index, key in enumerate(("", "k", "k", ""))]
    play >> (lambda play: TasksSubmitted(7, batch))
    assert [(said.origin, said.index) for said in play.heard(Submitted)] == [(7, 0), (7, 1), (7, 3)]
    assert [(said.origin, said.index) for said in play.heard(SubmissionRefused)] == [(7, 2)]
    play << "refused: DUPLICATE_TASK"


def test_a_repeat_of_a_request_is_the_same_task_and_changes_nothing(play: Play) -> None:
    play >> submit("t1", request_id="r1")
    revision = play.engine.revision
    play >> submit("again", request_id="r1")
    assert play.tasks["again"] == play.tasks["t1"]
    assert play.heard(Persist) == []
    assert play.engine.revision == revision
    assert len(play.engine.tasks) == 1


def test_a_repeat_within_one_batch_is_one_task(play: Play) -> None:
    batch = [submission(spec_of(), "r1", index) for index in range(2)]
    play >> (lambda play: TasksSubmitted(1 << 30, batch))
    first, second = play.heard(Submitted)
    assert first.task is second.task


def test_a_request_id_with_another_spec_is_refused(play: Play) -> None:
    play >> submit("t1", request_id="r1") >> submit("t2", request_id="r1", priority=HIGH)
    assert play.said == ["refused: REQUEST_ID_REUSED"]
    assert play.engine.tasks[play.tasks["t1"]].spec.priority == 2


def test_a_repeat_of_a_finished_request_is_looked_up_with_its_fingerprint(play: Play) -> None:
    play >> submit("t1", request_id="r1") >> hello("a1") >> result("t1.1")
    play.skip() >> submit("t1", request_id="r1")
    (known,) = play.heard(SubmissionKnown)
    assert (known.task_id, known.fingerprint) == (play.tasks["t1"], fingerprint(encode_spec(spec_of())))
    play << "known t1"


def test_a_request_id_is_free_again_when_the_store_forgot_its_task(play: Play) -> None:
    play >> submit("t1", request_id="r1") >> submit("t2", request_id="r2") >> cancel("t1")
    play.skip() >> purged("r1", "r2", "never")
    play >> submit("t3", request_id="r1") >> submit("t4", request_id="r2")
    assert play.tasks["t3"] != play.tasks["t1"]
    assert play.tasks["t4"] == play.tasks["t2"]


def test_a_repeat_is_answered_even_if_the_queue_is_full() -> None:
    play = bounded(queue_tasks_max=1)
    play >> submit("t1", request_id="r1") >> submit("again", request_id="r1")
    assert play.tasks["again"] == play.tasks["t1"]
    assert play.said == []


def test_a_dedup_key_is_unique_among_unfinished_tasks(play: Play) -> None:
    play >> submit("t1", dedup_key="only") >> submit("t2", dedup_key="only")
    refused = refusal(play)
    assert refused.reason == "DUPLICATE_TASK"
    assert refused.metadata == {"dedup_key": "only", "task_id": f"{play.tasks['t1']:016x}"}
    play >> cancel("t1") >> submit("t3", dedup_key="only")
    assert "t3" in play.skip().tasks


def test_the_number_of_unfinished_tasks_is_bounded() -> None:
    play = bounded(queue_tasks_max=2)
    play >> submit("t1") >> submit("t2") >> submit("t3")
    refused = refusal(play)
    assert refused.reason == "QUEUE_FULL"
    assert refused.metadata == {"bound": "queue_tasks_max", "limit": "2"}
    assert refused.retry_ms > 0
    play >> cancel("t1") >> submit("t4")
    assert "t4" in play.tasks


def test_the_bytes_of_unfinished_tasks_are_bounded() -> None:
    size = len(encode_spec(spec_of()))
    play = bounded(queue_bytes_max=2 * size)
    play >> submit("t1") >> submit("t2")
    assert play.engine.queue_bytes == 2 * size
    play >> submit("t3")
    assert refusal(play).reason == "QUEUE_BYTES_FULL"
    play >> cancel("t1") >> submit("t4")
    assert "t4" in play.tasks


@pytest.mark.parametrize(
    "other", [{"type": "other"}, {"required_capabilities": ("gpu",)}, {"selector": "region=eu"}]
)
def test_the_number_of_different_requirements_is_bounded(other: dict[str, Any]) -> None:
    play = bounded(signatures_max=1)
    play >> submit("t1") >> submit("t2") >> submit("t3", **other)
    assert refusal(play).reason == "SIGNATURES_EXHAUSTED"
    play >> cancel("t1") >> cancel("t2") >> submit("t4", **other)
    assert "t4" in play.tasks


def test_the_number_of_fairness_keys_is_bounded_over_the_classes() -> None:
    play = bounded(fairness_keys_max=2)
    play >> submit("t1", fairness_key="a") >> submit("t2", fairness_key="a", priority=HIGH)
    play >> submit("t3", fairness_key="b")
    assert refusal(play).reason == "FAIRNESS_KEYS_EXHAUSTED"
    play >> submit("t4", fairness_key="a")
    assert "t4" in play.tasks
    play >> cancel("t2") >> submit("t5", fairness_key="b")
    assert "t5" in play.tasks


def test_idle_keys_that_owe_nothing_any_more_make_room() -> None:
    play = bounded(fairness_keys_max=2)
    play >> submit("t1", fairness_key="a") >> submit("t2", fairness_key="b") >> submit("t3", fairness_key="b")
    play >> hello("a1") >> submit("t4", fairness_key="c")
    assert [words for words in play.said if words.startswith("refused")]  # a has run and owes.
    play.later(1_000) >> result("t1.1") >> submit("t5", fairness_key="b")
    play.later(2_000) >> result("t2.1")
    play.skip() >> submit("t6", fairness_key="c")
    assert "t6" in play.tasks


def test_a_refused_submission_leaves_nothing_behind() -> None:
    play = bounded(queue_tasks_max=0)
    play >> submit("t1", request_id="r1", dedup_key="k", fairness_key="f")
    assert refusal(play).reason == "QUEUE_FULL"
    engine = play.engine
    assert not any((engine.tasks, engine.requests, engine.dedup_keys, engine.queue.signatures))
    assert (engine.queue_bytes, engine.revision, engine.queue.key_count) == (0, 0, 0)
    assert play.heard(Persist) == []
