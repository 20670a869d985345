"""What was durable is taken over by a new engine, and agents come back with their leases."""

from __future__ import annotations

import pytest

from tests.support.lines import (
    ack,
    beat,
    cancel,
    cut,
    failure,
    hello,
    listening,
    reject,
    result,
    submit,
)
from tests.support.play import START_MS, Play
from upbeat_server.engine.commands import Welcome
from upbeat_server.engine.invariants import check
from upbeat_server.engine.model import EPOCH_SHIFT, RetryPolicy, SideEffects, TaskState
from upbeat_server.engine.timers import WAKE_NEVER
from upbeat_server.store.codec import encode_record

UNSAFE = SideEffects.UNSAFE


def picture(play: Play, epoch: int) -> object:
    """Everything of a restored engine that matters."""
    engine = play.restored(epoch)
    assert check(engine) == []
    return (
        {task_id: encode_record(task.record) for task_id, task in engine.tasks.items()},
        {
            task_id: (task.timer_ms, task.paused_ms, task.queue_stamp)
            for task_id, task in engine.tasks.items()
        },
        engine.requests,
        engine.dedup_keys,
        {name: list(tasks) for name, tasks in engine.unadopted.items()},
        engine.queue.depth_by_priority,
        engine.queue_bytes,
        engine.counters.live,
        engine.next_wake_ms,
        engine.revision,
    )


def test_tasks_in_every_state_come_back_as_they_were(play: Play) -> None:
    play >> hello("a1", slots=2) >> submit("running", request_id="r1") >> submit("backoff")
    play >> submit("queued", dedup_key="k") >> submit("pending", not_before_ms=START_MS + 60_000)
    play >> submit("done", request_id="r2") >> cancel("done")
    play >> ack("running.1") >> failure("backoff.1")
    before = {name: play.stored(name) for name in ("running", "backoff", "pending")}
    play.skip().restart()
    states = {name: play.task(name).record.state for name in ("running", "backoff", "queued", "pending")}
    assert states == {
        "running": TaskState.RUNNING,
        "backoff": TaskState.PENDING,
        "queued": TaskState.RUNNING,
        "pending": TaskState.PENDING,
    }
    assert {name: play.task(name).record for name in before} == before
    assert play.tasks["done"] not in play.engine.tasks
    play >> submit("again", request_id="r2") >> submit("twin", dedup_key="k")
    assert play.said == ["known done", "refused: DUPLICATE_TASK"]


def test_restoring_twice_gives_the_same(play: Play) -> None:
    play >> hello("a1") >> submit("t1", total_timeout_ms=60_000) >> submit("t2", request_id="r")
    play >> submit("t3", not_before_ms=START_MS + 5_000, priority=4) >> submit("t4", fairness_key="k")
    play.skip()
    assert picture(play, 2) == picture(play, 2)


