"""What was learned of types and agents, and how it decides between agents."""

from __future__ import annotations

from math import exp, log

import pytest

from tests.support.lines import failure, frame, hello, result, submit
from tests.support.play import Play
from upbeat_server.engine import predictor
from upbeat_server.engine.choice import CHUNK_TASKS
from upbeat_server.engine.predictor import EWMA_WEIGHT, UNKNOWN_MS, Cell, Predictor


def test_nothing_is_known_before_the_first_run() -> None:
    empty = Predictor()
    assert empty.type_ms("work") == UNKNOWN_MS
    assert empty.agent_cells("a1", frozenset({"work"})) == []
    assert (Cell().success_rate, Cell().duration_ms) == (1.0, 0.0)


def test_durations_are_averaged_in_log_space() -> None:
    cell = Cell()
    for ms in (100.0, 10_000.0):
        cell.learn(ms, completed=True)
    assert cell.duration_ms == pytest.approx(1_000.0)


def test_the_weight_of_a_run_settles() -> None:
    cell = Cell()
    for _ in range(1_000):
        cell.learn(100.0, completed=True)
    cell.learn(1_000.0, completed=True)
    assert cell.duration_ms == pytest.approx(exp(log(100) + EWMA_WEIGHT * log(10)))


def test_failures_count_for_success_and_not_for_duration() -> None:
    cell = Cell()
    cell.learn(5.0, completed=False)
    cell.learn(200.0, completed=True)
    assert cell.success_rate == 0.5
    assert cell.duration_ms == pytest.approx(200.0)


def test_a_run_of_no_time_is_learned_all_the_same() -> None:
    cell = Cell()
    cell.learn(0.0, completed=True)
    assert 0 < cell.duration_ms < 1


def test_what_is_learned_is_bounded_and_the_oldest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "CELLS_MAX", 3)
    learned = Predictor()
    for number in range(5):
        learned.learn(f"type{number}", "a1", 10.0, completed=True)
    assert [key[0] for key in learned.cells] == ["type2", "type3", "type4"]
    assert list(learned.types) == ["type2", "type3", "type4"]


