"""What a group makes of its mode's moves: children, concurrency, seats, cancels, time, restarts."""

from __future__ import annotations

import pytest

from tests.support.fan_mode import FanReducer, fan
from tests.support.lines import (
    HIGH,
    ack,
    append,
    cancel,
    close,
    collaborate,
    cut,
    failure,
    frame,
    hello,
    listening,
    result,
    spec_of,
    submit,
)
from tests.support.play import START_MS, Play
from upbeat_server.engine.collaboration import groups
from upbeat_server.engine.collaboration.mode import Advance, Fail, Finish, Freeze, Grade, Spawn, Wake
from upbeat_server.engine.commands import Assign, CancelAttempt
from upbeat_server.engine.events import AttemptEnded
from upbeat_server.engine.explain import explain
from upbeat_server.engine.limits import Limits
from upbeat_server.engine.model import (
    Collaboration,
    Parallel,
    Payload,
    Pipeline,
    RetryPolicy,
    Sequential,
    TaskSpec,
    TaskState,
)

ANY = 3  # Of join.
ONCE = RetryPolicy(max_attempts=1)
WORK = spec_of(retry=ONCE)


def nested(mode: object, **fields: object) -> TaskSpec:
    """A step that is a collaboration."""
    return TaskSpec("", collaboration=Collaboration(mode, **fields))  # type: ignore[arg-type]


def test_a_collaboration_runs_without_a_slot_and_its_steps_are_tasks(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", Sequential((WORK, WORK)))
    play << "assign c/step/0.1 to a1"
    assert play.task("c").record.state == TaskState.RUNNING
    assert play.agent("a1").in_use == 1
    play >> result("c/step/0.1", b"draft")
    play << "finished c/step/0 COMPLETED" << "ack c/step/0.1 to a1: ACCEPTED" << "assign c/step/1.1 to a1"
    assert play.task("c/step/1").spec.input.data == b"draft"
    play >> result("c/step/1.1", b"final")
    play << "finished c/step/1 COMPLETED" << "ack c/step/1.1 to a1: ACCEPTED" << "finished c COMPLETED"
    assert play.stored("c").output.data == b"final"


def test_a_childs_end_and_what_follows_are_committed_together(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", Sequential((WORK, WORK)))
    play.skip()
    play.tell(result("c/step/0.1")(play))
    assert "c/step/1" in play.tasks  # Before the turn has ended.
    play.end_turn().skip()


def test_a_child_knows_its_family_and_inherits(play: Play) -> None:
    fields = {"priority": HIGH, "fairness_key": "team", "fairness_weight": 2.0, "traceparent": "00-1"}
    play.at(5_000) >> collaborate("c", Sequential((nested(Sequential((WORK,))),)), step_fields=fields)
    parent, child, leaf = (play.task(name) for name in ("c", "c/step/0", "c/step/0/step/0"))
    assert (child.record.parent_id, child.record.root_id) == (parent.task_id, parent.task_id)
    assert (leaf.record.parent_id, leaf.record.root_id) == (child.task_id, parent.task_id)
    assert leaf.record.submit_ms == parent.record.create_ms
    assert (leaf.spec.priority, leaf.spec.fairness_key, leaf.spec.fairness_weight) == (HIGH, "team", 2.0)
    assert leaf.spec.traceparent == "00-1"


def test_a_child_has_its_roots_place_in_the_queue(play: Play) -> None:
    play >> collaborate("c", Sequential((WORK, WORK)))
    play.later(1_000) >> submit("t")
    play >> hello("a1")
    play << "assign c/step/0.1 to a1"
    play >> result("c/step/0.1")
    play.skip()
    assert play.holders[play.lease("c/step/1.1")] == "a1"  # Before ``t``, which was there earlier.
    play >> result("c/step/1.1") >> result("t.1")
    play.skip()


def test_children_of_one_panel_go_to_different_agents(play: Play) -> None:
    play >> hello("a1", slots=8) >> hello("a2", slots=8) >> collaborate("c", fan(WORK, count=3, panel="p"))
    assert sorted(play.holders.values()) == ["a1", "a2"]  # The third waits for a third agent.
    play >> hello("a3")
    assert sorted(play.holders.values()) == ["a1", "a2", "a3"]
    play.skip()
    for number in range(3):
        play >> result(f"c/fan/{number}.1")
    play.skip()
    assert play.stored("c").state == TaskState.COMPLETED


def test_a_seat_stays_taken_when_its_child_has_ended(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, count=2, panel="p")) >> result("c/fan/0.1")
    play.later(5_000).skip()
    assert play.task("c/fan/1").record.state == TaskState.QUEUED
    explanation = explain(play.engine, play.tasks["c/fan/1"], play.engine.clock_ms)
    assert explanation is not None
    assert [wait.kind.name for wait in explanation.waits] == ["AGENTS_AVOIDED"]
    assert "sibling" in explanation.waits[0].message
    play >> hello("a2")
    play << "assign c/fan/1.1 to a2"
    play >> result("c/fan/1.1")
    play.skip()


def test_a_collaboration_is_explained_by_its_children_and_no_agent_lacks_anything(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, count=3), max_concurrency=2) >> result("c/fan/0.1")
    play.skip()
    explanation = explain(play.engine, play.tasks["c"], play.engine.clock_ms)
    assert explanation is not None
    assert explanation.closest == []
    (wait,) = explanation.waits
    assert (wait.kind.name, wait.count) == ("CHILDREN", 2)
    assert wait.message.startswith("1 of its 3 children so far have ended, 2 are at work")


