"""What the census says of limits that tasks share."""

from __future__ import annotations

import pytest

from tests.support.lines import hello, submit
from tests.support.play import Play
from upbeat_server.engine import census as counting
from upbeat_server.engine.census import LimitCensus, census
from upbeat_server.engine.model import Limit


def limits_of(play: Play) -> tuple[LimitCensus, ...]:
    """As they are now."""
    return census(play.engine, play.engine.clock_ms).limits


def test_what_is_used_of_a_limit_is_counted(play: Play) -> None:
    play >> hello("a1", slots=9)
    for name in ("t1", "t2", "t3"):
        play >> submit(name, limits=(Limit("key", max_running=2),))
    play.skip()
    assert limits_of(play) == (LimitCensus("key", tasks=3, running=2, max_running=2, exhausted=True),)


def test_starts_are_counted_for_a_window(play: Play) -> None:
    play >> hello("a1", slots=9) >> submit("t1", limits=(Limit("rate", per_second=0.5),))
    play.skip()
    assert limits_of(play) == (LimitCensus("rate", 1, 1, 0, 0.5, 1, 1, 2_000, exhausted=True),)
    (later,) = census(play.engine, play.engine.clock_ms + 2_000).limits
    assert (later.starts, later.starts_max) == (0, 1)


def test_where_there_are_too_many_those_that_hold_tasks_back_are_told(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "LIMITS_MAX", 2)
    play >> hello("a1", slots=9)
    for name, key in (("t1", "b"), ("t2", "b"), ("t3", "c"), ("t4", "a")):
        play >> submit(name, limits=(Limit(key, max_running=9),))
    play >> submit("t5", limits=(Limit("d", max_running=1),))
    play.skip()
    assert [limit.key for limit in limits_of(play)] == ["b", "d"]
