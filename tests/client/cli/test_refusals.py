from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.fake_server import Refusal
from upbeat.cli.failure import MEANINGS, ExitCode
from upbeat.cli.refusals import failure_of


class FakeError:
    """What grpc raises, as far as it is read."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Any = ()) -> None:
        self._parts = (code, details, metadata)

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> Any:
        return self._parts[2]


def refused(code: grpc.StatusCode, reason: str, retry_s: float | None = None) -> FakeError:
    refusal = Refusal(code, reason, "the words", retry_s)
    return FakeError(code, "the words", refusal.metadata())


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", 4),
        (grpc.StatusCode.ALREADY_EXISTS, "DUPLICATE_TASK", 4),
        (grpc.StatusCode.FAILED_PRECONDITION, "TASK_FINISHED", 4),
        (grpc.StatusCode.OUT_OF_RANGE, "REVISION_OUT_OF_RANGE", 4),
        (grpc.StatusCode.UNIMPLEMENTED, "NOT_BUILT", 4),
        (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND", 3),
        (grpc.StatusCode.UNAVAILABLE, "DRAINING", 5),
        (grpc.StatusCode.ABORTED, "SLOW_READER", 5),
        (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", 6),
        (grpc.StatusCode.PERMISSION_DENIED, "ROLE_INSUFFICIENT", 6),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 7),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", 8),
        (grpc.StatusCode.INTERNAL, "INTERNAL", 9),
        (grpc.StatusCode.UNKNOWN, "", 9),
    ],
)
def test_every_status_has_its_exit_code(code: grpc.StatusCode, reason: str, exit_code: int) -> None:
    failure = failure_of(refused(code, reason), "localhost:50051")
    assert failure.code == exit_code
    assert failure.reason == reason
    assert "the words" in failure.message or not reason


def test_a_bound_says_when_to_try_again() -> None:
    failure = failure_of(refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 1.5), "localhost:1")
    assert failure.remedy == "try again in 1.5s"


def test_a_server_that_is_not_there_is_named_with_a_way_to_start_one() -> None:
    details = (
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
        "Failed to connect to remote host: connect: Connection refused"
    )
    failure = failure_of(FakeError(grpc.StatusCode.UNAVAILABLE, details), "localhost:1")
    assert failure.message == "no server answers at localhost:1: Connection refused"
    assert "upbeat serve" in failure.remedy
    assert "--tls" not in failure.remedy


def test_a_connection_that_breaks_at_once_hints_at_tls() -> None:
    failure = failure_of(FakeError(grpc.StatusCode.UNAVAILABLE, "Socket closed"), "localhost:1")
    assert "--tls" in failure.remedy


def test_every_exit_code_a_script_may_see_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode) - {ExitCode.BROKEN_PIPE}


def test_the_readme_of_the_client_lists_the_exit_codes() -> None:
    readme = (Path(__file__).parents[3] / "client" / "README.md").read_text(encoding="utf-8")
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in readme
