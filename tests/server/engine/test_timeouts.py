"""What time does to tasks: start times, backoffs, and the four timeouts."""

from __future__ import annotations

import pytest

from tests.support.lines import ack, beat, cancel, failure, frame, hello, reject, result, submit
from tests.support.play import START_MS, Play
from upbeat_server.engine.entropy import Entropy
from upbeat_server.engine.model import Error, RetryPolicy, SideEffects, TaskRecord, TaskSpec, TaskState
from upbeat_server.engine.retries import backoff_ms, may_retry
from upbeat_server.engine.timers import BUCKET_MS, Timers


def test_a_queued_task_that_nobody_takes_in_time_fails(play: Play) -> None:
    play >> submit("t1", queue_timeout_ms=2_000)
    play.at(1_999)
    assert play.said == []
    play.at(2_000) << "finished t1 FAILED: QUEUE_TIMEOUT"
    assert "2 s" in play.stored("t1").error.message


def test_the_queue_timeout_starts_anew_with_each_queueing(play: Play) -> None:
    play >> hello("a1") >> submit("t1", queue_timeout_ms=2_000)
    play.skip().at(1_500) >> frame("a1", slots=0) >> reject("t1.1")
    play.at(3_499)
    assert play.said == []
    play.at(3_500) << "finished t1 FAILED: QUEUE_TIMEOUT"


def test_a_running_task_has_no_queue_timeout(play: Play) -> None:
    play >> hello("a1") >> submit("t1", queue_timeout_ms=2_000) >> ack("t1.1")
    play.skip().at(15_000) >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_an_attempt_that_runs_too_long_is_stopped_charged_and_tried_again(play: Play) -> None:
    play >> hello("a1") >> submit("t1", attempt_timeout_ms=3_000) >> ack("t1.1") >> hello("a2")
    play << "assign t1.1 to a1"
    play.at(3_000) << "stop t1.1 at a1: ATTEMPT_TIMEOUT"
    stored = play.stored("t1")
    assert (stored.state, stored.failures) == (TaskState.PENDING, 1)
    assert stored.attempts[-1].error.reason == "ATTEMPT_TIMEOUT"
    play.at(3_600) << "assign t1.2 to a2"
    play >> result("t1.1")
    play << "ack t1.1 to a1: STALE"


def test_the_last_allowed_attempt_that_runs_too_long_fails_the_task(play: Play) -> None:
    play >> hello("a1") >> submit("t1", attempt_timeout_ms=3_000, retry=RetryPolicy(max_attempts=1))
    play << "assign t1.1 to a1"
    play.at(3_000) << "stop t1.1 at a1: ATTEMPT_TIMEOUT" << "finished t1 FAILED: ATTEMPT_TIMEOUT"


def test_the_total_timeout_ends_a_task_that_waits_for_its_start(play: Play) -> None:
    play >> submit("t1", total_timeout_ms=1_000, not_before_ms=START_MS + 5_000)
    play.at(1_000) << "finished t1 FAILED: TOTAL_TIMEOUT"


def test_the_total_timeout_ends_a_queued_task(play: Play) -> None:
    play >> submit("t1", total_timeout_ms=1_000, queue_timeout_ms=1_000)
    play.at(1_000) << "finished t1 FAILED: TOTAL_TIMEOUT"


def test_the_total_timeout_ends_a_running_task_and_stops_its_agent(play: Play) -> None:
    play >> hello("a1") >> submit("t1", total_timeout_ms=1_000)
    play << "assign t1.1 to a1"
    play.at(1_000) << "stop t1.1 at a1: TOTAL_TIMEOUT" << "finished t1 FAILED: TOTAL_TIMEOUT"
    assert play.agent("a1").in_use == 1


def test_the_total_timeout_ends_a_task_in_its_backoff(play: Play) -> None:
    retry = RetryPolicy(initial_backoff_ms=60_000)
    play >> hello("a1") >> submit("t1", total_timeout_ms=1_000, retry=retry) >> failure("t1.1")
    play.skip().at(1_000) << "finished t1 FAILED: TOTAL_TIMEOUT"


