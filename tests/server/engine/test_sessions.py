"""Agents come, are heard, fall silent, leave and come back."""

from __future__ import annotations

import pytest

from tests.support.lines import (
    LOW,
    ack,
    beat,
    cancel,
    cut,
    drain,
    frame,
    goodbye,
    hello,
    result,
    submit,
)
from tests.support.play import Play
from upbeat_server.engine.commands import AgentChanged, HelloRefused, Welcome
from upbeat_server.engine.limits import Bounds, Graces, Limits
from upbeat_server.engine.model import AgentState, TaskState

C, S, DR, DI = AgentState.CONNECTED, AgentState.SUSPECT, AgentState.DRAINING, AgentState.DISCONNECTED


def welcome(play: Play) -> str:
    """The welcome of the last turn."""
    (said,) = play.heard(Welcome)
    return play.words(said)


def test_a_newer_session_fences_the_older_whose_words_are_too_late(play: Play) -> None:
    play >> hello("a1")
    older = play.sessions["a1"]
    play >> hello("a1")
    play << "end a1: FENCED"
    assert welcome(play) == "welcome a1"
    newer = play.sessions["a1"]
    play.sessions["a1"] = older
    play >> frame("a1", slots=9, goodbye=True) >> cut("a1")
    assert play.agent("a1").state is C
    assert play.agent("a1").slots == 1
    assert play.agent("a1").session_id == newer


def test_a_fenced_session_cannot_come_back_and_fence_in_turn(play: Play) -> None:
    play >> hello("a1")
    older = play.sessions["a1"]
    play >> cut("a1") >> hello("a1")
    assert welcome(play) == "welcome a1"
    newer = play.sessions["a1"]
    play.sessions["a1"] = older
    play >> hello("a1", resumes=True)
    play << "refused: FENCED"
    assert play.agent("a1").session_id == newer


def test_an_agent_that_missed_its_welcome_resumes_an_older_session(play: Play) -> None:
    play >> hello("a1")
    known = play.sessions["a1"]
    play >> cut("a1") >> hello("a1", resumes=True)
    assert welcome(play) == "welcome a1 resumed"
    for _ in range(3):
        play.sessions["a1"] = known
        play >> hello("a1", resumes=True)
        play << "end a1: FENCED"
        assert welcome(play) == "welcome a1"


def test_a_session_is_resumed_by_the_number_of_the_last_one(play: Play) -> None:
    play >> hello("a1") >> cut("a1") >> hello("a1", resumes=True)
    assert welcome(play) == "welcome a1 resumed"
    play >> cut("a1") >> hello("a1")
    assert welcome(play) == "welcome a1"


def test_held_leases_go_on_and_others_are_returned_or_dropped(play: Play) -> None:
    play >> hello("a1", slots=4)
    for name in ("held", "unheld", "unacked", "cancelled"):
        play >> submit(name)
    play >> ack("held.1") >> ack("unheld.1") >> ack("cancelled.1") >> cut("a1") >> cancel("cancelled")
    held = ("held.1", "cancelled.1", "held.7", "nobody.1")
    play.skip() >> hello("a1", slots=4, resumes=True, holds=held)
    play << "assign unheld.2 to a1" << "assign unacked.2 to a1"
    assert welcome(play).split(" drop ")[:3] == ["welcome a1 resumed", "cancelled.1", "held.7"]
    assert len(welcome(play).split(" drop ")) == 4
    assert play.task("unheld").record.lease_losses == 1
    assert play.task("unacked").record.lease_losses == 0
    play >> result("held.1")
    play << "finished held COMPLETED" << "ack held.1 to a1: ACCEPTED"