def test_a_restart_of_a_restart_changes_nothing(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2", fairness_key="k")
    durable = dict(play.skip().durable)
    play.restart().restart()
    assert play.durable == durable
    assert picture(play, 5) == picture(play, 5)


def test_ids_of_a_new_epoch_never_meet_older_ones(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2")
    older = set(play.tasks.values())
    sessions = set(play.agents_of)
    play.skip().restart() >> hello("a1") >> submit("t3") >> submit("t4")
    play.skip()
    newer = {play.tasks["t3"], play.tasks["t4"]}
    assert not newer & older
    assert play.sessions["a1"] not in sessions
    assert all(new >> EPOCH_SHIFT == 2 and new > max(older) for new in newer)


def test_revisions_go_on_over_a_restart(play: Play) -> None:
    play >> submit("t1") >> submit("t2")
    revision = play.engine.revision
    play.restart() >> submit("t3")
    assert play.stored("t3").revision == revision + 1


def test_an_agent_that_brings_its_lease_back_goes_on(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1")
    play.skip().restart() >> listening() >> hello("a1", holds=("t1.1",))
    play.later(40_000 - 20_001) >> beat("a1")
    play.at(40_000) >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"
    assert play.stored("t1").attempt == 1


def test_a_result_in_a_session_after_the_restart_counts_once_the_lease_was_adopted(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip().restart() >> hello("a1", holds=("t1.1",)) >> result("t1.1") >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED" << "resolve t1.1 for a1"


def test_another_agent_cannot_adopt_the_lease(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip().restart() >> hello("a2", holds=("t1.1",))
    (said,) = play.heard(Welcome)
    assert said.dropped_leases == [play.lease("t1.1")]
    play >> hello("a1", holds=("t1.1",)) >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_the_lease_of_an_earlier_attempt_is_not_adopted(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> reject("t1.1")
    play.later(2_000)
    play << "assign t1.1 to a1" << "assign t1.2 to a1"
    play.restart() >> hello("a1", holds=("t1.1",))
    (said,) = play.heard(Welcome)
    assert said.dropped_leases == [play.lease("t1.1")]
    play << "assign t1.3 to a1"


def test_work_that_its_agent_did_not_bring_back_is_queued_again_at_once(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1")
    play.skip().restart() >> hello("a1")
    play << "assign t1.2 to a1"


def test_work_nobody_comes_back_with_waits_for_the_grace_from_listening(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1")
    play.skip().restart()
    assert play.engine.next_wake_ms >= WAKE_NEVER or play.engine.adoption_ends_ms == WAKE_NEVER
    play.at(100_000) >> listening()  # It took long to start.
    play >> hello("a2")
    play.at(120_000) >> beat("a2")
    play.at(129_999)
    assert play.said == []
    play.at(130_000) << "assign t1.2 to a2"
    assert play.stored("t1").lease_losses == 1


def test_the_deadline_of_an_attempt_stands_still_until_it_is_adopted(play: Play) -> None:
    play >> hello("a1") >> submit("t1", attempt_timeout_ms=10_000) >> ack("t1.1")
    play.skip().at(4_000).restart() >> listening()
    play.at(24_000) >> hello("a1", holds=("t1.1",))
    assert play.stored("t1").attempt_deadline_ms == START_MS + 30_000
    play.at(29_999)
    assert play.said == []
    play.at(30_000) << "stop t1.1 at a1: ATTEMPT_TIMEOUT"


def test_queue_and_total_timeouts_run_on_through_the_downtime(play: Play) -> None:
    play >> submit("t1", queue_timeout_ms=2_000) >> hello("a1") >> submit("t2", total_timeout_ms=5_000)
    play >> submit("t3", queue_timeout_ms=3_000)
    play.skip().restart()
    play.now_ms = 6_000
    play >> listening()
    assert sorted(play.said) == ["finished t2 FAILED: TOTAL_TIMEOUT", "finished t3 FAILED: QUEUE_TIMEOUT"]


def test_a_task_that_waits_for_its_agent_can_be_cancelled_and_its_agent_is_told_to_drop_it(
    play: Play,
) -> None:
    play >> hello("a1") >> submit("t1") >> ack("t1.1")
    play.skip().restart() >> cancel("t1")
    play << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    play >> hello("a1", holds=("t1.1",))
    (said,) = play.heard(Welcome)
    assert said.dropped_leases == [play.lease("t1.1")]
    assert play.engine.unadopted == {}


def test_unsafe_work_that_was_begun_fails_if_its_agent_comes_back_without_it(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE) >> ack("t1.1")
    play.skip().restart() >> hello("a1")
    play << "finished t1 FAILED: LEASE_LOST"


def test_unsafe_work_that_was_never_acknowledged_returns_if_its_agent_comes_back_without_it(
    play: Play,
) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip().restart() >> hello("a1", resumes=True)
    play << "assign t1.2 to a1"


def test_unsafe_work_that_was_never_acknowledged_is_lost_if_another_process_comes_in_its_agents_name(
    play: Play,
) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip().restart() >> hello("a1")
    play << "finished t1 FAILED: LEASE_LOST"


@pytest.mark.parametrize("is_acked", [True, False])
def test_unsafe_work_fails_if_its_agent_never_comes_back(play: Play, is_acked: bool) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    if is_acked:
        play >> ack("t1.1")
    play.skip().restart() >> listening()
    play.later(30_000) << "finished t1 FAILED: LEASE_LOST"


def test_unsafe_work_that_was_brought_back_unacknowledged_has_been_begun(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip().restart() >> hello("a1", holds=("t1.1",))
    assert play.stored("t1").acked
    play >> cut("a1") >> hello("a1")
    play << "finished t1 FAILED: LEASE_LOST"


def test_an_adopted_lease_can_still_be_given_back(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip().restart() >> hello("a1", holds=("t1.1",)) >> hello("a2") >> reject("t1.1")
    play << "assign t1.2 to a2"


def test_who_failed_a_task_is_remembered_over_a_restart(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(initial_backoff_ms=0)) >> failure("t1.1")
    play.skip()
    play >> cancel("none")
    play.skip().restart() >> hello("a1") >> hello("a2")
    play.later(10)
    assert play.task("t1").record.failed_agents == ["a1"]
    play.skip()


def test_the_order_of_the_queue_is_that_of_before(play: Play) -> None:
    for number, priority in enumerate((2, 4, 1, 2, 3)):
        play.later(1) >> submit(f"t{number}", priority=priority)
    play.restart() >> hello("a1", slots=5)
    assert [words.split()[1] for words in play.said] == ["t1.1", "t4.1", "t0.1", "t3.1", "t2.1"]
