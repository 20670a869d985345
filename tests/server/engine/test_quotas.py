"""Limits that tasks share: who may go, who steps aside, what counts and for how long."""

from __future__ import annotations

import pytest

from tests.support.lines import (
    CRITICAL,
    LOW,
    ack,
    cancel,
    collaborate,
    cut,
    failure,
    goodbye,
    hello,
    listening,
    reject,
    result,
    spec_of,
    submit,
)
from tests.support.play import Line, Play
from tests.support.quota_ledger import QuotaLedger
from upbeat_server.engine import quotas
from upbeat_server.engine.explain import WaitKind, explain
from upbeat_server.engine.limits import Limits, Ordering
from upbeat_server.engine.model import Limit, Parallel, RetryPolicy, Sequential

ONE = (Limit("one", max_running=1),)
TWO = (Limit("two", max_running=2),)
EACH_SECOND = (Limit("rate", per_second=1.0),)


def assigned(play: Play) -> list[str]:
    """What was handed out since."""
    return [words.removeprefix("assign ") for words in play.said if words.startswith("assign")]


def waits(play: Play, name: str) -> list[tuple[WaitKind, str]]:
    """Why a task waits."""
    found = explain(play.engine, play.tasks[name], play.engine.clock_ms)
    assert found is not None
    return [(wait.kind, wait.message) for wait in found.waits]


def test_a_task_without_room_lets_the_next_pass_and_goes_when_there_is_room(play: Play) -> None:
    play >> hello("a1", slots=9)
    (
        play
        >> submit("t1", limits=ONE)
        >> submit("t2", limits=ONE, priority=CRITICAL)
        >> submit("t3", priority=LOW)
    )
    assert assigned(play) == ["t1.1 to a1", "t3.1 to a1"]
    play >> result("t1.1")
    assert assigned(play) == ["t2.1 to a1"]
    play.skip()


def test_among_those_that_wait_for_room_the_order_is_that_of_the_queue(play: Play) -> None:
    play >> hello("a1", slots=9) >> submit("t1", limits=ONE) >> submit("low", limits=ONE, priority=LOW)
    play >> submit("k1", limits=ONE, fairness_key="k") >> submit("k2", limits=ONE, fairness_key="k")
    (
        play
        >> submit("other", limits=ONE, type="work", fairness_key="z")
        >> submit("high", limits=ONE, priority=CRITICAL)
    )
    order = ["t1", "high", "k1", "other", "k2", "low"]
    for name in order:
        assert assigned(play) == [f"{name}.1 to a1"]
        play >> result(f"{name}.1")
    play.skip()


def test_a_task_needs_room_in_all_that_it_names(play: Play) -> None:
    both = (Limit("one", max_running=1), Limit("two", max_running=2))
    play >> hello("a1", slots=9) >> submit("t1", limits=TWO) >> submit("t2", limits=both)
    play >> submit("t3", limits=both) >> submit("t4", limits=TWO)
    assert assigned(play) == ["t1.1 to a1", "t2.1 to a1"]
    play >> result("t1.1")
    assert assigned(play) == ["t4.1 to a1"]  # The place is free, but t3 needs the one of t2 as well.
    play >> result("t2.1")
    assert assigned(play) == ["t3.1 to a1"]
    play.skip()


def test_those_that_turn_to_another_limit_leave_nobody_behind(play: Play) -> None:
    one_and_two = (*ONE, Limit("two", max_running=1))
    play >> hello("a1", slots=9) >> submit("t1", limits=ONE) >> submit("t2", limits=one_and_two[1:])
    # The second one would go first, for it is due, but is gone before there is room.
    play >> submit("both", limits=one_and_two)
    play >> submit("due", limits=one_and_two, fairness_key="due", total_timeout_ms=100) >> cancel("due")
    play >> submit("t3", limits=ONE) >> submit("t4", limits=ONE)
    play.skip()
    for name, successors in ("t1", ["t3"]), ("t3", ["t4"]), ("t4", []), ("t2", ["both"]):
        play >> result(f"{name}.1")
        assert assigned(play) == [f"{successor}.1 to a1" for successor in successors]
    play >> result("both.1")
    play.skip()


def test_starts_in_any_second_are_no_more_than_the_limit(play: Play) -> None:
    limits = (Limit("rate", per_second=2.0),)
    play >> hello("a1", slots=9)
    play.together(*(submit(f"t{number}", limits=limits) for number in range(4)))
    starts = []
    for _ in range(2_000):
        starts += [play.now_ms] * len(assigned(play))
        play.later(1)
    assert starts == [0, 450, 1_000, 1_450]


