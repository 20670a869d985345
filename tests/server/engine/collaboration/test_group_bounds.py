"""What bounds a group: how many children, how large they are, what it may answer and tell."""

from __future__ import annotations

import pytest

from tests.support.fan_mode import FanMode, fan
from tests.support.lines import (
    cancel,
    collaborate,
    failure,
    hello,
    listening,
    result,
    spec_of,
    submit,
)
from tests.support.play import Play
from upbeat_server.engine.collaboration import children, group
from upbeat_server.engine.commands import SubmissionRefused
from upbeat_server.engine.limits import Bounds, Limits
from upbeat_server.engine.model import (
    Parallel,
    Payload,
    RetryPolicy,
    Sequential,
    TaskState,
)

SKIP = 2  # Of on_step_failure.
ONCE = RetryPolicy(max_attempts=1)
WORK = spec_of(retry=ONCE)


def test_no_more_children_are_live_than_may_be(play: Play) -> None:
    play >> hello("a1", slots=8) >> collaborate("c", fan(WORK, count=5), max_concurrency=2)
    assert play.engine.children == 2
    for number in range(5):
        play >> result(f"c/fan/{number}.1")
        assert play.skip().engine.children <= 2
    assert play.stored("c").output.data == b"5"


def test_what_no_agent_could_be_sent_is_a_failed_step_and_says_so(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "CHILD_BYTES_MAX", 1_000)
    play >> hello("a1", slots=2) >> collaborate("c", Parallel((WORK, WORK), reducer=WORK))
    play >> result("c/step/0.1", b"1" * 400) >> result("c/step/1.1", b"2" * 400)
    play.skip()
    error = play.stored("c").error
    assert (error.reason, error.details["reason"]) == ("STEP_FAILED", "TASK_TOO_LARGE")
    assert "the limit is 1,000" in error.message


@pytest.mark.parametrize("restarts", [False, True])
def test_a_mode_goes_on_after_a_step_that_was_too_large_in_spite_of_a_restart(
    play: Play, monkeypatch: pytest.MonkeyPatch, *, restarts: bool
) -> None:
    monkeypatch.setattr(children, "CHILD_BYTES_MAX", 1_000)
    large = spec_of(retry=ONCE, input=Payload(data=b"x" * 900))
    mode = Sequential((WORK, large, WORK), on_step_failure=SKIP)
    play >> hello("a1") >> collaborate("c", mode) >> result("c/step/0.1", b"draft")
    assert "c/step/1" not in play.tasks
    assert play.task("c/step/2").spec.input.data == b"draft"
    if restarts:
        play.restart() >> listening() >> hello("a1", holds=("c/step/2.1",))
    play >> result("c/step/2.1", b"final")
    play.skip()
    assert play.stored("c").output.data == b"final"


@pytest.mark.parametrize("restarts", [False, True])
def test_large_children_are_at_work_one_at_a_time(
    play: Play, monkeypatch: pytest.MonkeyPatch, *, restarts: bool
) -> None:
    monkeypatch.setattr(group, "BUSY_BYTES_MAX", 1_000)
    large = {"input": Payload(data=b"x" * 400)}
    play >> hello("a1", slots=9) >> collaborate("c", fan(WORK, count=5), step_fields=large)
    play.skip()
    assert play.agent("a1").in_use == 2  # The first made room for a second, and that was too much.
    if restarts:
        play.restart() >> listening() >> hello("a1", slots=9, holds=("c/fan/0.1", "c/fan/1.1"))
    for number in range(5):
        assert play.agent("a1").in_use <= 2
        play >> result(f"c/fan/{number}.1")
    play.skip()
    assert play.stored("c").output.data == b"5"


def test_in_a_full_namespace_a_collaboration_goes_on_with_one_child_at_a_time() -> None:
    play = Play(Limits(bounds=Bounds(queue_bytes_max=3_000)), modes={"fan": FanMode()})
    large = {"input": Payload(data=b"x" * 1_000)}
    play >> hello("a1", slots=9) >> collaborate("c", fan(WORK, count=4), step_fields=large)
    for number in range(4):
        assert play.engine.queue_bytes < 5_000
        play >> result(f"c/fan/{number}.1")
    play.skip()
    assert play.stored("c").output.data == b"4"


def test_what_a_failed_collaboration_tells_is_bounded_errors_included(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "PARTIAL_BYTES_MAX", 3_000)
    play >> hello("a1", slots=3) >> collaborate("c", fan(WORK, count=3, enough=1))
    for number in range(3):
        play >> failure(f"c/fan/{number}.1", message="no" * 200, details={"trace": "x" * 2_000})
    play.skip()
    told = play.stored("c").group.result
    assert [bool(outcome.error.details) for outcome in told.partial] == [True, False, False]
    assert [outcome.error.reason for outcome in told.partial] == ["BROKEN"] * 3
    assert len(told.partial[2].error.message) == 300
    assert told.partial_truncated


def test_an_output_that_is_too_large_names_the_step_to_shrink() -> None:
    play = Play(Limits(bounds=Bounds(group_output_bytes_max=100)), modes={"fan": FanMode()})
    play >> hello("a1") >> collaborate("c", fan(WORK, count=1, fills=200)) >> result("c/fan/0.1", b"x" * 50)
    play.skip()
    error = play.stored("c").error
    assert error.reason == "OUTPUT_TOO_LARGE"
    assert error.details == {"step": "fan/0"}
    assert "100" in error.message


def test_what_a_collaboration_may_have_live_is_reserved(play: Play) -> None:
    play = Play(Limits(bounds=Bounds(queue_tasks_max=5)), modes={"fan": FanMode()})
    play >> collaborate("c", fan(WORK, count=3))
    play >> submit("t1")
    play >> submit("t2")
    assert [command.refusal.reason for command in play.heard(SubmissionRefused)] == ["QUEUE_FULL"]
    play.skip()


def test_the_requirements_of_all_steps_are_bounded(play: Play) -> None:
    play = Play(Limits(bounds=Bounds(signatures_max=2)), modes={"fan": FanMode()})
    steps = tuple(spec_of(type=f"work{number}") for number in range(3))
    play >> collaborate("c", Sequential(steps))
    assert [command.refusal.reason for command in play.heard(SubmissionRefused)] == ["SIGNATURES_EXHAUSTED"]
    play.skip()


@pytest.mark.parametrize("restarts", [False, True])
def test_requirements_of_steps_yet_to_come_count_as_well(*, restarts: bool) -> None:
    play = Play(Limits(bounds=Bounds(signatures_max=4)))
    first, second = (tuple(spec_of(type=f"{kind}{number}") for number in range(2)) for kind in ("a", "b"))
    play >> collaborate("c", Sequential(first))
    if restarts:
        play.restart() >> listening()
    play >> collaborate("d", Sequential(second))
    assert [command.refusal.reason for command in play.heard(SubmissionRefused)] == ["SIGNATURES_EXHAUSTED"]
    (
        play
        >> collaborate("e", Sequential(first))
        >> cancel("c")
        >> cancel("e")
        >> collaborate("f", Sequential(second))
    )
    assert play.task("f").record.state == TaskState.RUNNING
    assert len(play.engine.expected.counts) == 2
