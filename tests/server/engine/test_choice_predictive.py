"""The default policy: agents that are out, the probes that they get, and work that waits for a better one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lines import failure, hello, result, submit
from tests.support.play import Play
from upbeat_server.engine.choice_predictive import PROBE_LATE_TURNS
from upbeat_server.engine.limits import ChoiceRules, Graces, Limits
from upbeat_server.engine.model import RetryPolicy, SideEffects

AGENTS = ("a1", "a2", "a3", "a4")
PROBE_TURNS = 8
ONCE = RetryPolicy(max_attempts=1)
DAY_MS = 86_400_000
TINY_MS, LONG_MS = 1.0, 1_000.0


@pytest.fixture
def probed() -> Iterator[Play]:
    """Four agents of one slot; one that is out is probed with one task of eight."""
    silent = Graces(suspect_after_ms=DAY_MS, lease_timeout_ms=DAY_MS, ack_timeout_ms=DAY_MS)
    play = Play(Limits(graces=silent, choice=ChoiceRules(probe_turns=PROBE_TURNS)))
    for agent in AGENTS:
        play >> hello(agent)
    yield play.skip()
    play.over()


def know(play: Play, ms: float, runs: int = 40, size: float = 0.0, **times: float) -> None:
    """Everybody has done work of that length; ``times`` says by how much some are slower."""
    predictor = play.engine.predictor
    for _ in range(runs):
        for agent in AGENTS:
            predictor.learn("work", agent, ms * times.get(agent, 1.0), completed=True, beside=1, size=size)


def break_down(play: Play, agent: str, attempts: int = 20) -> None:
    """What the agent is given fails."""
    for _ in range(attempts):
        play.engine.predictor.learn("work", agent, 1.0, completed=False)


def hand_out(play: Play, ms: float, *, failing: str = "", **fields: Any) -> str:
    """One task, which takes so long or fails at once; answers whose it was."""
    name = f"t{len(play.answers)}"
    play >> submit(name, retry=ONCE, **fields)
    agent = play.holders[play.lease(f"{name}.1")]
    if agent == failing:
        play >> failure(f"{name}.1")
    else:
        play.later(int(ms)) >> result(f"{name}.1")
    play.skip()
    return agent


def out(play: Play) -> list[str]:
    """Who is out."""
    choice: Any = play.engine.choice
    return [agent for agent in AGENTS if choice.is_out("work", play.agent(agent))]


@pytest.mark.parametrize("ms", [TINY_MS, LONG_MS])
def test_an_agent_that_fails_at_once_is_soon_left_alone(probed: Play, ms: float) -> None:
    know(probed, ms)
    drawn = Counter(hand_out(probed, ms, failing="a1") for _ in range(200))
    assert drawn["a1"] <= 20 + 200 // PROBE_TURNS


KINDS = tuple(f"kind-{number}" for number in range(10))


@pytest.fixture
def versatile() -> Iterator[Play]:
    """Four agents that have long done ten types; the first is twice as fast as the others."""
    silent = Graces(suspect_after_ms=DAY_MS, lease_timeout_ms=DAY_MS, ack_timeout_ms=DAY_MS)
    play = Play(Limits(graces=silent))
    for agent in AGENTS:
        play >> hello(agent, offers=KINDS)
    predictor = play.engine.predictor
    for _ in range(40):
        for kind in KINDS:
            for agent in AGENTS:
                ms = LONG_MS / 2 if agent == AGENTS[0] else LONG_MS
                predictor.learn(kind, agent, ms, completed=True, beside=1)
    yield play.skip()
    play.over()


def test_one_that_fails_whatever_it_gets_is_left_alone_by_all_types(versatile: Play) -> None:
    drawn = Counter(hand_out(versatile, LONG_MS, failing="a1", type=KINDS[each % 10]) for each in range(60))
    assert drawn["a1"] <= 10
    choice: Any = versatile.engine.choice
    assert all(choice.is_out(kind, versatile.agent("a1")) for kind in KINDS)
    versatile.engine.predictor.streaks.completed("a1", versatile.engine.clock_ms + 1)
    assert not any(choice.is_out(kind, versatile.agent("a1")) for kind in KINDS)


def test_one_that_abstains_from_much_is_not_broken(versatile: Play) -> None:
    for each in range(20):
        versatile >> submit(f"t{each}", type=KINDS[each % 10], retry=ONCE)
        versatile >> failure(f"t{each}.1", "ABSTAINED")
    assert versatile.agent("a1").failed == 0
    assert versatile.engine.predictor.streaks.by_agent == {}
    versatile.skip()


def test_a_run_that_was_begun_before_does_not_excuse_it(versatile: Play) -> None:
    versatile >> submit("before", type=KINDS[0])
    assert versatile.holders[versatile.lease("before.1")] == "a1"
    versatile >> hello("a1", slots=2, offers=KINDS, resumes=True, holds=("before.1",))
    for each in range(9):
        hand_out(versatile, LONG_MS, failing="a1", type=KINDS[1 + each])
    versatile >> result("before.1")
    choice: Any = versatile.engine.choice
    assert choice.is_out(KINDS[2], versatile.agent("a1"))
    versatile.skip()


def test_one_that_fails_at_one_type_is_left_alone_by_that_one(versatile: Play) -> None:
    drawn = {"a1": Counter[str](), "": Counter[str]()}
    for each in range(100):
        failing = "" if each % 2 else "a1"
        drawn[failing][hand_out(versatile, LONG_MS, failing=failing, type=KINDS[each % 2])] += 1
    assert drawn["a1"]["a1"] <= 10
    assert drawn[""]["a1"] == 50


def test_so_is_one_that_fails_before_anything_is_known(probed: Play) -> None:
    drawn = Counter(hand_out(probed, LONG_MS, failing="a1") for _ in range(200))
    assert drawn["a1"] <= 20 + 200 // PROBE_TURNS


@pytest.mark.parametrize("ms", [TINY_MS, LONG_MS])
def test_an_agent_that_is_out_gets_one_of_so_many(probed: Play, ms: float) -> None:
    know(probed, ms)
    break_down(probed, "a1")
    drawn = Counter(hand_out(probed, ms, failing="a1") for _ in range(10 * PROBE_TURNS))
    assert drawn["a1"] == 10


@pytest.mark.parametrize("ms", [TINY_MS, LONG_MS])
def test_one_that_recovers_comes_back_by_its_probes(probed: Play, ms: float) -> None:
    know(probed, ms)
    break_down(probed, "a1")
    tasks = 0
    while out(probed):
        hand_out(probed, ms)
        tasks += 1
    assert tasks <= 20 * PROBE_TURNS


def test_a_probe_of_tiny_work_is_one_task_and_no_chunk(probed: Play) -> None:
    probed >> hello("a1", slots=9) >> hello("a2", slots=9)
    know(probed, TINY_MS)
    break_down(probed, "a1")
    probed.together(*(submit(f"t{number}") for number in range(5)))
    assert Counter(probed.holders.values()) == {"a1": 1, "a2": 4}
    probed.skip()


def test_tiny_work_goes_to_one_that_is_out_when_there_is_no_other(probed: Play) -> None:
    know(probed, TINY_MS)
    break_down(probed, "a1")
    break_down(probed, "a2", 10)
    for agent in ("a3", "a4"):
        probed >> hello(agent, offers=("other",))
    drawn = [hand_out(probed, TINY_MS, failing="a1") for _ in range(4)]
    assert drawn == ["a1", "a2", "a2", "a2"]  # The first one is a probe.


def test_work_that_is_long_for_its_type_is_no_probe_until_it_is_late(probed: Play) -> None:
    know(probed, LONG_MS, size=10.0, a1=9.0)
    know(probed, 10 * LONG_MS, size=100.0, a1=9.0)
    for size, turns in ((10.0, 0), (100.0, PROBE_LATE_TURNS * PROBE_TURNS)):
        while hand_out(probed, LONG_MS, failing="a1", size_hint=10.0) != "a1":
            pass
        passed = 0
        while hand_out(probed, size * LONG_MS / 10, failing="a1", size_hint=size) != "a1":
            passed += 1
        assert passed == PROBE_TURNS - 1 + turns


@pytest.mark.parametrize("ms", [TINY_MS, LONG_MS])
def test_what_must_not_be_done_twice_is_no_probe(probed: Play, ms: float) -> None:
    know(probed, ms)
    break_down(probed, "a1")
    drawn = {hand_out(probed, ms, side_effects=SideEffects.UNSAFE) for _ in range(4 * PROBE_TURNS)}
    assert "a1" not in drawn


def test_where_all_fail_nobody_is_out(probed: Play) -> None:
    know(probed, TINY_MS)
    for _ in range(60):
        for agent in AGENTS:
            break_down(probed, agent, 1)
    assert out(probed) == []


def crowded(play: Play, count: int = 20) -> Play:
    """All that are not out have work, and more waits."""
    while hand_out(play, LONG_MS, failing="a1") != "a1":
        pass
    play.together(*(submit(f"w{number}") for number in range(count)))
    return play


def test_nothing_but_probes_goes_to_one_that_fails_however_much_waits(probed: Play) -> None:
    know(probed, LONG_MS)
    break_down(probed, "a1")
    crowded(probed)
    assert probed.agent("a1").in_use == 0
    probed.later(500) >> result("w0.1")
    probed.later(60_000)
    waiting = [task for task in probed.engine.tasks.values() if not task.record.attempt]
    assert len(waiting) == 16 - probed.agent("a1").in_use
    assert all(task.chosen and task.chosen.is_probe for task in probed.agent("a1").leases.values() if task)
    probed.skip()


def test_one_that_is_slow_is_used_when_work_has_waited_as_long_as_it_needs() -> None:
    silent = Graces(suspect_after_ms=DAY_MS, lease_timeout_ms=DAY_MS, ack_timeout_ms=DAY_MS)
    play = Play(Limits(graces=silent, choice=ChoiceRules(probe_turns=10_000)))
    for agent in AGENTS:
        play >> hello(agent)
    know(play, LONG_MS, a1=12.0)
    assert hand_out(play, 12 * LONG_MS) == "a1"  # A probe, the first one.
    assert out(play) == ["a1"]
    crowded_at = play.now_ms
    play.together(*(submit(f"w{number}") for number in range(20)))
    play.later(5_500)
    assert play.agent("a1").in_use == 0
    while not play.agent("a1").in_use:
        play.later(1_000)
    assert 6_000 <= play.now_ms - crowded_at <= 20_000
    play.skip().over()


def specialists() -> Play:
    """One agent is good at drawing, the other one at sums; both have something to do."""
    silent = Graces(suspect_after_ms=DAY_MS, lease_timeout_ms=DAY_MS, ack_timeout_ms=DAY_MS)
    play = Play(Limits(graces=silent))
    play >> hello("painter", offers=("draw", "sum")) >> hello("counter", offers=("draw", "sum"))
    for _ in range(60):
        for agent, draw_ms, sum_ms in (("painter", 800.0, 1_600.0), ("counter", 1_600.0, 800.0)):
            play.engine.predictor.learn("draw", agent, draw_ms, completed=True, beside=1)
            play.engine.predictor.learn("sum", agent, sum_ms, completed=True, beside=1)
    play.together(submit("busy0", type="draw"), submit("busy1", type="sum"))
    assert (play.holders[play.lease("busy0.1")], play.holders[play.lease("busy1.1")]) == (
        "painter",
        "counter",
    )
    return play


def test_an_agent_is_left_to_waiting_work_that_it_is_better_at() -> None:
    play = specialists()
    play.together(*(submit(f"s{number}", type="sum") for number in range(20))).later(10) >> submit(
        "d0", type="draw"
    )
    play >> result("busy0.1")
    assert play.holders[play.lease("d0.1")] == "painter"
    play >> result("d0.1")
    assert play.holders[play.lease("s0.1")] == "painter"  # Rather than to be idle.
    play.skip().over()


@pytest.mark.parametrize("case", [{"fairness_key": "another"}, {"later_ms": 6_000}])
def test_but_not_before_work_of_others_or_much_older_work(case: dict[str, Any]) -> None:
    play = specialists()
    play.together(*(submit(f"s{number}", type="sum") for number in range(20)))
    play.later(case.get("later_ms", 10)) >> submit(
        "d0", type="draw", fairness_key=case.get("fairness_key", "")
    )
    play >> result("busy0.1")
    assert play.holders[play.lease("s0.1")] == "painter"
    play.skip().over()