def test_starts_that_are_quick_come_some_at_a_time(play: Play) -> None:
    limits = (Limit("rate", per_second=200.0),)
    play >> hello("a1", slots=500)
    play.together(*(submit(f"t{number}", limits=limits) for number in range(300)))
    assert len(assigned(play)) == 200 * quotas.AHEAD_MS // 1_000 + 1
    play.later(999)
    assert 195 <= len(assigned(play)) + 11 <= 200
    play.later(600)
    assert play.task("t299").record.attempt == 1
    play.skip()


def test_less_than_one_start_a_second_keeps_its_distance(play: Play) -> None:
    limits = (Limit("rate", per_second=0.25),)
    play >> hello("a1", slots=9) >> submit("t1", limits=limits) >> submit("t2", limits=limits)
    play.later(3_999)
    assert assigned(play) == ["t1.1 to a1"]
    play.later(1)
    assert assigned(play) == ["t2.1 to a1"]


def test_a_slower_limit_counts_what_was_started_before_it_came(play: Play) -> None:
    quick, slow = (Limit("rate", per_second=2.0),), (Limit("rate", per_second=1.5),)
    play >> hello("a1", slots=9)
    play.together(*(submit(f"t{number}", limits=quick) for number in range(2)))
    play.later(1_100) >> submit("t3", limits=slow)
    assert assigned(play) == ["t0.1 to a1", "t1.1 to a1"]
    play.later(233)
    assert assigned(play) == []
    play.later(1)
    assert assigned(play) == ["t3.1 to a1"]


@pytest.mark.parametrize("first", [0, 1])
def test_where_tasks_name_different_numbers_the_smallest_hold(play: Play, first: int) -> None:
    play >> hello("a1", slots=9) >> hello("busy", offers=())
    numbers = (3, 1)
    play >> submit("strict", limits=(Limit("key", max_running=numbers[first]),), type="nobody-does-it")
    play.together(
        *(submit(f"t{each}", limits=(Limit("key", max_running=numbers[1 - first]),)) for each in range(3))
    )
    assert assigned(play) == ["t0.1 to a1"]
    if first == 0:
        return
    ((_, words),) = waits(play, "t1")
    assert (
        words == "limit key reached: 1 of 1 running (an unfinished task names this, the smallest max_running)"
    )
    play >> cancel("strict")
    assert assigned(play) == ["t1.1 to a1", "t2.1 to a1"]


@pytest.mark.parametrize(
    "end",
    [result("t1.1"), failure("t1.1"), reject("t1.1"), goodbye("a1")],
)
def test_room_is_there_again_however_an_attempt_ends(play: Play, end: Line) -> None:
    play >> hello("a1", slots=9) >> submit("t1", limits=ONE, retry=RetryPolicy(max_attempts=1))
    play >> ack("t1.1") >> hello("a2", slots=9) >> submit("t2", limits=ONE, priority=CRITICAL)
    assert assigned(play) == ["t1.1 to a1"]
    play >> end
    assert [words[:2] for words in assigned(play)] == ["t2"]
    play.skip()


def test_an_attempt_that_is_being_stopped_counts_until_its_agent_has_answered(play: Play) -> None:
    play >> hello("a1", slots=9) >> submit("t1", limits=ONE) >> ack("t1.1") >> submit("t2", limits=ONE)
    play >> cancel("t1")
    assert assigned(play) == ["t1.1 to a1"]
    play >> failure("t1.1")
    assert assigned(play) == ["t2.1 to a1"]
    play.skip()


def test_an_attempt_that_is_being_stopped_counts_no_longer_when_its_stream_ends(play: Play) -> None:
    play >> hello("a1", slots=9) >> submit("t1", limits=ONE) >> ack("t1.1") >> submit("t2", limits=ONE)
    play >> cancel("t1") >> hello("a2")
    assert assigned(play) == ["t1.1 to a1"]
    play >> cut("a1")
    assert assigned(play) == ["t2.1 to a2"]
    play.skip()