def test_a_result_that_arrives_before_the_turn_in_which_the_time_is_up_counts(play: Play) -> None:
    play >> hello("a1") >> submit("t1", total_timeout_ms=1_000)
    play.now_ms = 1_000
    play >> result("t1.1")
    play << "assign t1.1 to a1" << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_a_task_waits_for_its_start_time(play: Play) -> None:
    play >> hello("a1") >> submit("t1", not_before_ms=START_MS + 5_000)
    assert play.stored("t1").state == TaskState.PENDING
    play.at(4_999)
    assert play.said == []
    play.at(5_000) << "assign t1.1 to a1"
    assert play.stored("t1").queued_since_ms == START_MS + 5_000


def test_a_start_time_that_has_passed_is_now(play: Play) -> None:
    play >> hello("a1") >> submit("t1", not_before_ms=START_MS - 1)
    play << "assign t1.1 to a1"


@pytest.mark.parametrize("bits", [0, 1, 7, 1 << 63])
def test_a_backoff_lies_in_the_upper_half_of_what_the_policy_says(play: Play, bits: int) -> None:
    play.bits = bits
    retry = RetryPolicy(max_attempts=6, initial_backoff_ms=1_000, multiplier=2.0, max_backoff_ms=5_000)
    play >> hello("a1") >> submit("t1", retry=retry)
    for attempt, most_ms in enumerate((1_000, 2_000, 4_000, 5_000, 5_000), 1):
        play >> failure(f"t1.{attempt}")
        record = play.stored("t1")
        wait_ms = record.eligible_ms - START_MS - play.now_ms
        assert most_ms / 2 <= wait_ms <= most_ms
        play.later(wait_ms - 1) >> beat("a1")
        assert play.task("t1").record.attempt == attempt
        play.later(1 + BUCKET_MS)
        assert play.task("t1").record.attempt == attempt + 1
    play.skip()


@pytest.mark.parametrize(
    ("policy", "failures", "most_ms"),
    [
        (RetryPolicy(initial_backoff_ms=0), 5, 0),
        (RetryPolicy(multiplier=1e300), 10_000, 60_000),
        (RetryPolicy(multiplier=1.0), 10_000, 500),
        (RetryPolicy(initial_backoff_ms=90_000), 1, 60_000),
    ],
)
def test_a_backoff_has_its_bounds_whatever_the_policy(
    policy: RetryPolicy, failures: int, most_ms: int
) -> None:
    entropy = Entropy(3)
    waits = [backoff_ms(policy, failures, entropy) for _ in range(50)]
    assert most_ms / 2 <= min(waits)
    assert max(waits) <= most_ms


@pytest.mark.parametrize(
    ("failures", "error", "side_effects", "again"),
    [
        (1, Error("X"), SideEffects.IDEMPOTENT, True),
        (3, Error("X"), SideEffects.IDEMPOTENT, False),
        (1, Error("X", non_retryable=True), SideEffects.IDEMPOTENT, False),
        (1, Error("X", non_retryable=False), SideEffects.NONE, True),
        (1, Error("FATAL"), SideEffects.IDEMPOTENT, False),
        (1, Error("X", non_retryable=False), SideEffects.UNSAFE, False),
    ],
)
def test_what_is_tried_again(failures: int, error: Error, side_effects: SideEffects, again: bool) -> None:
    spec = TaskSpec("work", side_effects=side_effects, retry=RetryPolicy(non_retryable_reasons=("FATAL",)))
    record = TaskRecord(1, TaskState.RUNNING, 0, failures=failures)
    assert may_retry(spec, record, error) is again


def test_a_task_fails_with_its_last_error_when_its_attempts_are_used_up(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(max_attempts=2, initial_backoff_ms=0))
    play >> failure("t1.1", "FIRST")
    play.later(10) >> failure("t1.2", "SECOND")
    assert play.said[-2:] == ["finished t1 FAILED: SECOND", "ack t1.2 to a1: ACCEPTED"]
    stored = play.stored("t1")
    assert (stored.failures, stored.attempt, stored.accepted_attempt) == (2, 2, 2)


