"""Joining queue and fleet: who is avoided, who steps aside, and that nothing is ever stuck."""

from __future__ import annotations

import pytest

from tests.support.lines import (
    LOW,
    ack,
    beat,
    cancel,
    drain,
    failure,
    frame,
    goodbye,
    hello,
    reject,
    result,
    spec_of,
    submission,
    submit,
)
from tests.support.play import Line, Play
from upbeat_server.engine import dispatch
from upbeat_server.engine.events import AttemptAcked, TasksSubmitted
from upbeat_server.engine.leases import REJECTION_AVOID_MAX_MS
from upbeat_server.engine.model import RetryPolicy, TaskState

QUICK = RetryPolicy(max_attempts=50, initial_backoff_ms=0)


def assigned(play: Play) -> list[str]:
    """What was handed out since."""
    return [words.removeprefix("assign ") for words in play.said if words.startswith("assign")]


@pytest.mark.parametrize("line", [failure("t1.1"), reject("t1.1")])
def test_an_agent_that_failed_a_task_or_gave_it_back_is_avoided_while_another_is_left(
    play: Play, line: Line
) -> None:
    play >> hello("a1", slots=2) >> hello("a2") >> submit("t1", retry=QUICK)
    play >> line
    play.later(20)
    assert assigned(play) == ["t1.1 to a1", "t1.2 to a2"]


def test_a_task_waits_for_an_agent_that_has_not_failed_it_and_lets_others_pass(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> submit("t1", retry=QUICK) >> submit("long")
    play >> submit("t2")
    assert assigned(play) == ["t1.1 to a1", "long.1 to a2"]
    play >> failure("t1.1")
    play.later(20)
    assert assigned(play) == ["t2.1 to a1"]
    assert play.task("t1").record.state == TaskState.QUEUED
    play >> result("t2.1")
    assert assigned(play) == []
    play >> result("long.1")
    assert assigned(play) == ["t1.2 to a2"]


@pytest.mark.parametrize("leave", [goodbye("a2"), drain("a2"), frame("a2", slots=0)])
def test_that_an_agent_failed_a_task_counts_no_more_when_no_other_is_left(play: Play, leave: Line) -> None:
    play >> hello("a1") >> hello("a2") >> submit("t1", retry=QUICK) >> submit("long") >> failure("t1.1")
    play.later(20)
    assert assigned(play) == ["t1.1 to a1", "long.1 to a2"]
    play >> leave
    assert "t1.2 to a1" in assigned(play)


def test_a_single_agent_tries_again_what_it_failed(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=QUICK) >> failure("t1.1")
    play.later(20) >> failure("t1.2")
    play.later(20)
    assert assigned(play) == ["t1.1 to a1", "t1.2 to a1", "t1.3 to a1"]


def test_an_agent_that_keeps_giving_a_task_back_is_offered_it_after_ever_longer_whiles(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    waits = []
    for attempt in range(1, 9):
        start_ms = play.now_ms
        play.skip() >> reject(f"t1.{attempt}")
        while play.task("t1").record.attempt == attempt:
            play.later(500) >> beat("a1")
        waits.append(play.now_ms - start_ms)
    expected = [min(1_000 << number, REJECTION_AVOID_MAX_MS) for number in range(8)]
    assert all(wait - 2_000 <= least <= wait for wait, least in zip(waits, expected, strict=True))
    play.skip()


def test_a_task_that_everybody_gave_back_goes_to_nobody_for_a_while(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> submit("t1") >> reject("t1.1") >> reject("t1.2")
    play.later(500)
    assert assigned(play) == ["t1.1 to a1", "t1.2 to a2"]
    play.later(2_000)
    assert len(assigned(play)) == 1


def test_a_new_agent_takes_what_the_others_gave_back(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> reject("t1.1") >> hello("a2")
    assert assigned(play) == ["t1.1 to a1", "t1.2 to a2"]


def test_a_task_that_stepped_aside_can_be_cancelled_and_timed_out(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2", queue_timeout_ms=300)
    play >> reject("t1.1") >> reject("t2.1")
    assert len(play.task("t1").signature.aside) == 2
    play.skip() >> cancel("t1")
    play << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    play.later(400) << "finished t2 FAILED: QUEUE_TIMEOUT"
    assert play.engine.asides == {}


def test_thousands_that_stepped_aside_come_back_when_they_may(play: Play) -> None:
    count = 3_000
    play.tell(hello("a1", slots=count)(play))
    play.tell(TasksSubmitted(1 << 30, [submission(spec_of()) for _ in range(count)]))
    play.end_turn()
    rejections = [AttemptAcked(lease, accepted=False) for lease in play.agent("a1").leases]
    play >> frame("a1", acks=rejections)
    (signature,) = play.engine.queue.signatures.values()
    assert len(signature.aside) == count
    play.skip().later(2_000)
    assert len(play.said) == count


def test_a_turn_hands_out_a_bounded_number_and_the_next_follows_at_once(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "HAND_OUTS_MAX", 2)
    play >> hello("a1", slots=5)
    play.together(*(submit(f"t{number}") for number in range(5)))
    assert len(assigned(play)) == 2
    assert play.engine.next_wake_ms <= play.engine.clock_ms
    play.later(1)
    assert len(assigned(play)) == 3


def test_nothing_is_handed_out_before_the_turn_ends(play: Play) -> None:
    play.tell(hello("a1")(play))
    play.tell(submit("t1")(play))
    assert play.said == []
    play.end_turn()
    assert assigned(play) == ["t1.1 to a1"]


def test_the_overdue_lane_keeps_to_who_is_avoided(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> submit("t1", priority=LOW, retry=QUICK)
    play >> submit("long") >> ack("long.1") >> failure("t1.1")
    for _ in range(13):
        play.later(20_000) >> beat("a1") >> beat("a2")
    play.skip()
    for number in range(20):
        play >> submit(f"c{number}", priority=4) >> result(f"c{number}.1")
    assert not [words for words in assigned(play) if words.startswith("t1")]