def test_after_a_restart_what_runs_still_counts(play: Play) -> None:
    play >> hello("a1", slots=9) >> submit("t1", limits=ONE) >> ack("t1.1") >> submit("t2", limits=ONE)
    play.restart() >> listening() >> hello("a1", slots=9, holds=("t1.1",), resumes=True)
    assert assigned(play) == ["t1.1 to a1"]
    play >> result("t1.1")
    assert assigned(play) == ["t2.1 to a1"]
    play.skip()


def test_after_a_restart_no_start_follows_before_those_of_the_last_life_are_a_window_ago(play: Play) -> None:
    play >> hello("a1", slots=9) >> submit("t1", limits=EACH_SECOND) >> result("t1.1")
    play.later(500).restart() >> listening() >> hello("a1", slots=9) >> submit("t2", limits=EACH_SECOND)
    assert assigned(play) == ["t1.1 to a1"]
    play.later(999)
    assert assigned(play) == []
    play.later(1)
    assert assigned(play) == ["t2.1 to a1"]
    play.skip()


def test_a_start_that_was_not_durable_when_the_next_life_began_counts_for_no_one() -> None:
    ledger, last, play = QuotaLedger(), Play(), Play()
    last.later(700) >> hello("a1") >> submit("t1", limits=EACH_SECOND)
    ledger.lives(last.engine)
    assert ledger.granted(last.engine, last.task("t1")) == []
    play.later(100).restart() >> listening() >> hello("a1")  # A slow clock: it began before that start.
    ledger.lives(play.engine)
    play >> submit("t2", limits=EACH_SECOND)
    play.later(1_000)
    assert play.said == ["assign t2.1 to a1"]
    assert ledger.granted(play.engine, play.task("t2")) == []


def test_a_limit_that_nobody_names_any_more_is_forgotten_when_its_tokens_are_back(play: Play) -> None:
    play >> hello("a1") >> submit("t1", limits=EACH_SECOND) >> result("t1.1")
    play.skip()
    assert [*play.engine.quotas.by_key] == ["rate"]
    play >> submit("t2", limits=EACH_SECOND)
    assert assigned(play) == []
    play.later(1_000)
    assert assigned(play) == ["t2.1 to a1"]
    play >> result("t2.1")
    play.later(1_000).skip()
    assert play.engine.quotas.by_key == {}


def test_children_of_a_collaboration_keep_the_limits_of_their_steps(play: Play) -> None:
    step = spec_of(limits=ONE)
    play >> hello("a1", slots=9) >> collaborate("p", Parallel((step, step, spec_of())))
    assert assigned(play) == ["p/step/0.1 to a1", "p/step/2.1 to a1"]
    play >> result("p/step/0.1")
    assert assigned(play) == ["p/step/1.1 to a1"]
    play.skip()


def test_what_explains_a_wait_names_the_limit_and_when_the_next_token_comes(play: Play) -> None:
    limits = (Limit("gpu", max_running=1), Limit("openai", per_second=1.0))
    play >> hello("a1", slots=9) >> submit("t1", limits=limits) >> submit("t2", limits=limits)
    play.later(600)
    assert waits(play, "t2") == [
        (WaitKind.LIMIT, "limit gpu reached: 1 of 1 running"),
        (WaitKind.LIMIT, "limit openai reached: 1 starts a second; next token in 0.4 s"),
    ]
    play.skip()


def test_the_number_of_keys_is_bounded_and_the_refusal_names_the_bound() -> None:
    play = Play(Limits(ordering=Ordering(limit_keys_max=2)))
    play >> submit("t1", limits=(Limit("a", max_running=1), Limit("b", max_running=1)))
    (
        play
        >> submit("t2", limits=(Limit("a", max_running=1),))
        >> submit("t3", limits=(Limit("c", max_running=1),))
    )
    assert play.said == ["refused: LIMIT_KEYS_EXHAUSTED"]


def test_keys_that_children_of_a_collaboration_will_name_are_counted_with_it() -> None:
    play = Play(Limits(ordering=Ordering(limit_keys_max=2)))
    steps = tuple(spec_of(limits=(Limit(key, max_running=1),)) for key in ("a", "b"))
    play >> collaborate("p", Sequential(steps)) >> submit("t1", limits=(Limit("c", max_running=1),))
    assert play.said == ["refused: LIMIT_KEYS_EXHAUSTED"]
    play >> submit("t2", limits=(Limit("b", max_running=1),)) >> cancel("p") >> cancel("t2")
    play >> submit("t3", limits=(Limit("c", max_running=1),))
    assert "refused: LIMIT_KEYS_EXHAUSTED" not in play.said
