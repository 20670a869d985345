"""The way in: cancelling in every state, retention, what is counted, and that nothing raises."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lines import (
    CRITICAL,
    HIGH,
    LOW,
    ack,
    beat,
    cancel,
    cut,
    failure,
    frame,
    goodbye,
    hello,
    listening,
    progress,
    purged,
    reject,
    result,
    submit,
)
from tests.support.play import START_MS, Play
from upbeat_server.engine.census import TypeCensus, census
from upbeat_server.engine.commands import Persist, PurgeFinished, TaskFinished
from upbeat_server.engine.events import AgentFrame, CapabilityChanged, SessionEnded, TaskCancelled
from upbeat_server.engine.explain import Explanation, WaitKind, explain
from upbeat_server.engine.limits import Limits, Retention
from upbeat_server.engine.model import (
    AgentState,
    AttemptOutcome,
    Priority,
    RetryPolicy,
    SessionId,
    TaskId,
    TaskState,
)

# Cancelling.


def test_a_queued_task_is_cancelled_with_the_words_of_who_did(play: Play) -> None:
    play >> submit("t1") >> (lambda play: TaskCancelled(3, play.tasks["t1"], "not needed"))
    play << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    assert play.stored("t1").error.message == "not needed"
    assert play.stored("t1").end_ms == START_MS


@pytest.mark.parametrize("not_before_ms", [0, START_MS + 60_000])
def test_a_task_that_never_ran_is_gone_when_it_is_cancelled(play: Play, not_before_ms: int) -> None:
    play >> submit("t1", not_before_ms=not_before_ms) >> cancel("t1") >> hello("a1")
    play << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    play.at(61_000) << "end a1: SILENT"


def test_a_task_in_its_backoff_is_cancelled(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> failure("t1.1") >> cancel("t1")
    assert play.said[-2:] == ["finished t1 CANCELLED: CANCELLED", "cancelled t1"]


def test_a_running_task_is_cancelled_at_once_and_its_agent_told_first(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1") >> cancel("t1")
    play << "assign t1.1 to a1"
    play << "stop t1.1 at a1: CANCELLED" << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    assert play.stored("t1").attempts[-1].outcome == AttemptOutcome.CANCELLED


@pytest.mark.parametrize(
    "answer", [result("t1.1"), failure("t1.1"), reject("t1.1"), goodbye("a1"), cut("a1")]
)
def test_the_slot_of_a_cancelled_task_is_free_when_its_agent_answers_or_its_session_ends(
    play: Play, answer: object
) -> None:
    play >> hello("a1") >> submit("t1") >> cancel("t1") >> beat("a1")
    assert play.agent("a1").in_use == 1
    play >> answer  # type: ignore[operator]
    assert play.skip().agent("a1").in_use == 0


def test_cancel_against_result_the_first_wins(play: Play) -> None:
    play >> hello("a1", slots=2) >> submit("t1") >> submit("t2")
    play.skip().together(cancel("t1"), result("t1.1"), result("t2.1"), cancel("t2"))
    play << "stop t1.1 at a1: CANCELLED" << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    play << "resolve t1.1 for a1"
    play << "finished t2 COMPLETED" << "ack t2.1 to a1: ACCEPTED" << "not live t2"


def test_a_task_is_cancelled_once_and_after_that_the_store_answers(play: Play) -> None:
    play >> submit("t1") >> cancel("t1") >> cancel("t1") >> cancel("never")
    play << "finished t1 CANCELLED: CANCELLED" << "cancelled t1" << "not live t1"
    assert len(play.said) == 1


def test_a_task_whose_agents_stream_ended_is_cancelled_without_a_word_to_it(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1") >> cut("a1") >> cancel("t1")
    play << "assign t1.1 to a1" << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    assert play.agent("a1").in_use == 0


# Retention.


def test_the_store_is_told_now_and_then_to_purge() -> None:
    play = Play(
        Limits(retention=Retention(finished_ms=50_000, finished_tasks_max=7, purge_interval_ms=1_000))
    )
    play.at(999)
    assert play.heard(PurgeFinished) == []
    play.at(1_000)
    (purge,) = play.heard(PurgeFinished)
    assert (purge.before_ms, purge.keep) == (START_MS + 1_000 - 50_000, 7)
    play.at(5_500)
    assert len(play.heard(PurgeFinished)) == 4


def test_a_finished_task_leaves_memory_with_the_step_that_ends_it(play: Play) -> None:
    play >> hello("a1") >> submit("t1", request_id="r1", dedup_key="k") >> result("t1.1")
    engine = play.skip().engine
    assert not any((engine.tasks, engine.dedup_keys, engine.queue.signatures, engine.queue_bytes))
    assert engine.requests == {"r1": play.tasks["t1"]}
    assert [said.task.record.state for said in play.heard(TaskFinished)] == [TaskState.COMPLETED]


# Persistence.


@pytest.mark.parametrize(
    ("line", "count"),
    [(ack("t1.1"), 0), (progress("t1.1", 0.5), 0), (beat("a1"), 0), (result("t1.1"), 1), (cancel("t1"), 1)],
)
def test_what_changes_nothing_durable_writes_nothing(play: Play, line: object, count: int) -> None:
    play >> hello("a1") >> submit("t1")
    play >> line  # type: ignore[operator]
    assert len(play.skip().heard(Persist)) == count


# Nothing raises.


@pytest.mark.parametrize(
    "event",
    [
        AgentFrame(SessionId(0), slots=3, goodbye=True),
        AgentFrame(SessionId(1 << 70), changes=[CapabilityChanged("x", True)]),
        SessionEnded(SessionId(0)),
        SessionEnded(SessionId(-1)),
        TaskCancelled(0, TaskId(-1)),
    ],
)
def test_facts_about_what_never_was_are_answered_or_ignored(play: Play, event: Any) -> None:
    play >> (lambda _: event)
    assert len(play.said) == isinstance(event, TaskCancelled)


def test_a_beginning_without_work_to_adopt_has_no_grace_to_wait_for(play: Play) -> None:
    play >> listening() >> purged()
    assert play.engine.next_wake_ms == play.engine.purge_due_ms


# What is counted.


def test_the_census_counts_what_there_is(play: Play) -> None:
    play >> hello("a1", slots=3) >> hello("a2", offers=()) >> hello("gone") >> goodbye("gone")
    play >> submit("t1") >> submit("t2", retry=RetryPolicy(max_attempts=2)) >> submit("t3")
    play >> submit("t4", type="other", priority=HIGH) >> submit("t5", type="other", priority=CRITICAL)
    play >> result("t1.1") >> failure("t2.1") >> cancel("t5") >> reject("t3.1")
    play.skip().later(100)
    counts = census(play.engine, START_MS + 100)
    assert counts.live == {TaskState.PENDING: 1, TaskState.QUEUED: 2, TaskState.RUNNING: 0}
    assert counts.finished == {TaskState.COMPLETED: 1, TaskState.FAILED: 0, TaskState.CANCELLED: 1}
    assert counts.submitted == 5
    assert (counts.retries, counts.leases_lost) == (1, 0)
    assert counts.attempts[AttemptOutcome.RETURNED] == 1
    assert counts.attempts[AttemptOutcome.FAILED] == 1
    assert counts.queue_depth == {CRITICAL: 0, HIGH: 1, Priority.NORMAL: 1, LOW: 0}
    assert counts.oldest_age_ms[HIGH] == 100
    assert counts.agents == {
        AgentState.CONNECTED: 2,
        AgentState.SUSPECT: 0,
        AgentState.DRAINING: 0,
        AgentState.DISCONNECTED: 1,
    }
    assert (counts.slots, counts.slots_in_use) == (4, 0)
    assert counts.queue_bytes == play.engine.queue_bytes
    assert counts.signatures == 2
    assert counts.types == {
        "work": TypeCensus(pending=1, queued=1),
        "other": TypeCensus(queued=1, unserved=1),
    }


# Why a task waits.


def why(play: Play, name: str) -> Explanation:
    found = explain(play.engine, play.tasks[name], play.engine.clock_ms)
    assert found is not None
    return found


def kinds(play: Play, name: str) -> list[WaitKind]:
    return [wait.kind for wait in why(play, name).waits]


def test_a_task_that_is_not_live_has_no_explanation(play: Play) -> None:
    assert explain(play.engine, TaskId(1), START_MS) is None


def test_it_waits_for_an_agent_that_can_do_it(play: Play) -> None:
    play >> submit("t1", required_capabilities=("gpu",), selector="region=eu")
    play >> hello("close", offers=("work", "gpu")) >> hello("far", offers=())
    explanation = why(play, "t1")
    assert [wait.kind for wait in explanation.waits] == [WaitKind.NO_CAPABLE_AGENT]
    assert "gpu" in explanation.waits[0].message
    assert [fit.agent_id for fit in explanation.closest] == ["close", "far"]
    assert explanation.closest[0].lacks == ["labels that match region=eu"]
    assert len(explanation.closest[1].lacks) == 3


def test_it_waits_for_busy_agents_behind_others(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2") >> submit("t3") >> submit("t4", priority=LOW)
    play >> submit("t5", fairness_key="other")
    play.skip()
    assert why(play, "t1").waits == []
    assert why(play, "t1").choice.startswith("a1: ")
    assert kinds(play, "t2") == [WaitKind.AGENTS_BUSY]
    assert kinds(play, "t3") == [WaitKind.AGENTS_BUSY, WaitKind.BEHIND_OTHERS]
    assert [why(play, name).waits[-1].count for name in ("t3", "t4")] == [1, 3]


def test_it_waits_for_its_start_or_its_backoff(play: Play) -> None:
    play >> hello("a1") >> submit("t1", not_before_ms=START_MS + 9_000) >> submit("t2") >> failure("t2.1")
    assert kinds(play.skip(), "t1") == [WaitKind.NOT_BEFORE]
    assert why(play, "t1").waits[0].until_ms == START_MS + 9_000
    assert kinds(play, "t2") == [WaitKind.BACKOFF]


def test_it_waits_because_the_agents_there_are_avoided(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> submit("t1", retry=RetryPolicy(initial_backoff_ms=0))
    play >> submit("long") >> ack("long.1") >> failure("t1.1")
    play.skip().later(20)
    assert kinds(play, "t1") == [WaitKind.AGENTS_AVOIDED]


def test_it_waits_because_the_only_agent_gave_it_back_lately(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> reject("t1.1")
    assert kinds(play.skip(), "t1") == [WaitKind.AGENTS_AVOIDED]


def test_it_is_being_handed_out(play: Play) -> None:
    play.tell(submit("t1")(play))
    play.tell(hello("a1")(play))
    assert kinds(play, "t1") == [WaitKind.DISPATCHING]
    play.end_turn().skip()


def test_it_is_held_for_a_busy_agent_and_the_next_waits_behind_it(play: Play) -> None:
    for _ in range(50):
        for agent_id, ms in (("quick", 1_000.0), ("slow", 4_000.0)):
            play.engine.predictor.learn("work", agent_id, ms, completed=True)
    play.engine.predictor.learn_share("work", 1_000.0)
    play >> hello("quick") >> submit("t1") >> ack("t1.1") >> hello("slow")
    play.later(900) >> submit("t2") >> submit("t3")
    play << "assign t1.1 to quick"
    (held,) = why(play, "t2").waits
    assert held.kind == WaitKind.AGENT_AWAITED
    assert held.message.startswith("held for quick, which is busy")
    assert held.until_ms == START_MS + play.now_ms + play.limits.choice.hold_ms
    assert kinds(play, "t3") == [WaitKind.BEHIND_OTHERS]
    assert "held for quick" in why(play, "t3").waits[0].message
    play.skip() >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to quick: ACCEPTED"
    play << "assign t2.1 to quick" << "assign t3.1 to slow"  # Two runs of it would take too long for t3.


def test_an_agent_that_left_is_named_all_the_same(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> frame("a1", goodbye=True)
    play.skip().later(700_000)
    assert why(play, "t1").choice == "a1: it has left since"