def test_the_engine_learns_from_each_attempt(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2")
    play.later(300) >> result("t1.1")
    play.later(100) >> failure("t2.1")
    play.skip()
    ((task_type, cell),) = play.engine.predictor.agent_cells("a1", frozenset({"work", "other"}))
    assert (task_type, cell.count, cell.successes) == ("work", 2, 1)
    assert cell.duration_ms == pytest.approx(300.0)
    assert (play.agent("a1").completed, play.agent("a1").failed) == (1, 1)


def learn_that_work_is(play: Play, ms: float) -> None:
    play.engine.predictor.learn("work", "a0", ms, completed=True)
    play.engine.predictor.learn_share("work", ms)


def holders(play: Play) -> list[str]:
    """Who was handed something, in order."""
    return [words.split()[-1] for words in play.said if words.startswith("assign")]


def test_long_work_is_spread_over_the_agents(play: Play) -> None:
    learn_that_work_is(play, 1_000.0)
    play >> hello("a1", slots=4) >> hello("a2", slots=4)
    play.together(*(submit(f"t{number}") for number in range(4)))
    assert holders(play) == ["a1", "a2", "a1", "a2"]


def test_tiny_work_fills_one_agent_before_the_next(play: Play) -> None:
    learn_that_work_is(play, 1.0)
    play >> hello("a1", slots=3) >> hello("a2", slots=3)
    play.together(*(submit(f"t{number}") for number in range(4)))
    assert holders(play) == ["a1", "a1", "a1", "a2"]


@pytest.mark.parametrize(
    ("ms", "pressure", "expected"),
    [
        (300.0, 0.95, ["a1", "a1", "a1", "a2"]),
        (300.0, 0.5, ["a1", "a2", "a1", "a2"]),
        (2_000.0, 0.95, ["a1", "a2", "a1", "a2"]),
    ],
)
def test_a_server_under_pressure_takes_short_work_for_tiny(
    play: Play, ms: float, pressure: float, expected: list[str]
) -> None:
    learn_that_work_is(play, ms)
    play.pressure = pressure
    play >> hello("a1", slots=3) >> hello("a2", slots=3)
    play.together(*(submit(f"t{number}") for number in range(4)))
    assert holders(play) == expected


def test_work_with_different_requirements_fills_different_agents(play: Play) -> None:
    learn_that_work_is(play, 1.0)
    play >> hello("a1", slots=9, labels={"zone": "x"}) >> hello("a2", slots=9, labels={"zone": "y"})
    selectors = ["zone=x", "zone=y"] * 3
    play.together(*(submit(f"t{number}", selector=text) for number, text in enumerate(selectors)))
    assert holders(play) == ["a1", "a2"] * 3


def test_a_chunk_goes_on_after_work_with_another_requirement(play: Play) -> None:
    learn_that_work_is(play, 1.0)
    play >> hello("a1", slots=9) >> hello("a2", slots=9) >> hello("a3", slots=9, labels={"zone": "x"})
    specs: list[dict[str, str]] = [{}, {"selector": "zone=x"}] * 3
    play.together(*(submit(f"t{number}", **spec) for number, spec in enumerate(specs)))
    assert holders(play) == ["a1", "a3"] * 3


def test_a_chunk_of_tiny_work_has_an_end(play: Play) -> None:
    learn_that_work_is(play, 1.0)
    play >> hello("a1", slots=1_000) >> hello("a2", slots=1_000)
    play.together(*(submit(f"t{number}") for number in range(CHUNK_TASKS + 1)))
    assert holders(play) == ["a1"] * CHUNK_TASKS + ["a2"]


def test_a_chunk_ends_with_its_agent(play: Play) -> None:
    learn_that_work_is(play, 1.0)
    play >> hello("a1", slots=9) >> hello("a2", slots=9) >> submit("t1")
    play >> frame("a1", goodbye=True) >> submit("t2")
    assert holders(play) == ["a1", "a2", "a2"]


def test_tiny_work_that_failed_is_not_sent_along_with_its_chunk(play: Play) -> None:
    learn_that_work_is(play, 1.0)
    play >> hello("a1", slots=9) >> hello("a2", slots=9) >> submit("t1") >> failure("t1.1")
    play.later(1_000)
    assert holders(play) == ["a1", "a2"]


def test_a_chunk_does_not_outlive_its_turn(play: Play) -> None:
    learn_that_work_is(play, 1.0)
    play >> hello("a1", slots=9) >> hello("a2", slots=9) >> submit("t1") >> submit("t2")
    assert holders(play) == ["a1", "a2"]


def test_work_beside_other_work_counts_with_its_share_of_the_agents_time(play: Play) -> None:
    play >> hello("a1", slots=10)
    play.together(*(submit(f"t{number}") for number in range(10)))
    play.later(100) >> result("t0.1")
    play.skip()
    assert play.engine.predictor.share_ms("work") == pytest.approx(10.0)
    assert play.engine.predictor.type_ms("work") == pytest.approx(100.0)
    assert play.engine.predictor.share_ms("other") == UNKNOWN_MS


def test_the_shares_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "CELLS_MAX", 3)
    learned = Predictor()
    for number in range(5):
        learned.learn_share(f"type{number}", 1.0)
    assert list(learned.shares) == ["type2", "type3", "type4"]


def test_the_policy_says_why(play: Play) -> None:
    play >> hello("a1", slots=2) >> submit("t1")
    task, agent = play.task("t1"), play.agent("a1")
    assert "1 of 2 slots" in play.engine.choice.explain(task, agent)
    learn_that_work_is(play, 1.0)
    assert "tiny" in play.skip().engine.choice.explain(task, agent)
