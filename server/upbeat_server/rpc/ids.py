"""Ids as text: fixed-length lower-case hex, so that they sort as they count."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from upbeat_server.engine.model import SessionId, TaskId
from upbeat_server.runtime.refused import invalid

if TYPE_CHECKING:
    from upbeat_server.rpc.faults import Faults

TASK_DIGITS = 16
TASK_BITS = 63
"""Epoch and sequence; one bit more and no store could hold it."""
LEASE_DIGITS = 20
LEASE_BITS = TASK_BITS + 16

# int() alone reads signs, underscores and capitals, too. The first digit lacks the bit that no id has.
_is_task = re.compile(rf"[0-7][0-9a-f]{{{TASK_DIGITS - 1}}}").fullmatch
_is_lease = re.compile(rf"[0-7][0-9a-f]{{{LEASE_DIGITS - 1}}}").fullmatch


def task_text(task_id: int) -> str:
    """A task id, or a session id."""
    return f"{task_id:016x}"


def lease_text(lease_id: int) -> str:
    """A lease id."""
    return f"{lease_id:020x}"


def read_task_id(text: str, field: str = "task_id") -> TaskId:
    """The id that a text is. Raises Refused (INVALID_FIELD)."""
    number = _task_number(text)
    if not number:
        raise invalid(field, f"must be the {TASK_DIGITS} hexadecimal digits that the server gave")
    return TaskId(number)


def read_session_id(text: str, field: str) -> SessionId:
    """The session that a text names; 0 for "". Raises Refused (INVALID_FIELD)."""
    return SessionId(read_task_id(text, field)) if text else SessionId(0)


def lease_number(text: str) -> int:
    """The lease that a text names; 0 if it is none of ours."""
    return int(text, 16) if _is_lease(text) else 0


def delivery_text(subscription_id: int, sequence: int) -> str:
    """What acknowledges a message of the bus."""
    return f"{subscription_id:016x}{sequence:016x}"


def read_delivery_id(text: str) -> tuple[int, int] | None:
    """Subscription and sequence; None if it is no id of ours."""
    subscription_id = _task_number(text[:TASK_DIGITS])
    sequence = _task_number(text[TASK_DIGITS:])
    return (subscription_id, sequence) if subscription_id and sequence else None


def read_dead_letter_id(text: str, field: str, faults: Faults) -> int:
    """The dead letter that a text names; 0 and a fault if it is none of ours."""
    number = _task_number(text)
    if not number:
        faults.add(field, f"must be the {TASK_DIGITS} hexadecimal digits that the server gave")
    return number


def _task_number(text: str) -> int:
    return int(text, 16) if _is_task(text) else 0