def test_seats_outlive_a_restart(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, count=2, panel="p")) >> result("c/fan/0.1")
    play.skip().restart() >> listening() >> hello("a1")
    play.later(2_000)
    assert play.said == []
    play >> hello("a2")
    play << "assign c/fan/1.1 to a2"


def test_a_retry_of_a_child_may_go_to_the_same_agent(play: Play) -> None:
    step = spec_of(retry=RetryPolicy(max_attempts=2, initial_backoff_ms=0))
    play >> hello("a1") >> collaborate("c", fan(step, count=1, panel="p"))
    play >> failure("c/fan/0.1")
    play.skip().later(1_000)
    assert play.holders[play.lease("c/fan/0.2")] == "a1"
    play >> result("c/fan/0.2")
    play.skip()


def test_a_decision_ends_what_is_live_before_the_collaboration_ends(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> collaborate("c", fan(WORK, count=3, enough=1))
    play << "assign c/fan/0.1 to a1" << "assign c/fan/1.1 to a2"
    play >> result("c/fan/0.1")
    play << "finished c/fan/0 COMPLETED" << "ack c/fan/0.1 to a1: ACCEPTED"
    play << "stop c/fan/1.1 at a2: SUPERSEDED" << "finished c/fan/1 CANCELLED: SUPERSEDED"
    play << "finished c/fan/2 CANCELLED: SUPERSEDED" << "finished c COMPLETED"
    assert play.agent("a2").in_use == 1  # Until it answers.
    assert play.agent("a2").failed == 0
    play >> result("c/fan/1.1", by="a2")
    play << "resolve c/fan/1.1 for a2"
    assert play.agent("a2").in_use == 0


def test_a_child_that_ended_in_the_step_of_the_decision_stays_as_it_ended(play: Play) -> None:
    play >> hello("a1", slots=2) >> collaborate("c", fan(WORK, count=2, enough=1))
    play.skip().later(1_500)
    done = [AttemptEnded(play.lease(f"c/fan/{number}.1"), Payload("", b"done")) for number in range(2)]
    play >> frame("a1", results=done)
    play << "finished c/fan/0 COMPLETED" << "ack c/fan/0.1 to a1: ACCEPTED"
    play << "finished c/fan/1 COMPLETED" << "ack c/fan/1.1 to a1: ACCEPTED" << "finished c COMPLETED"
    group = play.stored("c").group
    assert (group.completed, group.cancelled, group.result.wasted_ms) == (2, 0, 1_500)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_step_that_waits_and_is_given_up_is_never_made(play: Play, *, restarts: bool) -> None:
    mode = Parallel((WORK, WORK, WORK), join=ANY, reducer=WORK)
    play >> hello("a1") >> collaborate("c", mode, max_concurrency=1)
    play << "assign c/step/0.1 to a1"
    play >> result("c/step/0.1")
    play << "finished c/step/0 COMPLETED" << "ack c/step/0.1 to a1: ACCEPTED" << "assign c/reducer.1 to a1"
    if restarts:
        play.restart() >> listening() >> hello("a1", holds=("c/reducer.1",))
    play >> result("c/reducer.1")
    play << "finished c/reducer COMPLETED" << "ack c/reducer.1 to a1: ACCEPTED" << "finished c COMPLETED"
    assert play.stored("c").group.made == 2


def test_losers_are_told_how_long_they_have_and_their_time_is_counted(play: Play) -> None:
    play >> hello("a1") >> hello("a2")
    play >> collaborate("c", fan(WORK, count=2, enough=1), cancel_grace_ms=7_000)
    play.skip().at(1_500) >> result("c/fan/0.1")
    assert [command.grace_ms for command in play.heard(CancelAttempt)] == [7_000]
    assert play.stored("c").group.result.wasted_ms == 1_500
    play.skip()


def test_late_results_change_nothing(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> collaborate("c", fan(WORK, count=2, enough=1))
    play.skip().together(result("c/fan/0.1"), result("c/fan/1.1"))
    assert play.stored("c/fan/1").state == TaskState.CANCELLED
    assert play.stored("c").output.data == b"1"
    play.skip()


def test_a_cancel_flows_down(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", Sequential((nested(fan(WORK, count=2)),)))
    play << "assign c/step/0/fan/0.1 to a1"
    play >> cancel("c")
    play << "stop c/step/0/fan/0.1 at a1: CANCELLED" << "finished c/step/0/fan/0 CANCELLED: CANCELLED"
    play << "finished c/step/0/fan/1 CANCELLED: CANCELLED" << "finished c/step/0 CANCELLED: CANCELLED"
    play << "finished c CANCELLED: CANCELLED" << "cancelled c"
    assert play.engine.groups == {}
    assert play.engine.reserved == 0


def test_a_child_that_somebody_cancels_has_failed_for_its_collaboration(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, count=2)) >> cancel("c/fan/1") >> result("c/fan/0.1")
    play.skip()
    assert play.stored("c").output.data == b"1"
    group = play.stored("c").group
    assert (group.completed, group.cancelled, group.live) == (1, 1, 0)


def test_a_failure_bubbles_up_once(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", Sequential((nested(fan(WORK, count=1, enough=1)), WORK)))
    play >> failure("c/step/0/fan/0.1", "NO_GOOD")
    play << "assign c/step/0/fan/0.1 to a1" << "finished c/step/0/fan/0 FAILED: NO_GOOD"
    play << "ack c/step/0/fan/0.1 to a1: ACCEPTED"
    play << "finished c/step/0 FAILED: FAN_FAILED" << "finished c FAILED: STEP_FAILED"


def test_a_failed_collaboration_tells_what_its_children_came_to(play: Play) -> None:
    play >> hello("a1", slots=2) >> collaborate("c", fan(WORK, count=2, enough=2))
    play >> result("c/fan/1.1", b"half") >> failure("c/fan/0.1")
    play.skip()
    partial = play.stored("c").group.result.partial
    assert [(child.ordinal, child.state) for child in partial] == [
        (0, TaskState.FAILED),
        (1, TaskState.COMPLETED),
    ]
    assert partial[1].output.data == b"half"
    assert partial[0].error.reason == "BROKEN"


def test_a_collaboration_may_keep_its_childrens_outputs_to_itself(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, count=1, enough=1), include_partial=False)
    play >> failure("c/fan/0.1")
    play.skip()
    assert play.stored("c").group.result.partial == ()


def test_the_total_timeout_ends_everything_below(play: Play) -> None:
    (
        play
        >> hello("a1")
        >> collaborate(
            "c", Sequential((nested(fan(WORK, count=2)),)), step_fields={"total_timeout_ms": 3_000}
        )
    )
    play << "assign c/step/0/fan/0.1 to a1"
    play.at(3_000) << "stop c/step/0/fan/0.1 at a1: SUPERSEDED"
    assert play.said[-1] == "finished c FAILED: TOTAL_TIMEOUT"


def test_an_attempt_is_told_what_is_left_of_the_whole(play: Play) -> None:
    play.at(0) >> collaborate("c", Sequential((WORK,)), step_fields={"total_timeout_ms": 10_000})
    play.at(4_000) >> hello("a1")
    assert [command.time_remaining_ms for command in play.heard(Assign)] == [6_000]
    play.skip()


def test_the_step_timeout_bounds_an_attempt_and_the_error_says_so(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", Sequential((WORK,)), step_timeout_ms=2_000) >> ack("c/step/0.1")
    play.skip().at(2_000) << "stop c/step/0.1 at a1: ATTEMPT_TIMEOUT"
    play.skip()
    assert "step_timeout of 2 s" in play.stored("c/step/0").error.message


def test_a_collaboration_begins_when_its_time_has_come(play: Play) -> None:
    begin_ms = play.engine.clock_ms + 5_000
    play >> hello("a1") >> collaborate("c", Sequential((WORK,)), step_fields={"not_before_ms": begin_ms})
    assert play.task("c").record.state == TaskState.PENDING
    play.at(5_000) << "assign c/step/0.1 to a1"
    play >> result("c/step/0.1")
    play.skip()


def test_one_that_has_not_begun_can_be_cancelled(play: Play) -> None:
    begin_ms = play.engine.clock_ms + 5_000
    play >> collaborate("c", Sequential((WORK,)), step_fields={"not_before_ms": begin_ms}) >> cancel("c")
    play << "finished c CANCELLED: CANCELLED" << "cancelled c"
    assert play.engine.compiled == {}


def test_a_selector_of_a_step_is_looked_at(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", Sequential((spec_of(selector="region=eu"),)))
    assert play.said == []
    play >> hello("a2", labels={"region": "eu"})
    play << "assign c/step/0.1 to a2"
    play.restart() >> listening() >> hello("a2", labels={"region": "eu"}, holds=("c/step/0.1",))
    play >> result("c/step/0.1", by="a2")
    play.skip()
    assert play.stored("c").state == TaskState.COMPLETED


def test_too_few_capable_agents_may_be_told_at_once(play: Play) -> None:
    play >> hello("a1") >> hello("a2", offers=("other",))
    play >> collaborate("c", fan(WORK, count=2, panel="p"), on_infeasible=2)
    play << "finished c FAILED: INFEASIBLE"
    play >> collaborate("d", fan(WORK, count=2), on_infeasible=2)
    play << "assign d/fan/0.1 to a1"
    play >> cancel("d")
    play.skip()


def test_a_group_is_woken_when_its_mode_asked_for_it(play: Play) -> None:
    play >> hello("a1", slots=4) >> collaborate("c", fan(WORK, count=1, late=1, wake_ms=3_000))
    play << "assign c/fan/0.1 to a1"
    play.at(2_999)
    assert play.said == []
    play.at(3_000) << "assign c/fan/1.1 to a1"
    assert play.stored("c").group.memo == b"woken"
    play.restart() >> listening() >> hello("a1", slots=4, holds=("c/fan/0.1", "c/fan/1.1"))
    play.together(result("c/fan/0.1"), result("c/fan/1.1")).skip()
    assert play.stored("c").output.data == b"2"


def test_a_mode_that_breaks_fails_its_own_collaboration_only(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, raises_at="begin"))
    play << "mode fan broke: RuntimeError" << "finished c FAILED: MODE_FAILED"
    play >> collaborate("d", fan(WORK, raises_at="ended")) >> result("d/fan/0.1")
    play << "assign d/fan/0.1 to a1" << "finished d/fan/0 COMPLETED" << "ack d/fan/0.1 to a1: ACCEPTED"
    play << "mode fan broke: RuntimeError" << "finished d FAILED: MODE_FAILED"
    play >> collaborate("e", fan(WORK, answers="nonsense"))
    play << "mode fan broke: TypeError" << "finished e FAILED: MODE_FAILED"
    assert "begin broke" not in play.stored("c").error.message


NONSENSE = [
    None,
    5,
    [Spawn("a", None)],  # type: ignore[arg-type]
    [Spawn(5, WORK)],  # type: ignore[arg-type]
    [Wake("soon")],  # type: ignore[arg-type]
    [Freeze("memo")],  # type: ignore[arg-type]
    [Advance(None)],  # type: ignore[arg-type]
    [Grade("work", None, correct=True)],  # type: ignore[arg-type]
    [Finish(None)],  # type: ignore[arg-type]
    [Finish(Payload(), None)],  # type: ignore[arg-type]
    [Fail("why")],  # type: ignore[arg-type]
]


@pytest.mark.parametrize("answers", NONSENSE)
def test_whatever_a_mode_answers_fails_its_own_collaboration_only(
    play: Play, monkeypatch: pytest.MonkeyPatch, answers: object
) -> None:
    monkeypatch.setattr(FanReducer, "ended", lambda *_: answers)
    play >> hello("a1") >> collaborate("c", fan(WORK, count=2))
    play.skip() >> result("c/fan/0.1")
    said = play.said
    assert sum(words.startswith("mode fan broke: ") for words in said) == 1
    assert "finished c FAILED: MODE_FAILED" in said


def test_a_mode_that_is_gone_after_a_restart_fails_its_collaborations(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, count=1))
    play.skip().limits = Limits()
    play.restart() >> listening()
    play << "mode fan broke: UnknownMode"
    play << "finished c/fan/0 CANCELLED: SUPERSEDED" << "finished c FAILED: MODE_FAILED"


def test_a_mode_that_is_gone_when_its_collaboration_begins_is_named(play: Play) -> None:
    play >> collaborate("c", fan(WORK), step_fields={"not_before_ms": START_MS + 1_000})
    play.skip().limits = Limits()
    play.restart() >> listening()
    play.later(1_000)
    play << "mode fan broke: UnknownMode" << "finished c FAILED: MODE_FAILED"
    assert "UnknownMode" in play.stored("c").error.message


def test_a_pipeline_whose_mode_is_gone_after_a_restart_is_told_of_once(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play >> collaborate("c", Pipeline((WORK,), open=True)) >> append("c", b"1") >> close("c")
    play.skip()

    def gone(*_: object) -> None:
        raise ImportError("gone")

    monkeypatch.setattr(groups, "reducer_of", gone)
    play.restart() >> listening()
    play << "mode pipeline broke: ImportError"
    play << "finished c/item/0/stage/0 CANCELLED: SUPERSEDED" << "finished c FAILED: MODE_FAILED"


def test_what_a_nested_collaboration_is_given_its_children_are(play: Play) -> None:
    inner = nested(fan(WORK, count=1))
    (
        play
        >> hello("a1")
        >> collaborate("c", Sequential((WORK, inner)), step_fields={"input": Payload(data=b"o")})
    )
    play >> result("c/step/0.1", b"p")
    given = {entry.name: entry.payload.data for entry in play.task("c/step/1/fan/0").spec.context}
    assert given == {"original": b"o"}
    assert play.task("c/step/1/fan/0").spec.input.data == b"p"
    play.skip()


def test_a_group_that_decides_at_once_is_complete_in_the_turn_of_its_submission(play: Play) -> None:
    play >> collaborate("c", fan(WORK, count=0), request_id="r")
    play << "finished c COMPLETED"
    play >> collaborate("again", fan(WORK, count=0), request_id="r")
    play << "known c"


@pytest.mark.parametrize("when", ["running", "queued", "ended"])
def test_a_restart_in_the_middle_changes_nothing(play: Play, when: str) -> None:
    inner = nested(fan(WORK, count=2), max_concurrency=1)
    play >> collaborate("c", Sequential((inner, WORK)), step_fields={"input": Payload(data=b"in")})
    if when != "queued":
        play >> hello("a1")
    if when == "ended":
        play >> result("c/step/0/fan/0.1")
    leases = [name for name in ("c/step/0/fan/0.1", "c/step/0/fan/1.1") if name.rsplit(".")[0] in play.tasks]
    play.skip().restart() >> listening() >> hello("a1", holds=tuple(leases) if when != "queued" else ())
    for name in ("c/step/0/fan/0", "c/step/0/fan/1", "c/step/1"):
        if name in play.tasks and play.tasks[name] in play.engine.tasks:
            play >> result(f"{name}.1")
    play.skip()
    assert play.stored("c").state == TaskState.COMPLETED
    assert [play.stored(name).attempt for name in ("c/step/0/fan/0", "c/step/0/fan/1", "c/step/1")] == [
        1,
        1,
        1,
    ]
    assert play.engine.groups == {}
    assert play.engine.children == 0


def test_a_finished_child_is_not_run_again_when_its_agent_was_lost_with_the_server(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", fan(WORK, count=2)) >> result("c/fan/0.1") >> cut("a1")
    play.skip().restart() >> listening()
    play.later(40_000).skip()
    assert play.stored("c/fan/0").attempt == 1
    play >> hello("a2") >> result("c/fan/1.2")
    play.skip()
    assert play.stored("c").output.data == b"2"
