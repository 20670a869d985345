"""When children start and how long it all takes, on the time of a whole engine."""

from __future__ import annotations

import pytest

from tests.support.lines import collaborate, failure, hello, result, spec_of, submit
from tests.support.orders import words_of
from tests.support.play import Line, Play
from tests.support.shift import Shift
from upbeat_server.engine.commands import CancelAttempt
from upbeat_server.engine.model import Competitive, Payload, Pipeline, RetryPolicy

STAGES = ("fetch", "read", "write")
ITEMS = tuple(Payload("application/json", b"%d" % number) for number in range(100))
STEP_MS = 20
ONCE = RetryPolicy(max_attempts=1)
RUN = spec_of(type="run", retry=ONCE)
HEDGED = 2


def flow(concurrency: int, buffer: int = 16) -> Pipeline:
    """100 items through three stages."""
    stages = tuple(spec_of(type=stage) for stage in STAGES)
    return Pipeline(stages, ITEMS, stage_concurrency=concurrency, buffer=buffer)


@pytest.mark.parametrize(("concurrency", "buffer"), [(1, 1), (4, 1), (4, 16), (10, 16)])
def test_a_pipeline_takes_as_long_as_its_slowest_stage(play: Play, concurrency: int, buffer: int) -> None:
    shift = Shift(play, dict.fromkeys(STAGES, STEP_MS))
    (
        play
        >> hello("a1", slots=64, offers=STAGES)
        >> collaborate("c", flow(concurrency, buffer), max_concurrency=64)
    )
    took_ms = shift.work("c")
    slowest_ms = len(ITEMS) / concurrency * STEP_MS
    assert took_ms == slowest_ms + 2 * STEP_MS
    assert took_ms <= 1.25 * slowest_ms
    assert play.stored("c").output.data == b"[%s]" % b",".join(b"%d" % number for number in range(100))


def test_the_slowest_stage_never_waits_for_the_others(play: Play) -> None:
    shift = Shift(play, {"fetch": 5, "read": 50, "write": 5})
    play >> hello("a1", slots=64, offers=STAGES)
    play >> collaborate("c", flow(4, 1), max_concurrency=64)
    assert shift.work("c") == 5 + len(ITEMS) / 4 * 50 + 5
    starts_ms = sorted(ms for name, ms in shift.started_ms.items() if name.endswith("stage/1"))
    assert starts_ms == [5 + 50 * (number // 4) for number in range(len(ITEMS))]


def test_a_slow_stage_holds_back_the_one_before_it(play: Play) -> None:
    concurrency, buffer = 2, 1
    shift = Shift(play, {"fetch": 5, "read": 50, "write": 5})
    ahead = [0]

    def look() -> None:
        fetches = sum(name.endswith("stage/0") for name in shift.started_ms)
        reads = sum(name.endswith("stage/1") for name in shift.started_ms)
        ahead.append(fetches - reads)
        assert play.engine.children <= 2 * concurrency + concurrency

    (
        play
        >> hello("a1", slots=64, offers=STAGES)
        >> collaborate("c", flow(concurrency, buffer), max_concurrency=64)
    )
    shift.work("c", look)
    assert max(ahead) == concurrency + buffer
    assert len(ahead) > len(ITEMS)


def runner(name: str) -> Line:
    """An agent that offers what races are about."""
    return hello(name, offers=("run",))


def race(**fields: int) -> Competitive:
    """Two candidates, the second as a hedge."""
    return Competitive((RUN, RUN), launch=HEDGED, **fields)  # type: ignore[arg-type]


def test_a_hedge_starts_when_its_delay_has_passed_and_not_before(play: Play) -> None:
    play >> runner("a1") >> runner("a2") >> collaborate("c", race(hedge_delay_ms=700), distinct_agents=True)
    play << "assign c/candidate/0.1 to a1"
    play.at(699)
    assert play.said == []
    play.at(700) << "assign c/candidate/1.1 to a2"
    play >> result("c/candidate/1.1")
    play.skip()


def test_a_race_that_is_won_in_time_starts_no_hedge(play: Play) -> None:
    shift = Shift(play, {"run": 300})
    play >> runner("a1") >> runner("a2") >> collaborate("c", race(hedge_delay_ms=301), distinct_agents=True)
    assert shift.work("c") == 300
    assert list(shift.started_ms) == ["c/candidate/0"]
    play.later(10_000)
    assert play.said == []


def test_a_hedge_waits_for_the_quantile_that_was_learned(play: Play) -> None:
    play >> runner("a1") >> runner("a2")
    shift = Shift(play, {"run": 400})
    for number in range(20):
        play >> submit(f"t{number}", type="run")
        shift.work(f"t{number}")
    slow = Shift(play, {"run": 5_000})
    began_ms = play.now_ms
    play >> collaborate("c", race(), distinct_agents=True)
    slow.work("c")
    starts_ms = [slow.started_ms[f"c/candidate/{number}"] - began_ms for number in (0, 1)]
    assert starts_ms == [0, 400]


def test_without_enough_runs_a_hedge_waits_for_ten_seconds(play: Play) -> None:
    play >> runner("a1") >> runner("a2")
    shift = Shift(play, {"run": 400})
    for number in range(19):
        play >> submit(f"t{number}", type="run")
        shift.work(f"t{number}")
    slow = Shift(play, {"run": 12_000})
    began_ms = play.now_ms
    play >> collaborate("c", race(), distinct_agents=True)
    assert slow.work("c") == 12_000
    assert slow.started_ms["c/candidate/1"] - began_ms == 10_000


def test_the_losers_are_told_in_the_turn_of_the_winner_and_their_time_is_wasted(play: Play) -> None:
    candidates = tuple(spec_of(type="run", retry=ONCE, name=name) for name in ("x", "y", "z"))
    for number in range(3):
        play >> runner(f"a{number}")
    play >> collaborate("c", Competitive(candidates), distinct_agents=True)
    play.at(100) >> failure("c/candidate/2.1")
    play.skip()
    play.at(350) >> result("c/candidate/1.1", b'"best"')
    assert [
        words_of(command, play.task_name, lambda session_id: play.agents_of[session_id])
        for command in play.heard(CancelAttempt)
    ] == ["stop c/candidate/0.1 at a0: SUPERSEDED"]
    told = play.stored("c").group.result
    assert told.winner_id == play.tasks["c/candidate/1"]
    assert told.wasted_ms == 100 + 350
    assert play.stored("c").output.data == b'"best"'
    play.skip()
