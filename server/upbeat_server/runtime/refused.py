"""The one exception that carries a refusal up to the door.

Inside the engine a refusal is a value. Above it, where a coroutine waits for an
answer, it is raised as ``Refused`` and turned into a status in one place
(``rpc/method.py``).
"""

from __future__ import annotations

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal


class Refused(Exception):
    """What was asked for was refused; ``refusal`` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.reason}: {refusal.message}")
        self.refusal = refusal


def refused(reason: str, message: str, retry_ms: int = 0, **metadata: str) -> Refused:
    """A ``Refused`` of one reason, ready to raise."""
    return Refused(Refusal(reason, message, metadata, retry_ms=retry_ms))


def invalid(field: str, description: str, reason: str = reasons.INVALID_FIELD) -> Refused:
    """A ``Refused`` that names one field."""
    return Refused(Refusal(reason, f"{field}: {description}", violations=((field, description),)))


def task_not_found(task_id: int) -> Refused:
    """No such task."""
    text = f"{task_id:016x}"
    return refused(
        reasons.TASK_NOT_FOUND,
        f"there is no task {text} in this namespace, or it was purged",
        task_id=text,
    )


SERVER_DRAINING = Refusal(
    reasons.DRAINING, "the server is stopping: repeat the call, here or at another server", retry_ms=1_000
)
STORE_DOWN = Refusal(
    reasons.STORE_UNAVAILABLE,
    "the store cannot commit at the moment: repeat the call with the same request_id",
    retry_ms=1_000,
)
STORE_LOST = Refusal(
    reasons.STORE_UNAVAILABLE,
    "the outcome of a commit is unknown and the namespace is being read again: "
    "repeat the call with the same request_id",
    retry_ms=1_000,
)
INBOX_FULL = Refusal(
    reasons.SERVER_BUSY,
    "the server's inbox is full: try again a little later",
    {"bound": "inbox_items_max"},
    retry_ms=200,
)