def test_a_success_after_a_failure_leaves_no_error(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(initial_backoff_ms=0)) >> failure("t1.1")
    play.later(10) >> result("t1.2")
    stored = play.skip().stored("t1")
    assert stored.error is None
    assert stored.attempts[0].error.reason == "BROKEN"


def test_a_finished_task_leaves_no_timer(play: Play) -> None:
    play >> submit("t1", total_timeout_ms=1_000) >> submit("t2", queue_timeout_ms=500)
    play >> cancel("t1") >> cancel("t2")
    assert len(play.skip().engine.timers) == 0


def test_a_task_whose_lease_and_time_are_lost_at_once_goes_back_to_the_queue(play: Play) -> None:
    """The server was held up: the agent's silence and the attempt's deadline come up in one turn."""
    lease_timeout_ms = play.engine.limits.graces.lease_timeout_ms
    play >> hello("a1") >> submit("t1", attempt_timeout_ms=lease_timeout_ms + 10) >> ack("t1.1")
    play << "assign t1.1 to a1"
    play.at(lease_timeout_ms - 10)
    play.now_ms = lease_timeout_ms + 20
    play.end_turn()
    assert play.said == ["end a1: SILENT"]
    assert play.stored("t1").state == TaskState.QUEUED
    assert len(play.engine.timers) == 1  # The agent's, which is forgotten one day.
    play >> hello("a2")
    play << "assign t1.2 to a2"


def test_a_timer_that_was_set_anew_while_it_fired_is_one_timer(play: Play) -> None:
    lease_timeout_ms = play.engine.limits.graces.lease_timeout_ms
    play >> hello("a1") >> submit("t1", attempt_timeout_ms=lease_timeout_ms + 10, queue_timeout_ms=60_000)
    play >> ack("t1.1")
    play.skip().at(lease_timeout_ms - 10)
    play.now_ms = lease_timeout_ms + 20
    play.end_turn()
    assert play.skip().stored("t1").state == TaskState.QUEUED
    assert len(play.engine.timers) == 2
    play >> cancel("t1")
    assert len(play.skip().engine.timers) == 1


def test_time_never_goes_back(play: Play) -> None:
    play.at(5_000)
    play.now_ms = 1_000
    play >> submit("t1")
    assert play.task("t1").record.create_ms == START_MS + 5_000


# Timers.


def test_a_timer_is_due_at_its_time_rounded_up_and_never_early() -> None:
    timers = Timers()
    for key, due_ms in ((1, 11), (2, 20), (3, 21), (4, 5)):
        assert timers.set(key, due_ms) - due_ms in range(BUCKET_MS)
    assert timers.next_ms == 10
    assert timers.due(9) == []
    assert timers.due(20) == [4, 1, 2]
    assert timers.next_ms == 30
    assert len(timers) == 1
    assert timers.due(1_000) == [3]
    assert timers.next_ms is None


def test_a_cleared_timer_does_not_fire_and_can_be_set_again() -> None:
    timers = Timers()
    timers.clear(1, timers.set(1, 10))
    timers.clear(1, 10)
    assert timers.next_ms is None
    timers.set(1, 10)
    timers.set(2, 30)
    assert len(timers) == 2
    assert timers.due(10) == [1]
    assert timers.due(30) == [2]


# Entropy.


def test_the_same_bits_give_the_same_numbers_and_others_others() -> None:
    def draws(*bits: int) -> list[float]:
        entropy = Entropy(1)
        numbers = []
        for word in bits:
            entropy.stir(word)
            numbers += [entropy.uniform(), entropy.uniform()]
        return numbers

    assert draws(5, 6) == draws(5, 6)
    assert draws(5, 6) != draws(5, 7)
    assert len(set(draws(0, 0))) == 4


def test_entropy_is_splitmix64() -> None:
    """The first outputs of the reference implementation for seed 1234567."""
    entropy = Entropy(1_234_567)
    expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
    assert [entropy.uniform() for _ in expected] == [(word >> 11) / (1 << 53) for word in expected]
