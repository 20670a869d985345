"""Why a command failed, and the exit code that scripts see.

``Failure`` is the one exception that ends a command; ``main`` prints it. Codes
are part of the interface: they are listed in ``upbeat --help`` and only grow.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    TASK_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    DENIED = 6
    EXHAUSTED = 7
    TIMEOUT = 8
    DEFECT = 9
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.TASK_FAILED: (
        "the task waited for did not complete, the server is not healthy, or a store is damaged"
    ),
    ExitCode.USAGE: "wrong usage",
    ExitCode.NOT_FOUND: "no such task or agent",
    ExitCode.REFUSED: "refused as invalid, duplicate or impossible in this state",
    ExitCode.UNAVAILABLE: "server unreachable or stopping",
    ExitCode.DENIED: "no valid token or role",
    ExitCode.EXHAUSTED: "a limit of the server is reached",
    ExitCode.TIMEOUT: "not done in the time allowed",
    ExitCode.DEFECT: "a defect",
    ExitCode.INTERRUPTED: "interrupted",
}


class Failure(Exception):
    """A command that cannot do what it was asked.

    ``reason`` is an ErrorReason name or empty, ``violations`` are (field, what is
    wrong), ``remedy`` says what to do next.
    """

    def __init__(
        self,
        code: ExitCode,
        message: str,
        *,
        reason: str = "",
        violations: tuple[tuple[str, str], ...] = (),
        remedy: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = violations
        self.remedy = remedy
