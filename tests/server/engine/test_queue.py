"""Which task goes next: classes, the overdue lane, deadlines, ties."""

from __future__ import annotations

import pytest

from tests.support.lines import (
    CRITICAL,
    HIGH,
    LOW,
    NORMAL,
    beat,
    cancel,
    failure,
    frame,
    hello,
    result,
    submit,
)
from tests.support.play import Play
from upbeat_server.engine.limits import Limits, Ordering
from upbeat_server.engine.model import Priority, RetryPolicy


def order_of(play: Play, count: int, agent: str = "a1") -> list[str]:
    """What the agent, who has one slot, is handed one after the other."""
    names = []
    for _ in range(count):
        (assigned,) = [words for words in play.said if words.startswith("assign")]
        lease = assigned.split()[1]
        names.append(lease.rpartition(".")[0])
        play >> result(lease, by=agent)
    play.skip()
    return names


def no_overdue(play: Play) -> None:
    """Turns of the overdue lane come no more."""
    play.engine.limits = Limits(ordering=Ordering(overdue_turn=1 << 30))


def test_the_first_submitted_goes_first(play: Play) -> None:
    play >> submit("t1") >> submit("t2") >> submit("t3") >> hello("a1")
    assert order_of(play, 3) == ["t1", "t2", "t3"]


def test_tasks_of_one_millisecond_go_in_the_order_of_their_batch(play: Play) -> None:
    play.together(*(submit(f"t{number}") for number in range(20))) >> hello("a1")
    assert order_of(play, 20) == [f"t{number}" for number in range(20)]


def test_higher_classes_go_first_however_long_lower_ones_wait(play: Play) -> None:
    no_overdue(play)
    play >> submit("low", priority=LOW) >> submit("normal")
    play.at(300_000)
    play >> submit("high", priority=HIGH) >> submit("critical", priority=CRITICAL) >> hello("a1")
    assert order_of(play, 4) == ["critical", "high", "normal", "low"]


@pytest.mark.parametrize(("priority", "limit_ms"), [(HIGH, 15_000), (NORMAL, 60_000), (LOW, 240_000)])
def test_every_eighth_turn_goes_to_what_waited_longer_than_its_class_may(
    play: Play, priority: Priority, limit_ms: int
) -> None:
    play >> submit("old", priority=priority)
    play.at(limit_ms)
    for number in range(20):
        play >> submit(f"c{number}", priority=CRITICAL)
    play.later(1) >> hello("a1")
    # The phase comes from the agent: the first agent's eighth turn is its eighth task.
    assert order_of(play, 9) == [f"c{number}" for number in range(7)] + ["old", "c7"]


def test_the_eighth_turns_of_different_agents_fall_apart(play: Play) -> None:
    play >> submit("old1", priority=LOW) >> submit("old2", priority=LOW)
    play.at(240_001)
    for number in range(20):
        play >> submit(f"c{number}", priority=CRITICAL)
    for number in range(1, 8):
        play >> hello(f"a{number}", slots=0)
    play >> frame("a7", slots=1)
    assert order_of(play, 3, "a7") == ["c0", "old1", "c1"]


def test_what_is_not_overdue_gets_no_turn_of_the_overdue_lane(play: Play) -> None:
    play >> submit("new", priority=LOW)
    play.at(240_000)
    for number in range(16):
        play >> submit(f"c{number}", priority=CRITICAL)
    play >> hello("a1")
    assert "new" not in order_of(play, 16)


def test_of_several_overdue_the_one_goes_whose_time_ran_out_first(play: Play) -> None:
    play >> submit("low", priority=LOW)  # Overdue at 240 s.
    play.at(185_000) >> submit("normal")  # Overdue at 245 s.
    play.at(239_000)
    for number in range(20):
        play >> submit(f"c{number}", priority=CRITICAL)
    play.at(250_000) >> hello("a1")
    assert order_of(play, 16)[7::8] == ["low", "normal"]


def test_of_two_overdue_for_equally_long_the_one_of_the_higher_class_goes(play: Play) -> None:
    play >> submit("low", priority=LOW)  # Both are overdue at 240 s.
    play.at(180_000) >> submit("normal")
    play.at(239_000)
    for number in range(20):
        play >> submit(f"c{number}", priority=CRITICAL)
    play.at(250_000) >> hello("a1")
    assert order_of(play, 16)[7::8] == ["normal", "low"]


def test_a_task_is_overdue_by_when_it_was_queued_last_not_submitted(play: Play) -> None:
    play >> submit("later", priority=LOW, not_before_ms=1_000_000 + 200_000)
    play.at(250_000)
    for number in range(16):
        play >> submit(f"c{number}", priority=CRITICAL)
    play >> hello("a1")
    assert "later" not in order_of(play, 16)


def test_the_overdue_lane_gives_an_agent_only_what_it_can_do(play: Play) -> None:
    play >> submit("other", type="other", priority=LOW)
    play.at(250_000)
    for number in range(10):
        play >> submit(f"c{number}", priority=CRITICAL)
    play >> hello("a1")
    assert "other" not in order_of(play, 10)


def test_a_deadline_that_gets_near_moves_a_task_ahead(play: Play) -> None:
    no_overdue(play)
    play >> submit("t1") >> hello("a1")
    play.skip().later(9_000) >> result("t1.1")  # A run takes 9 s.
    play.skip() >> submit("filler")
    play.later(1_000) >> submit("early")
    (
        play.later(1_000)
        >> submit("pressed", total_timeout_ms=12_000)
        >> submit("relaxed", total_timeout_ms=600_000)
    )
    play >> beat("a1")
    assert order_of(play, 4) == ["filler", "pressed", "early", "relaxed"]


def test_a_retry_keeps_its_place(play: Play) -> None:
    play >> submit("t1", retry=RetryPolicy(initial_backoff_ms=20)) >> hello("a1")
    play >> submit("t2") >> submit("t3") >> failure("t1.1")
    play.later(100) >> result("t2.1")
    assert [words for words in play.said if words.startswith("assign")][1:] == [
        "assign t2.1 to a1",
        "assign t1.2 to a1",
    ]


def test_a_cancelled_head_makes_way(play: Play) -> None:
    play >> submit("t1") >> submit("t2") >> submit("t3") >> cancel("t1") >> cancel("t2")
    play.skip() >> hello("a1")
    play << "assign t3.1 to a1"


def test_requirements_share_one_order(play: Play) -> None:
    for number in range(6):
        play >> submit(f"t{number}", type=("work", "play")[number % 2])
    play >> hello("a1", offers=("work", "play"))
    assert order_of(play, 6) == [f"t{number}" for number in range(6)]


def test_a_blocked_head_holds_up_nobody(play: Play) -> None:
    play >> submit("blocked", type="other", priority=CRITICAL) >> submit("t1", priority=LOW) >> hello("a1")
    play << "assign t1.1 to a1"
