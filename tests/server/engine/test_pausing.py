"""Pausing a type: what is held back, for how long, and that nothing else is."""

from __future__ import annotations

from tests.support.lines import CRITICAL, LOW, ack, hello, listening, result, submit
from tests.support.play import Line, Play
from upbeat_server.engine.census import census
from upbeat_server.engine.events import PauseWanted
from upbeat_server.engine.explain import WaitKind, explain
from upbeat_server.engine.limits import Limits, Ordering
from upbeat_server.engine.model import Limit


def pause(task_type: str = "work") -> Line:
    """An operator pauses a type."""
    return lambda _play: PauseWanted(0, task_type, is_paused=True)


def resume(task_type: str = "work") -> Line:
    """An operator resumes a type."""
    return lambda _play: PauseWanted(0, task_type, is_paused=False)


def test_nothing_of_a_paused_type_is_handed_out_and_what_runs_goes_on(play: Play) -> None:
    play >> hello("a1", slots=3, offers=("work", "play")) >> submit("t1") >> ack("t1.1")
    play << "assign t1.1 to a1"
    play >> pause() >> submit("t2", priority=CRITICAL) >> submit("t3", type="play", priority=LOW)
    play << "paused: work" << "assign t3.1 to a1"
    play >> result("t1.1")
    assert play.said[0] == "finished t1 COMPLETED"
    play >> resume()
    play << "paused: nothing" << "assign t2.1 to a1"


def test_a_type_can_be_paused_before_anybody_knows_it(play: Play) -> None:
    play >> pause() >> submit("t1") >> hello("a1") >> hello("a2")
    play << "paused: work"
    play >> resume()
    play << "paused: nothing" << "assign t1.1 to a1"


def test_an_agent_that_becomes_free_meanwhile_takes_what_is_resumed(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2") >> pause() >> result("t1.1")
    play.skip() >> resume()
    play << "paused: nothing" << "assign t2.1 to a1"


def test_an_overdue_task_of_a_paused_type_stays_where_it_is() -> None:
    play = Play(Limits(ordering=Ordering(overdue_low_ms=10, overdue_turn=2)))
    play >> hello("a1", slots=9, offers=("work", "play")) >> pause() >> submit("old", priority=LOW)
    play.later(1_000).skip()
    for number in range(4):
        play >> submit(f"t{number}", type="play")
    assert play.said == [f"assign t{number}.1 to a1" for number in range(4)]


def test_pausing_twice_or_resuming_what_is_not_paused_changes_nothing(play: Play) -> None:
    play >> pause() >> pause() >> resume("other") >> resume() >> resume()
    play << "paused: work" << "paused: work" << "paused: work" << "paused: nothing" << "paused: nothing"


def test_a_pause_outlives_a_restart_and_so_does_its_end(play: Play) -> None:
    play >> pause("play") >> pause() >> resume("play") >> submit("t1")
    play << "paused: play" << "paused: play, work" << "paused: work"
    play.restart() >> listening() >> hello("a1") >> submit("t2", type="play")
    assert play.said == []
    assert census(play.engine, play.engine.clock_ms).paused_types == ("work",)
    play >> resume()
    play << "paused: nothing" << "assign t1.1 to a1"


def test_a_pause_and_a_limit_are_both_told(play: Play) -> None:
    limits = (Limit("one", max_running=1),)
    play >> hello("a1", slots=2) >> submit("t1", limits=limits) >> submit("t2", limits=limits) >> pause()
    explanation = explain(play.engine, play.tasks["t2"], play.engine.clock_ms)
    assert explanation is not None
    assert [wait.kind for wait in explanation.waits] == [WaitKind.PAUSED, WaitKind.LIMIT]
    play.skip()


def test_more_types_than_may_be_paused_are_refused() -> None:
    play = Play(Limits(ordering=Ordering(paused_types_max=1)))
    play >> pause() >> pause("play") >> pause()
    play << "paused: work" << "refused: PAUSED_TYPES_EXHAUSTED" << "paused: work"
    play.over()
