"""A store that was restored from a backup: what may have been acted on since is not acted on again."""

from __future__ import annotations

import pytest

from tests.support.lines import (
    append,
    collaborate,
    hello,
    listening,
    reject,
    result,
    spec_of,
    submit,
)
from tests.support.play import START_MS, Play
from upbeat_server.engine.commands import Welcome
from upbeat_server.engine.model import (
    Collaboration,
    Pipeline,
    Sequential,
    SideEffects,
    TaskSpec,
    TaskState,
)

UNSAFE = SideEffects.UNSAFE
SKIP = 2  # Of on_step_failure.


def test_unsafe_work_that_waited_in_the_backup_ends(play: Play) -> None:
    play >> submit("pay", side_effects=UNSAFE) >> submit("review")
    play.skip().restart(is_copy=True)
    play >> listening()
    play << "finished pay FAILED: LEASE_LOST"
    assert "restored from a backup" in play.stored("pay").error.message
    play >> hello("a1")
    play << "assign review.1 to a1"


def test_it_ends_before_an_agent_that_is_faster_can_have_it(play: Play) -> None:
    play >> submit("pay", side_effects=UNSAFE)
    play.skip().restart(is_copy=True)
    play.together(listening(), hello("a1"))
    play << "finished pay FAILED: LEASE_LOST"


def test_unsafe_work_whose_time_had_not_come_is_still_to_be_done(play: Play) -> None:
    play >> submit("later", side_effects=UNSAFE, not_before_ms=START_MS + 60_000)
    play >> submit("since", side_effects=UNSAFE, not_before_ms=START_MS + 5_000)
    play.skip().restart(is_copy=True)
    play.now_ms += 10_000
    play >> listening()
    play << "finished since FAILED: LEASE_LOST"
    play.later(55_000) >> hello("a1")
    play << "assign later.1 to a1"


def test_an_agent_that_still_holds_unsafe_work_goes_on_with_it(play: Play) -> None:
    play >> hello("a1") >> submit("pay", side_effects=UNSAFE)
    play.skip().restart(is_copy=True)
    play >> listening() >> hello("a1", holds=["pay.1"])
    play.skip() >> result("pay.1")
    play << "finished pay COMPLETED" << "ack pay.1 to a1: ACCEPTED"


def test_unsafe_work_that_its_agent_has_no_longer_is_not_given_to_another(play: Play) -> None:
    """Without a backup an attempt that was never acknowledged goes back; since one it may have acted."""
    play >> hello("a1") >> submit("pay", side_effects=UNSAFE)
    play.skip().restart(is_copy=True)
    play >> listening() >> hello("a1")
    assert play.stored("pay").state == TaskState.FAILED
    play.skip()


def test_an_agent_is_told_to_drop_what_it_got_after_the_backup(play: Play) -> None:
    play >> submit("review")
    play.skip().restart(is_copy=True) >> listening() >> hello("a1", holds=["review.1"])
    (welcome,) = play.heard(Welcome)
    assert welcome.dropped_leases == [play.lease("review.1")]
    play << "assign review.1 to a1"  # The number may come again, for the same work.
    play >> reject("review.1", "ALREADY_REPORTED")  # What agents answer to a lease that they know.
    play.skip() >> hello("a2")
    play << "assign review.2 to a2"


def test_a_step_that_waited_for_its_turn_may_have_had_it(play: Play) -> None:
    pay = spec_of(side_effects=UNSAFE)
    play >> collaborate("c", Pipeline((pay,), open=True, stage_concurrency=1)) >> append("c", b"1", b"2")
    play.skip().restart(is_copy=True)
    play >> listening() >> hello("a1")
    assert play.stored("c/item/1/stage/0").state == TaskState.FAILED
    assert play.stored("c").error.details["reason"] == "LEASE_LOST"
    play.skip()


@pytest.mark.parametrize("restarts", [False, True])
def test_unsafe_steps_of_a_collaboration_that_ran_are_not_begun_again(play: Play, *, restarts: bool) -> None:
    steps = (spec_of(), spec_of(side_effects=UNSAFE), spec_of())
    play >> collaborate("c", Sequential((inside(steps), spec_of()), on_step_failure=SKIP))
    play.skip().restart(is_copy=True) >> listening() >> hello("a1") >> result("c/step/0/step/0.1")
    assert "c/step/0/step/1" not in play.tasks
    assert play.holders[play.lease("c/step/0/step/2.1")] == "a1"
    if restarts:
        play.restart() >> listening() >> hello("a1", holds=["c/step/0/step/2.1"])
    play >> result("c/step/0/step/2.1") >> result("c/step/1.1")
    play.skip()
    assert play.stored("c").state == TaskState.COMPLETED


def test_a_collaboration_whose_time_had_not_come_does_its_unsafe_steps(play: Play) -> None:
    mode = Sequential((spec_of(side_effects=UNSAFE),))
    play >> collaborate("c", mode, step_fields={"not_before_ms": START_MS + 5_000})
    play.skip().restart(is_copy=True) >> listening() >> hello("a1")
    play.later(5_000)
    play << "assign c/step/0.1 to a1"


def test_a_collaboration_that_is_not_unsafe_is_not_in_doubt(play: Play) -> None:
    play >> collaborate("c", Sequential((spec_of(),)))
    play.skip().restart(is_copy=True) >> listening()
    group = play.task("c").record.group
    assert group is not None
    assert not group.in_doubt


def inside(steps: tuple[TaskSpec, ...]) -> TaskSpec:
    """A step that is a sequence."""
    return TaskSpec("", collaboration=Collaboration(Sequential(steps, on_step_failure=SKIP)))


def test_without_a_backup_unsafe_work_that_waited_is_done(play: Play) -> None:
    play >> submit("pay", side_effects=UNSAFE)
    play.skip().restart() >> listening() >> hello("a1")
    play << "assign pay.1 to a1"