def test_the_slot_of_an_attempt_that_was_being_stopped_is_free_in_a_new_session(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> cancel("t1")
    assert play.skip().agent("a1").in_use == 1
    play >> hello("a1", holds=("t1.1",)) >> submit("t2")
    play << "end a1: FENCED" << "assign t2.1 to a1"


def test_another_agents_lease_cannot_be_brought_along(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> hello("a2", holds=("t1.1",))
    assert "drop t1.1" in welcome(play)
    play.skip() >> result("t1.1", by="a1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_an_agent_that_misses_two_beats_gets_nothing_new_but_keeps_its_leases(play: Play) -> None:
    play >> hello("a1", slots=2) >> submit("t1") >> ack("t1.1")
    play.skip().at(21_999)
    assert play.agent("a1").state is C
    play.at(22_000)
    assert play.agent("a1").state is S
    play >> submit("t2")
    assert play.said == []
    play >> beat("a1")
    play << "assign t2.1 to a1"
    assert play.agent("a1").state is C


def test_any_frame_is_a_sign_of_life(play: Play) -> None:
    play >> hello("a1")
    for second in range(20, 200, 20):
        play.at(second * 1_000) >> beat("a1")
        assert play.agent("a1").state is C


def test_a_silent_agent_loses_its_leases_and_its_stream(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1") >> hello("a2", slots=0)
    play.skip().at(20_000) >> frame("a2", slots=1)
    play.at(29_999)
    assert play.said == []
    play.at(30_000) << "end a1: SILENT" << "assign t1.2 to a2"
    assert play.agent("a1").state is DI
    assert play.stored("t1").lease_losses == 1


def test_a_stream_that_ends_without_goodbye_leaves_a_grace(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1") >> hello("a2")
    play.skip() >> cut("a1")
    assert play.agent("a1").state is S
    play.at(4_999)
    assert play.said == []
    play.at(5_000) << "assign t1.2 to a2"
    assert play.agent("a1").state is DI


def test_an_agent_back_within_the_grace_goes_on_with_its_work(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1") >> cut("a1")
    play.skip().at(4_000) >> hello("a1", resumes=True, holds=("t1.1",))
    play.at(9_000) >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_a_goodbye_gives_the_work_back_at_once_and_ends_the_stream_in_peace(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1") >> hello("a2")
    play << "assign t1.1 to a1"
    play >> goodbye("a1")
    play << "end a1: in peace" << "assign t1.2 to a2"
    assert play.agent("a1").state is DI
    stored = play.stored("t1")
    assert (stored.failures, stored.lease_losses) == (0, 0)
    play >> cut("a1") >> beat("a1")
    assert play.agent("a1").state is DI


def test_results_in_the_frame_of_a_goodbye_still_count(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    last = result("t1.1")(play.skip())
    last.goodbye = True  # type: ignore[union-attr]
    play >> (lambda _: last)
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED" << "end a1: in peace"


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_drained_agent_ends_what_it_has_and_gets_nothing_new(play: Play, by_itself: bool) -> None:
    play >> hello("a1", slots=2) >> submit("t1") >> ack("t1.1")
    play.skip() >> (frame("a1", drain=True) if by_itself else drain("a1"))
    assert play.said == ([] if by_itself else ["drain a1", "drained"])
    assert play.agent("a1").state is DR
    play >> submit("t2") >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_a_drain_lasts_over_a_resumed_session_and_ends_with_a_new_process(play: Play) -> None:
    play >> hello("a1") >> drain("a1") >> cut("a1") >> hello("a1", resumes=True)
    assert welcome(play) == "welcome a1 resumed draining"
    assert play.skip().agent("a1").state is DR
    play >> cut("a1") >> hello("a1")
    assert welcome(play) == "welcome a1"
    assert play.agent("a1").state is C


def test_a_drained_agent_that_was_silent_is_still_drained_when_it_is_heard(play: Play) -> None:
    play >> hello("a1") >> drain("a1")
    play.skip().at(23_000)
    assert play.agent("a1").state is S
    play >> beat("a1")
    assert play.agent("a1").state is DR


def test_an_agent_that_is_gone_can_be_drained_and_one_that_never_was_not(play: Play) -> None:
    play >> hello("a1") >> goodbye("a1") >> drain("a1")
    play << "end a1: in peace" << "drained"
    play >> drain("a2")
    play << "refused: AGENT_NOT_FOUND"


def test_a_disconnected_agent_is_listed_for_a_while(play: Play) -> None:
    play >> hello("a1") >> goodbye("a1")
    play.skip().at(599_999)
    assert "a1" in play.engine.fleet.agents
    play.at(600_000)
    assert "a1" not in play.engine.fleet.agents
    assert len(play.engine.timers) == 0


def test_an_agent_that_came_back_is_not_forgotten(play: Play) -> None:
    play >> hello("a1") >> goodbye("a1")
    play.skip().at(599_000) >> hello("a1")
    for second in range(610, 700, 10):
        play.at(second * 1_000) >> beat("a1")
    assert play.agent("a1").state is C


def test_the_number_of_agents_is_bounded_and_those_gone_longest_make_room() -> None:
    play = Play(Limits(Bounds(agents_max=2)))
    play >> hello("a1") >> hello("a2") >> hello("a3")
    (refused,) = play.heard(HelloRefused)
    assert refused.refusal.reason == "AGENTS_EXHAUSTED"
    assert refused.refusal.metadata == {"bound": "agents_max", "limit": "2"}
    assert refused.refusal.retry_ms > 0
    play >> goodbye("a2") >> goodbye("a1") >> hello("a3")
    assert sorted(play.engine.fleet.agents) == ["a1", "a3"]
    play >> hello("a3")  # Who is listed needs no room.
    assert sorted(play.engine.fleet.agents) == ["a1", "a3"]


def test_graces_are_those_of_the_settings() -> None:
    play = Play(Limits(graces=Graces(suspect_after_ms=500, lease_timeout_ms=800, disconnect_grace_ms=100)))
    play >> hello("a1") >> hello("a2") >> cut("a2")
    play.at(110)
    assert play.agent("a2").state is DI
    play.at(500)
    assert play.agent("a1").state is S
    play.at(800) << "end a1: SILENT"


def test_fewer_slots_take_nothing_away_and_more_are_used_at_once(play: Play) -> None:
    play >> hello("a1", slots=2)
    for number in range(4):
        play >> submit(f"t{number}")
    play << "assign t0.1 to a1" << "assign t1.1 to a1"
    play >> frame("a1", slots=1) >> result("t0.1")
    play << "finished t0 COMPLETED" << "ack t0.1 to a1: ACCEPTED"
    play >> frame("a1", slots=3)
    play << "assign t2.1 to a1" << "assign t3.1 to a1"
    play >> frame("a1", slots=0)
    assert play.agent("a1").slots == 0


def test_watchers_of_agents_hear_every_change_of_state(play: Play) -> None:
    changes = []
    for line in (hello("a1"), drain("a1"), cut("a1"), hello("a1", resumes=True), goodbye("a1")):
        play >> line
        changes += [play.words(change) for change in play.heard(AgentChanged)][-1:]
    # Commands hold the live agent: what is read is its state now.
    assert len(changes) == 5
    play.skip()


def test_an_agent_without_slots_or_capabilities_is_welcome_and_gets_nothing(play: Play) -> None:
    play >> submit("t1", priority=LOW) >> hello("a1", slots=0) >> hello("a2", offers=())
    assert play.said == []
    assert play.task("t1").record.state == TaskState.QUEUED
