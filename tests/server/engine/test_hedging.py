"""Second runs that the scheduler begins on its own: when, by whom, and which of the two counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import exp
from typing import Any

import pytest

from tests.support.lines import (
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
    submit,
)
from tests.support.play import Line, Play
from upbeat_server.engine import dispatch
from upbeat_server.engine.commands import Assign
from upbeat_server.engine.explain import explain
from upbeat_server.engine.hedging import DUES_MIN
from upbeat_server.engine.limits import ChoiceRules, Graces, Limits
from upbeat_server.engine.model import (
    AttemptOutcome,
    Limit,
    Parallel,
    RetryPolicy,
    SideEffects,
    TaskSpec,
    TaskState,
)

SLOW, SOUND = "a1", "a2"
DAY_MS = 86_400_000
RUN_MS = 1_000
SLOWNESS = 9.0
NONE: dict[str, Any] = {"side_effects": SideEffects.NONE, "retry": RetryPolicy(initial_backoff_ms=100)}


def staged(**rules: Any) -> Play:
    """One agent that is known to be slow, and one that is not."""
    silent = Graces(suspect_after_ms=DAY_MS, lease_timeout_ms=DAY_MS, ack_timeout_ms=DAY_MS)
    play = Play(Limits(graces=silent, choice=ChoiceRules(**{"hedge_share": 1.0, **rules})))
    predictor = play.engine.predictor
    for _ in range(40):
        predictor.learn("work", SLOW, SLOWNESS * RUN_MS, completed=True, beside=1)
        for agent in (SOUND, "a3", "a4"):
            predictor.learn("work", agent, RUN_MS, completed=True, beside=1)
    play >> hello(SLOW) >> hello(SOUND)
    return play.skip()


@pytest.fixture
def play() -> Iterator[Play]:
    """See ``staged``."""
    play = staged()
    yield play
    play.over()


def probe(play: Play, **fields: Any) -> Play:
    """The slow agent has the task ``t`` for so long as a sound one would need for it."""
    play >> submit("t", **{**NONE, **fields})
    assert play.holders[play.lease("t.1")] == SLOW
    return play.skip().later(usual_ms(play))


def usual_ms(play: Play) -> int:
    """What such a task takes as a rule, and a bit."""
    level = play.engine.predictor.levels["work"]
    return round(exp(level.log_ms)) + 1


def outcomes(play: Play) -> list[tuple[int, str]]:
    """The attempts of the task as they are stored."""
    record = play.stored("t")
    return [(past.attempt, AttemptOutcome(past.outcome).name) for past in record.attempts]


def test_what_a_slow_agent_has_not_done_in_time_is_given_to_a_sound_one_as_well(play: Play) -> None:
    probe(play) << "assign t.2 to a2"
    assert outcomes(play) == [(1, "HEDGED"), (2, "RUNNING")]
    assert play.engine.counters.hedges == 1
    play >> result("t.2")
    play << "stop t.1 at a1: SUPERSEDED" << "finished t COMPLETED" << "ack t.2 to a2: ACCEPTED"
    assert outcomes(play) == [(1, "HEDGED"), (2, "COMPLETED")]
    assert play.agent(SLOW).in_use == 1
    play >> failure("t.1", "CANCELLED") << "resolve t.1 for a1"
    assert play.agent(SLOW).in_use == 0


def test_the_first_one_may_be_done_first_all_the_same(play: Play) -> None:
    probe(play) << "assign t.2 to a2"
    play >> result("t.1", b"from the first", by=SLOW)
    play << "stop t.2 at a2: SUPERSEDED" << "finished t COMPLETED" << "ack t.1 to a1: ACCEPTED"
    record = play.stored("t")
    assert outcomes(play) == [(2, "CANCELLED"), (1, "COMPLETED")]
    assert record.accepted_attempt == 1
    assert record.output is not None
    assert record.output.data == b"from the first"
    play >> result("t.2", b"from the second") << "resolve t.2 for a2"


def test_that_the_first_one_fails_changes_nothing_and_is_not_charged(play: Play) -> None:
    probe(play) << "assign t.2 to a2"
    play >> failure("t.1", by=SLOW) << "ack t.1 to a1: STALE"
    record = play.stored("t")
    assert (record.failures, outcomes(play)) == (0, [(1, "HEDGED"), (2, "RUNNING")])
    play >> result("t.2") << "finished t COMPLETED" << "ack t.2 to a2: ACCEPTED"


@pytest.mark.parametrize(("reason", "failed"), [("BROKEN", 1), ("ABSTAINED", 0)])
def test_it_is_counted_as_any_failure_is(play: Play, reason: str, failed: int) -> None:
    probe(play) << "assign t.2 to a2"
    play >> failure("t.1", reason, by=SLOW)
    assert play.agent(SLOW).failed == failed
    play.skip()


@pytest.mark.parametrize("leave", [goodbye(SLOW), cut(SLOW)])
def test_nor_does_it_that_its_agent_leaves(play: Play, leave: Line) -> None:
    probe(play) << "assign t.2 to a2"
    play >> leave
    play.skip() >> result("t.2") << "finished t COMPLETED" << "ack t.2 to a2: ACCEPTED"


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (failure("t.2"), TaskState.PENDING),
        (reject("t.2"), TaskState.QUEUED),
        (goodbye(SOUND), TaskState.QUEUED),
    ],
)
def test_it_counts_whatever_became_of_the_second_one(play: Play, ends: Line, state: TaskState) -> None:
    probe(play) << "assign t.2 to a2"
    play >> ends
    assert play.skip().task("t").record.state == state
    play >> result("t.1", by=SLOW)
    play << "finished t COMPLETED" << "ack t.1 to a1: ACCEPTED"
    record = play.stored("t")
    assert (record.accepted_attempt, record.error) == (1, None)


def waiting_beside_the_first(play: Play) -> Play:
    """The second one was given back, and its agent has other work, for longer than the task may be queued."""
    probe(play, queue_timeout_ms=RUN_MS // 2) << "assign t.2 to a2"
    play.together(reject("t.2"), submit("u"))
    return play.skip().later(RUN_MS)


def test_a_task_does_not_end_for_waiting_while_the_first_one_runs(play: Play) -> None:
    assert waiting_beside_the_first(play).said == []
    play >> result("t.1", by=SLOW) << "finished t COMPLETED" << "ack t.1 to a1: ACCEPTED"


@pytest.mark.parametrize("ends", [failure("t.1", by=SLOW), reject("t.1", by=SLOW), goodbye(SLOW), cut(SLOW)])
def test_but_as_soon_as_it_does_not(play: Play, ends: Line) -> None:
    waiting_beside_the_first(play) >> ends
    assert "finished t FAILED: QUEUE_TIMEOUT" in play.later(1).said
    play.skip()


def test_at_the_latest_when_that_has_had_its_time(play: Play) -> None:
    waiting_beside_the_first(play).at(300_000 + 1)
    assert play.said[-2:] == ["stop t.1 at a1: ATTEMPT_TIMEOUT", "finished t FAILED: QUEUE_TIMEOUT"]
    play.skip()


@pytest.mark.parametrize("ends", [ack("t.2"), failure("t.2"), goodbye(SOUND)])
def test_the_first_one_has_no_longer_than_its_own_timeout(play: Play, ends: Line) -> None:
    probe(play, attempt_timeout_ms=3 * RUN_MS) << "assign t.2 to a2"
    play >> ends
    assert "stop t.1 at a1: ATTEMPT_TIMEOUT" not in play.skip().at(3 * RUN_MS - 1).said
    play.skip().at(3 * RUN_MS) << "stop t.1 at a1: ATTEMPT_TIMEOUT"
    record = play.stored("t")
    assert record.attempts[0].end_ms == record.attempts[0].start_ms + 3 * RUN_MS
    play.skip() >> result("t.1", by=SLOW) << "ack t.1 to a1: STALE"
    play.skip()


def test_another_agent_cannot_give_back_the_lease_of_the_first(play: Play) -> None:
    probe(play) << "assign t.2 to a2"
    play >> reject("t.1", by=SOUND)
    assert play.task("t").shadow is not None
    play.skip() >> result("t.1", by=SLOW)
    play << "stop t.2 at a2: SUPERSEDED" << "finished t COMPLETED" << "ack t.1 to a1: ACCEPTED"


def test_a_task_that_is_cancelled_is_stopped_at_both(play: Play) -> None:
    probe(play) << "assign t.2 to a2"
    play >> cancel("t")
    play << "stop t.2 at a2: CANCELLED" << "stop t.1 at a1: SUPERSEDED" << "finished t CANCELLED: CANCELLED"
    play.skip()


def test_after_a_restart_the_first_one_is_over(play: Play) -> None:
    probe(play) >> ack("t.2")
    play.skip().restart() >> listening()
    play >> hello(SLOW, holds=("t.1",)) >> hello(SOUND, holds=("t.2",))
    play.skip() >> result("t.1", by=SLOW) << "ack t.1 to a1: STALE"
    play >> result("t.2") << "finished t COMPLETED" << "ack t.2 to a2: ACCEPTED"


def test_a_run_that_takes_longer_than_nearly_all_is_hedged_on_any_agent(play: Play) -> None:
    play >> submit("probe") << "assign probe.1 to a1"
    play >> submit("t", **NONE) << "assign t.1 to a2"
    late_ms = play.engine.predictor.late_ms("work", SOUND, 0.0)
    play >> hello(SOUND, slots=2, resumes=True, holds=("t.1",))
    assert play.skip().later(2 * int(late_ms)).said == []  # Its own second slot is no other agent.
    play >> hello("a3")
    play.later(int(late_ms)) << "assign t.2 to a3"
    play.skip()


SPOILT: dict[str, dict[str, Any]] = {
    "may not run twice at a time": {"side_effects": SideEffects.IDEMPOTENT},
    "names limits": {"limits": (Limit("key", max_running=9),)},
    "a failure would be its last": {"retry": RetryPolicy(max_attempts=1)},
}


@pytest.mark.parametrize("fields", SPOILT.values(), ids=SPOILT.keys())
def test_no_other_work_is_hedged(play: Play, fields: dict[str, Any]) -> None:
    assert probe(play, **fields).later(10 * RUN_MS).said == []
    assert play.engine.counters.hedges == 0


def test_a_child_is_not(play: Play) -> None:
    step = TaskSpec("work", side_effects=SideEffects.NONE)
    play >> collaborate("c", Parallel((step,)))
    play.skip().later(10 * RUN_MS)
    assert not play.heard(Assign)
    play.skip()


def test_what_waits_goes_before_a_second_run(play: Play) -> None:
    play >> submit("t", **NONE) >> submit("u") >> submit("v")
    assert play.skip().later(10 * RUN_MS).said == []
    play >> result("u.1", by=SOUND)
    play << "finished u COMPLETED" << "ack u.1 to a2: ACCEPTED" << "assign v.1 to a2"


def test_so_does_what_only_the_next_turn_hands_out(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    play >> hello(SOUND, slots=2, resumes=True)
    play >> submit("t", **NONE) >> submit("u") >> submit("v") >> submit("w") >> submit("x")
    monkeypatch.setattr(dispatch, "HAND_OUTS_MAX", 1)
    play.skip().now_ms += 10 * RUN_MS  # The turn in which two slots become free is that in which it is late.
    play.together(result("u.1", by=SOUND), result("v.1", by=SOUND)).later(1)
    assert [play.names[order.task.task_id] for order in play.heard(Assign)] == ["x"]
    assert play.engine.counters.hedges == 0
    play.skip()


@pytest.mark.parametrize("rules", [{"hedge_share": 0.0}, {"policy": "least_loaded"}])
def test_nothing_is_where_it_is_not_wanted(rules: dict[str, Any]) -> None:
    play = staged(**rules)
    play >> submit("t", **NONE)
    assert play.skip().later(20 * RUN_MS).said == []
    play.over()


def test_so_many_of_all_that_is_handed_out_are_second_runs() -> None:
    play = staged(hedge_share=0.25, probe_turns=1)
    for each in range(40):
        play >> submit(f"t{each}", **NONE)
        play.later(usual_ms(play))
        if play.task(f"t{each}").shadow is None:
            play.later(int(SLOWNESS * RUN_MS)) >> result(f"t{each}.1")
        else:
            play >> result(f"t{each}.2")
            play >> failure(f"t{each}.1", "CANCELLED", by=SLOW)
        play.skip()
        assert play.engine.counters.hedges <= 0.25 * play.engine.counters.dispatched
    assert play.engine.counters.hedges > 5
    play.over()


def test_the_slow_one_is_out_as_before_when_it_was_overtaken(play: Play) -> None:
    choice: Any = play.engine.choice
    known = play.engine.predictor.agents[SLOW].runs
    probe(play) >> result("t.2")
    assert play.engine.predictor.agents[SLOW].runs == known
    assert choice.is_out("work", play.agent(SLOW))
    play.skip()


def test_one_that_fails_at_everything_is_not_well_for_being_overtaken(play: Play) -> None:
    predictor = play.engine.predictor
    cell, overall = predictor.cells["work", SLOW], predictor.types["work"]
    for _ in range(10):
        predictor.learn("work", SLOW, RUN_MS, completed=False)
        predictor.streaks.failed(SLOW, 1.0, play.engine.clock_ms)
    failing, successes = cell.failing, (cell.successes, cell.count, overall.successes, overall.count)
    play.later(1)
    probe(play) << "assign t.2 to a2"
    play.later(20 * RUN_MS) >> cancel("t")  # It hangs.
    assert predictor.streaks.is_out(SLOW)
    assert cell.failing == failing
    assert (cell.successes, cell.count, overall.successes, overall.count) == successes
    assert cell.runs == 41  # But it is slow.
    play.skip()


def test_one_that_is_well_again_does_its_probe_in_time_and_is_back(play: Play) -> None:
    choice: Any = play.engine.choice
    while choice.is_out("work", play.agent(SLOW)):
        name = f"t{len(play.answers)}"
        play >> submit(name, **NONE)
        play.later(RUN_MS // 2) >> result(f"{name}.1")
    assert play.engine.counters.hedges == 0
    play.skip()


def test_the_reason_is_explained(play: Play) -> None:
    probe(play)
    said = explained(play)
    assert said.startswith("a2: a second run, for the first one is late; expected 1")
    assert said.endswith("; attempt 1 on a1 goes on beside it")
    play >> failure("t.1", by=SLOW)
    assert "goes on" not in explained(play)
    play.skip()


def test_it_is_not_the_sticky_key_of_the_first(play: Play) -> None:
    play >> submit("probe") >> submit("before", sticky_key="key")
    play.later(RUN_MS) >> result("before.1", by=SOUND)
    play.skip() >> submit("t", sticky_key="key", **NONE) << "assign t.1 to a2"
    assert "sticky key" in explained(play)
    play >> hello("a3")
    play.later(10 * RUN_MS) << "assign t.2 to a3"
    assert explained(play).startswith("a3: a second run, for the first one is late")
    play.skip()


def explained(play: Play) -> str:
    """Why the agent of ``t`` has it."""
    answer = explain(play.engine, play.tasks["t"], play.engine.clock_ms)
    assert answer is not None
    return answer.choice


MANY = 300


def test_many_that_are_late_at_once_are_looked_at_over_several_turns() -> None:
    play = staged(hedge_share=0.5)
    play >> hello(SLOW, slots=MANY, resumes=True)
    crowd: list[Callable[[Play], Any]] = [submit(f"t{each}", **NONE) for each in range(MANY)]
    play >> goodbye(SOUND)
    assert play.together(*crowd).skip().later(10 * RUN_MS).said == []
    play >> hello(SOUND, slots=MANY)
    play.later(20 * RUN_MS)
    assert play.engine.counters.hedges == 39  # What was saved up, and what these add to it themselves.
    play.skip()
    play.over()


def test_attempts_that_have_ended_do_not_pile_up_until_they_would_have_been_late(play: Play) -> None:
    play >> submit("t", **NONE) << "assign t.1 to a1"
    for each in range(2 * DUES_MIN):
        play >> submit(f"u{each}", **NONE)
        play >> cancel(f"u{each}") >> failure(f"u{each}.1", "CANCELLED")
    assert play.engine.counters.dispatched == 2 * DUES_MIN + 1
    assert play.engine.hedges.count <= DUES_MIN + 1
    play.skip().later(usual_ms(play)) << "assign t.2 to a2"  # It runs: it was kept.
    play.skip()
