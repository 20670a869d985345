"""Leases: granted, acknowledged, reported, lost, returned - and what late or lying agents are told."""

from __future__ import annotations

import pytest

from tests.support.lines import (
    ack,
    beat,
    cancel,
    cut,
    failure,
    frame,
    goodbye,
    hello,
    progress,
    reject,
    result,
    submit,
)
from tests.support.play import Play
from upbeat_server.engine.commands import AckResult, Assign
from upbeat_server.engine.events import AttemptEnded
from upbeat_server.engine.limits import Bounds, Limits
from upbeat_server.engine.model import (
    ATTEMPTS_KEPT,
    ATTEMPTS_MAX,
    Attempt,
    AttemptOutcome,
    Error,
    Payload,
    ResultOutcome,
    RetryPolicy,
    SideEffects,
    TaskState,
    Usage,
)
from upbeat_server.engine.results import late_outcome

UNSAFE = SideEffects.UNSAFE


def outcomes(play: Play, task: str) -> list[AttemptOutcome]:
    """How the attempts of a task ended, as it is stored."""
    return [AttemptOutcome(attempt.outcome) for attempt in play.stored(task).attempts]


def test_a_task_is_handed_out_acknowledged_and_done(play: Play) -> None:
    play >> submit("t1") >> hello("a1")
    play << "assign t1.1 to a1"
    play >> ack("t1.1") >> result("t1.1", b"42")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"
    stored = play.stored("t1")
    assert stored.output == Payload(data=b"42")
    assert stored.accepted_attempt == 1
    assert outcomes(play, "t1") == [AttemptOutcome.COMPLETED]


def test_an_assignment_says_how_much_time_its_attempt_has(play: Play) -> None:
    play >> hello("a1") >> submit("t1", attempt_timeout_ms=7_000)
    (assign,) = play.heard(Assign)
    assert assign.time_remaining_ms == 7_000
    play.skip()


