from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from upbeat import errors
from upbeat.refusal import DETAILS_KEY, error_of_refusal, error_of_status, error_of_task
from upbeat.v1 import error_reason_pb2, payload_pb2, refusal_pb2, task_pb2


def trailing(*details: Message) -> list[tuple[str, bytes]]:
    status = status_pb2.Status(code=3, message="m")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return [("other", b"x"), (DETAILS_KEY, status.SerializeToString())]


def test_a_status_with_details_becomes_the_class_of_its_reason() -> None:
    error = error_of_status(
        grpc.StatusCode.INVALID_ARGUMENT,
        "two fields are wrong",
        trailing(
            error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="upbeat", metadata={"limit": "3"}),
            error_details_pb2.BadRequest(field_violations=[{"field": "spec.type", "description": "empty"}]),
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000)),
            error_details_pb2.DebugInfo(detail="not for us"),
        ),
    )
    assert type(error) is errors.InvalidField
    assert (error.reason, error.code) == ("INVALID_FIELD", "INVALID_ARGUMENT")
    assert error.metadata == {"limit": "3"}
    assert error.retry_after == 1.5
    assert error.violations == (errors.Violation("spec.type", "empty"),)
    assert str(error) == "INVALID_FIELD: two fields are wrong\n  spec.type: empty"


def test_a_violation_that_is_the_message_is_not_said_twice() -> None:
    violation = errors.Violation("spec.type", "empty")
    error = errors.InvalidField("spec.type: empty", reason="INVALID_FIELD", violations=[violation])
    assert str(error) == "INVALID_FIELD: spec.type: empty"


@pytest.mark.parametrize(
    ("code", "family"),
    [
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Unavailable),
        (grpc.StatusCode.UNKNOWN, errors.Refused),
    ],
)
def test_without_a_known_reason_the_code_decides(code: grpc.StatusCode, family: type[errors.Refused]) -> None:
    details = trailing(error_details_pb2.ErrorInfo(reason="OF_A_NEWER_SERVER", domain="upbeat"))
    assert type(error_of_status(code, "m", details)) is family
    assert type(error_of_status(code, "", None)) is family


def test_a_reason_of_somebody_else_is_not_ours() -> None:
    details = trailing(error_details_pb2.ErrorInfo(reason="QUEUE_FULL", domain="googleapis.com"))
    error = error_of_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "m", details)
    assert type(error) is errors.ResourceExhausted
    assert error.reason == ""


@pytest.mark.parametrize("value", [b"\xff\xff\xff", b""])
def test_details_that_cannot_be_read_are_ignored(value: bytes) -> None:
    error = error_of_status(grpc.StatusCode.NOT_FOUND, "gone", [(DETAILS_KEY, value)])
    assert isinstance(error, errors.NotFound)
    assert str(error) == "gone"


def test_every_refusal_of_the_contract_has_a_class_of_the_right_family() -> None:
    codes = {
        grpc.StatusCode.INVALID_ARGUMENT: range(1, 20),
        grpc.StatusCode.NOT_FOUND: range(20, 30),
        grpc.StatusCode.ALREADY_EXISTS: range(30, 40),
        grpc.StatusCode.FAILED_PRECONDITION: range(40, 50),
        grpc.StatusCode.RESOURCE_EXHAUSTED: range(50, 70),
        grpc.StatusCode.UNAUTHENTICATED: range(70, 71),
        grpc.StatusCode.PERMISSION_DENIED: range(71, 80),
        grpc.StatusCode.UNAVAILABLE: range(80, 82),
        grpc.StatusCode.ABORTED: range(82, 90),
    }
    for name, number in error_reason_pb2.ErrorReason.items():
        code = next((code for code, numbers in codes.items() if number in numbers), None)
        if code is not None:
            reason = name.removeprefix("ERROR_REASON_")
            assert issubclass(errors.REASONS[reason], errors.FAMILIES[code.name]), reason


def test_a_refused_item_of_a_stream_is_the_same_error() -> None:
    refusal = refusal_pb2.Refusal(code=8, reason="QUEUE_FULL", message="full", metadata={"limit": "5"})
    refusal.retry_delay.FromMilliseconds(250)
    refusal.violations.add(field="f", description="d")
    error = error_of_refusal(refusal)
    assert type(error) is errors.QueueFull
    assert (error.code, error.retry_after, error.metadata) == ("RESOURCE_EXHAUSTED", 0.25, {"limit": "5"})
    assert error.violations == (errors.Violation("f", "d"),)
    assert error_of_refusal(refusal_pb2.Refusal(code=5)).retry_after is None


@pytest.mark.parametrize(
    ("state", "reason", "kind"),
    [
        (task_pb2.Task.STATE_FAILED, "HANDLER_FAILED", errors.TaskFailed),
        (task_pb2.Task.STATE_FAILED, "TOTAL_TIMEOUT", errors.TaskTimedOut),
        (task_pb2.Task.STATE_FAILED, "STEP_FAILED", errors.StepFailed),
        (task_pb2.Task.STATE_FAILED, "NO_CONSENSUS", errors.NoConsensus),
        (task_pb2.Task.STATE_FAILED, "NO_WINNER", errors.NoWinner),
        (task_pb2.Task.STATE_FAILED, "BUDGET_EXCEEDED", errors.BudgetExceeded),
        (task_pb2.Task.STATE_FAILED, "INFEASIBLE", errors.Infeasible),
        (task_pb2.Task.STATE_FAILED, "INVALID_FORM", errors.InvalidForm),
        (task_pb2.Task.STATE_FAILED, "MODE_FAILED", errors.ModeFailed),
        (task_pb2.Task.STATE_CANCELLED, "STEP_FAILED", errors.TaskCancelled),
        (task_pb2.Task.STATE_CANCELLED, "CANCELLED", errors.TaskCancelled),
        (task_pb2.Task.STATE_CANCELLED, "", errors.TaskCancelled),
    ],
)
def test_how_a_task_ended_is_raised(
    state: task_pb2.Task.State.ValueType, reason: str, kind: type[errors.TaskEnded]
) -> None:
    error = error_of_task(state, payload_pb2.Error(reason=reason, details={"k": "v"}), "t1", 2)
    assert type(error) is kind
    assert error.reason == (reason or "CANCELLED")
    assert (error.task_id, error.attempt_count, error.metadata) == ("t1", 2, {"k": "v"})


def test_a_completed_task_raises_nothing() -> None:
    assert error_of_task(task_pb2.Task.STATE_COMPLETED, payload_pb2.Error(), "t1", 1) is None


@pytest.mark.parametrize("reason", ["", "with space", "x" * 64, "ü"])
def test_a_failure_needs_a_reason_that_the_contract_takes(reason: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        errors.Fail(reason)


def test_a_cancelled_attempt_is_not_swallowed_by_except_exception() -> None:
    assert not issubclass(errors.AttemptCancelled, Exception)
