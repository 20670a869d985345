"""Sticky keys: the agent that was given the last task is preferred, and nothing waits for it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.lines import collaborate, cut, failure, goodbye, hello, reject, result, submit
from tests.support.play import Play
from upbeat_server.engine import sticky
from upbeat_server.engine.choice_policies import POLICIES
from upbeat_server.engine.explain import explain
from upbeat_server.engine.limits import ChoiceRules, Limits
from upbeat_server.engine.model import Consensus, TaskSpec


def with_policy(policy: str) -> Play:
    return Play(Limits(choice=ChoiceRules(policy=policy)))


def holder(play: Play, lease: str) -> str:
    """Who was assigned a lease."""
    return play.holders[play.lease(lease)]


@pytest.mark.parametrize("policy", POLICIES)
def test_tasks_of_a_key_stay_with_one_agent_whatever_the_policy(policy: str) -> None:
    play = with_policy(policy)
    for name in ("a1", "a2", "a3"):
        play >> hello(name, slots=2)
    play >> submit("first", sticky_key="chat") >> submit("other")
    keeper = holder(play, "first.1")
    play.skip() >> result("first.1") >> result("other.1")
    play.skip()
    for number in range(6):
        name = f"next{number}"
        play >> submit(f"beside{number}") >> submit(name, sticky_key="chat")
        assert holder(play, f"{name}.1") == keeper
        play >> result(f"{name}.1") >> result(f"beside{number}.1")
        play.skip()


def test_nothing_waits_for_a_full_agent_and_the_key_goes_with_the_task() -> None:
    play = with_policy("least_loaded")
    play >> hello("a1") >> submit("t1", sticky_key="k") >> hello("a2") >> submit("t2", sticky_key="k")
    play << "assign t1.1 to a1" << "assign t2.1 to a2"
    play >> result("t1.1") >> result("t2.1")
    play.skip() >> submit("t3", sticky_key="k")
    play << "assign t3.1 to a2"  # It came first, but the last task of the key went to the other.


def test_an_agent_that_failed_the_task_or_gave_it_back_is_not_preferred() -> None:
    play = with_policy("least_loaded")
    play >> hello("a1", slots=9) >> submit("t1", sticky_key="k") >> hello("a2", slots=1)
    play.skip() >> failure("t1.1")
    play.later(10_000)
    assert holder(play, "t1.2") == "a2"
    play.skip() >> result("t1.2") >> submit("t2", sticky_key="k")
    assert holder(play, "t2.1") == "a2"
    play.skip() >> reject("t2.1")
    assert holder(play, "t2.2") == "a1"
    play.skip()


def test_an_agent_that_cannot_do_it_or_is_gone_is_passed_over() -> None:
    play = with_policy("least_loaded")
    play >> hello("a1", offers=("work",)) >> submit("t1", sticky_key="k")
    play >> hello("a2", offers=("play",)) >> submit("t2", type="play", sticky_key="k")
    assert (holder(play, "t1.1"), holder(play, "t2.1")) == ("a1", "a2")
    play.skip() >> result("t1.1") >> result("t2.1") >> submit("t3", sticky_key="k")
    assert holder(play, "t3.1") == "a1"
    play.skip() >> result("t3.1") >> hello("a3") >> cut("a1") >> submit("t4", sticky_key="k")
    assert holder(play, "t4.1") == "a3"
    play.skip() >> result("t4.1") >> hello("a1") >> goodbye("a3") >> submit("t5", sticky_key="k")
    assert holder(play, "t5.1") == "a1"
    play.skip()


def test_members_of_a_panel_keep_to_different_agents() -> None:
    play = with_policy("least_loaded")
    play >> hello("a1", slots=4) >> submit("warm", sticky_key="k") >> result("warm.1")
    play >> hello("a2", slots=4) >> hello("a3", slots=4)
    play.skip() >> collaborate(
        "vote", Consensus(TaskSpec("work", sticky_key="k"), voters=3), distinct_agents=True
    )
    assert Counter(play.holders.values()) == {"a1": 2, "a2": 1, "a3": 1}
    play.skip()


def test_explain_says_that_the_key_decided() -> None:
    play = with_policy("least_loaded")
    play >> hello("a1") >> hello("a2") >> submit("t1", sticky_key="k")
    explanation = explain(play.engine, play.tasks["t1"], play.engine.clock_ms)
    assert explanation is not None
    assert "sticky" not in explanation.choice
    play.skip() >> result("t1.1") >> submit("t2", sticky_key="k")
    explanation = explain(play.engine, play.tasks["t2"], play.engine.clock_ms)
    assert explanation is not None
    assert explanation.choice == "a1: it was given the last task with the sticky key 'k'"
    play.skip()


def test_the_key_that_was_used_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sticky, "STICKY_KEYS_MAX", 2)
    play = with_policy("least_loaded")
    play >> hello("a1", slots=9)
    for name, key in (("t1", "x"), ("t2", "y"), ("t3", "x"), ("t4", "z")):
        play >> submit(name, sticky_key=key)
    play.skip()
    assert len(play.engine.sticky) == 2
    play >> hello("a2", slots=9)
    play >> submit("t5", sticky_key="x") >> submit("t6", sticky_key="y")
    assert (holder(play, "t5.1"), holder(play, "t6.1")) == ("a1", "a2")
    play.skip()