def test_a_result_counts_as_an_acknowledgement(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play << "assign t1.1 to a1"
    play >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_an_assignment_that_is_not_acknowledged_returns_uncharged_and_goes_elsewhere(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play << "assign t1.1 to a1"
    play >> hello("a2")
    play.at(9_999) >> beat("a1")
    play.at(10_000) << "stop t1.1 at a1: NOT_ACKNOWLEDGED" << "assign t1.2 to a2"
    stored = play.stored("t1")
    assert (stored.failures, stored.lease_losses) == (0, 0)
    assert outcomes(play, "t1") == [AttemptOutcome.RETURNED, AttemptOutcome.RUNNING]


@pytest.mark.parametrize("sign", [ack("t1.1"), progress("t1.1", 0.1)])
def test_any_sign_of_the_attempt_ends_the_wait_for_its_acknowledgement(play: Play, sign: object) -> None:
    play >> hello("a1") >> submit("t1")
    play >> sign  # type: ignore[operator]
    play.skip()
    play.at(15_000)
    assert play.task("t1").record.attempt == 1


def test_a_lease_that_its_agent_brings_back_needs_no_other_acknowledgement(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play << "assign t1.1 to a1"
    play >> cut("a1") >> hello("a1", resumes=True, holds=("t1.1",))
    play.at(15_000) >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_the_slot_of_an_attempt_that_was_taken_away_stays_taken_until_the_agent_answers(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play << "assign t1.1 to a1"
    play >> cancel("t1")
    play << "stop t1.1 at a1: CANCELLED" << "finished t1 CANCELLED: CANCELLED" << "cancelled t1"
    play >> submit("t2")
    assert play.agent("a1").in_use == 1
    play >> result("t1.1")
    play << "resolve t1.1 for a1" << "assign t2.1 to a1"


def test_a_rejection_frees_the_slot_of_an_attempt_that_was_taken_away(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play << "assign t1.1 to a1"
    play >> cancel("t1")
    play.skip() >> submit("t2") >> reject("t1.1")
    play << "assign t2.1 to a1"


def test_a_rejected_task_returns_uncharged_with_the_agents_words(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play << "assign t1.1 to a1"
    play >> reject("t1.1", "no model loaded")
    assert play.task("t1").record.state == TaskState.QUEUED
    (attempt,) = play.stored("t1").attempts
    assert attempt.outcome == AttemptOutcome.RETURNED
    assert attempt.error.reason == "REJECTED_BY_AGENT"
    assert "no model loaded" in attempt.error.message
    assert play.stored("t1").failures == 0


def test_an_acknowledgement_of_an_attempt_that_moved_on_changes_nothing(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip().at(10_000).skip()
    play >> ack("t1.1") >> progress("t1.1", 0.5) >> ack("t9.1", by="a1") >> reject("t9.1", by="a1")
    assert play.task("t1").record.state == TaskState.QUEUED
    assert play.agent("a1").in_use == 1


def test_a_late_result_is_stale_and_frees_the_slot(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip() >> hello("a2")
    play.at(10_000).skip()
    play >> result("t1.1")
    play << "ack t1.1 to a1: STALE"
    assert play.agent("a1").in_use == 0
    play >> result("t1.2")
    play << "finished t1 COMPLETED" << "ack t1.2 to a2: ACCEPTED"


def test_a_result_of_another_agents_lease_is_stale_and_takes_nothing_from_it(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> hello("a2")
    play.skip() >> result("t1.1", by="a2")
    play << "ack t1.1 to a2: STALE"
    play >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_a_result_of_a_lease_that_never_was_is_unknown(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip() >> result("t1.2", by="a1")
    play << "ack t1.2 to a1: UNKNOWN"
    play >> result("t1.0", by="a1")
    play << "ack t1.0 to a1: UNKNOWN"
    play >> result("nobody.1", by="a1")
    assert [words.split()[0] for words in play.said] == ["resolve"]


@pytest.mark.parametrize("lease_id", [-1, 0, 1, 1 << 200])
def test_a_lease_that_is_no_number_of_ours_is_looked_up_like_any_other(play: Play, lease_id: int) -> None:
    play >> hello("a1") >> frame("a1", results=[AttemptEnded(lease_id, Payload())])
    assert len(play.said) == 1


def test_a_repeat_of_the_accepted_lease_is_accepted_whatever_its_body(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(max_attempts=2))
    play.skip() >> failure("t1.1")
    play << "ack t1.1 to a1: ACCEPTED"
    before = play.stored("t1")
    play >> result("t1.1")
    play << "ack t1.1 to a1: ACCEPTED"
    assert play.stored("t1") == before
    play >> hello("a2") >> result("t1.1", by="a2")
    play << "ack t1.1 to a2: STALE"


def test_a_repeat_within_one_frame_counts_once(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip()
    twice = [AttemptEnded(play.lease("t1.1"), Payload(data=data)) for data in (b"first", b"second")]
    play >> frame("a1", results=twice)
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED" << "resolve t1.1 for a1"
    assert play.stored("t1").output == Payload(data=b"first")


@pytest.mark.parametrize("output", [None, Payload(data=b"too large")])
def test_a_result_the_door_refused_fails_the_attempt_and_is_not_sent_again(
    play: Play, output: Payload | None
) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(max_attempts=1))
    play.skip()
    error = Error("TASK_TOO_LARGE", "the output is too large")
    play >> frame("a1", results=[AttemptEnded(play.lease("t1.1"), output, error, rejected=True)])
    (acked,) = play.heard(AckResult)
    assert acked.error == error
    play << "finished t1 FAILED: TASK_TOO_LARGE" << "ack t1.1 to a1: REJECTED"
    assert play.stored("t1").output is None


def test_a_result_without_output_and_error_is_a_failure(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(max_attempts=1))
    play.skip() >> frame("a1", results=[AttemptEnded(play.lease("t1.1"))])
    play << "finished t1 FAILED: INVALID_RESULT" << "ack t1.1 to a1: ACCEPTED"


def test_usage_is_the_sum_over_the_attempts(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip() >> failure("t1.1", usage=Usage(10, 20, 30))
    play.skip().later(1_000).skip()
    play >> result("t1.2", usage=Usage(1, 2, 3))
    assert play.stored("t1").usage == Usage(11, 22, 33)
    play.skip()


def test_lost_leases_are_bounded_apart_from_failures() -> None:
    play = Play(Limits(Bounds(lease_losses_max=3)))
    play >> submit("t1", retry=RetryPolicy(max_attempts=1))
    for number in (1, 2):
        play >> hello(f"a{number}") >> ack(f"t1.{number}") >> cut(f"a{number}")
        play.later(5_000).skip()
        assert play.task("t1").record.state == TaskState.QUEUED
        assert play.task("t1").record.lease_losses == number
    play >> hello("a3") >> ack("t1.3") >> cut("a3")
    play.skip().later(5_000) << "finished t1 FAILED: LEASE_LOST"
    assert play.stored("t1").failures == 0
    assert "3 times" in play.stored("t1").error.message


def test_a_task_is_not_leased_for_ever(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip()
    play.task("t1").record.attempt = ATTEMPTS_MAX
    (last,) = play.task("t1").record.attempts
    last.attempt = ATTEMPTS_MAX
    play.task("t1").record.attempts = [
        Attempt(number, "a0", last.start_ms, last.start_ms, AttemptOutcome.RETURNED)
        for number in range(ATTEMPTS_MAX - ATTEMPTS_KEPT + 1, ATTEMPTS_MAX)
    ] + [last]
    lease = play.agent("a1").leases
    lease[play.lease(f"t1.{ATTEMPTS_MAX}")] = lease.pop(play.lease("t1.1"))
    play >> reject(f"t1.{ATTEMPTS_MAX}", by="a1")
    play << "finished t1 FAILED: ATTEMPTS_EXHAUSTED"


def test_the_record_keeps_the_last_attempts_and_their_numbers(play: Play) -> None:
    play >> hello("a1") >> submit("t1", retry=RetryPolicy(max_attempts=100, initial_backoff_ms=0))
    for number in range(1, 15):
        play.skip() >> failure(f"t1.{number}")
        play.skip().later(10).skip()
    stored = play.stored("t1")
    assert [attempt.attempt for attempt in stored.attempts] == list(range(15 - ATTEMPTS_KEPT + 1, 16))
    assert stored.attempt == 15


def test_what_a_late_result_is_told_depends_on_the_attempt_alone(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip() >> failure("t1.1")
    record = play.skip().task("t1").record
    assert late_outcome(record, play.lease("t1.1"), "a1") is ResultOutcome.ACCEPTED
    assert late_outcome(record, play.lease("t1.1"), "a2") is ResultOutcome.STALE
    assert late_outcome(record, play.lease("t1.2"), "a1") is ResultOutcome.UNKNOWN


# Progress.


def test_progress_is_passed_on_and_numbered_within_the_attempt(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play.skip() >> progress("t1.1", 0.2, message="reading", chunk=b"one", sequence=1)
    play << "progress t1.1 0.2 reading one"
    play >> progress("t1.1", 0.2, chunk=b"one", sequence=1)  # Sent again after a reconnect.
    play >> progress("t1.1", 0.4)
    play << "progress t1.1 0.4"
    play >> progress("t1.1", 0.4, chunk=b"one", sequence=1)
    play >> progress("t1.1", 0.6, chunk=b"two", sequence=2)
    play << "progress t1.1 0.6 two"


def test_progress_starts_anew_with_the_next_attempt(play: Play) -> None:
    play >> hello("a1") >> submit("t1")
    play >> progress("t1.1", 0.9, chunk=b"x", sequence=5) >> failure("t1.1")
    play.skip().later(1_000).skip()
    assert play.task("t1").progress is None
    play >> progress("t1.2", 0.1, chunk=b"y", sequence=1)
    play << "progress t1.2 0.1 y"


# UNSAFE work: at most one agent ever acts on it.


def test_unsafe_work_that_was_rejected_is_offered_to_another(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE) >> hello("a2")
    play.skip() >> reject("t1.1")
    play << "assign t1.2 to a2"


def test_unsafe_work_that_was_taken_and_then_given_back_is_not_offered_again(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE) >> hello("a2")
    play.skip() >> ack("t1.1") >> reject("t1.1")
    play << "finished t1 FAILED: LEASE_LOST"


def test_unsafe_work_returns_if_its_agent_comes_back_without_ever_having_acknowledged_it(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip() >> cut("a1") >> hello("a1", resumes=True)
    play << "assign t1.2 to a1"


def test_unsafe_work_is_lost_with_the_process_that_had_it_even_if_it_never_acknowledged(play: Play) -> None:
    # It may have begun and been killed before it could say so; who comes now knows nothing of it.
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip() >> cut("a1") >> hello("a1")
    play << "finished t1 FAILED: LEASE_LOST"


@pytest.mark.parametrize("sign", [ack("t1.1"), progress("t1.1", 0.1)])
def test_unsafe_work_that_was_begun_fails_if_its_agent_comes_back_without_it(
    play: Play, sign: object
) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play >> sign  # type: ignore[operator]
    play.skip() >> cut("a1") >> hello("a1")
    play << "finished t1 FAILED: LEASE_LOST"


def test_unsafe_work_that_was_brought_back_once_has_been_begun(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip() >> cut("a1") >> hello("a1", holds=("t1.1",))
    assert play.stored("t1").acked
    play >> cut("a1") >> hello("a1")
    play << "finished t1 FAILED: LEASE_LOST"


def test_unsafe_work_fails_if_its_agent_is_gone_even_if_it_never_acknowledged(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE) >> hello("a2")
    play.skip() >> cut("a1")
    play.at(5_000) << "finished t1 FAILED: LEASE_LOST"


def test_unsafe_work_fails_if_its_agent_falls_silent_even_if_it_never_acknowledged(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play << "assign t1.1 to a1"
    play.at(30_000) << "end a1: SILENT" << "finished t1 FAILED: LEASE_LOST"


def test_unsafe_work_has_no_time_limit_to_be_acknowledged_in(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip().at(11_000) >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_unsafe_work_goes_back_with_a_goodbye_only_if_it_was_not_begun(play: Play) -> None:
    play >> hello("a1", slots=2)
    play >> submit("t1", side_effects=UNSAFE) >> submit("t2", side_effects=UNSAFE)
    play << "assign t1.1 to a1" << "assign t2.1 to a1"
    play >> ack("t1.1") >> goodbye("a1")
    play << "end a1: in peace" << "finished t1 FAILED: LEASE_LOST"
    assert play.task("t2").record.state == TaskState.QUEUED


def test_unsafe_work_that_failed_is_not_tried_again(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE)
    play.skip() >> failure("t1.1")
    play << "finished t1 FAILED: BROKEN" << "ack t1.1 to a1: ACCEPTED"


def test_unsafe_work_that_ran_too_long_is_not_tried_again(play: Play) -> None:
    play >> hello("a1") >> submit("t1", side_effects=UNSAFE, attempt_timeout_ms=2_000)
    play << "assign t1.1 to a1"
    play.at(2_000) << "stop t1.1 at a1: ATTEMPT_TIMEOUT" << "finished t1 FAILED: ATTEMPT_TIMEOUT"


def test_that_unsafe_work_was_begun_is_durable_and_of_other_work_is_not_written(play: Play) -> None:
    play >> hello("a1", slots=2) >> submit("t1", side_effects=UNSAFE)
    play.skip() >> submit("t2")
    play.skip() >> ack("t1.1") >> ack("t2.1")
    assert play.stored("t1").acked
    assert not play.stored("t2").acked


def test_an_agent_gets_no_more_bytes_than_it_acknowledges() -> None:
    play = Play(Limits(Bounds(agent_unacked_bytes_max=1_000)))
    play >> hello("a1", slots=5)
    for name in ("t1", "t2", "t3", "t4"):
        play >> submit(name, input=Payload(data=bytes(600)))
    play << "assign t1.1 to a1" << "assign t2.1 to a1"
    play >> ack("t1.1") << "assign t3.1 to a1"
    play >> reject("t2.1", "NO_ROOM") << "assign t4.1 to a1"
    play.over()


def test_one_assignment_may_always_be_under_way_however_large() -> None:
    play = Play(Limits(Bounds(agent_unacked_bytes_max=10)))
    play >> hello("a1", slots=5) >> submit("t1", input=Payload(data=bytes(600)))
    play << "assign t1.1 to a1"
    play >> submit("t2")
    play >> result("t1.1") << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED" << "assign t2.1 to a1"
    play.over()
