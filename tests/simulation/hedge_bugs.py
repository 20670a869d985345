"""Defects of second runs; see ``bugs.py``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from upbeat_server.engine import dispatch, hedging, leases, reasons
from upbeat_server.engine.leases import current_lease
from upbeat_server.engine.model import SideEffects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.task import Task


@contextmanager
def idempotent_work_is_hedged() -> Iterator[None]:
    """Work that may be repeated is taken for work that may run twice at a time."""
    idempotent = SideEffects.IDEMPOTENT
    with patch.object(dispatch, "NONE", idempotent), patch.object(hedging, "NONE", idempotent):
        yield


def shadow_is_not_stopped() -> Any:
    """Nobody tells the older attempt that the task has ended."""

    def drop(_engine: Engine, task: Task, _now_ms: int) -> None:
        task.shadow = None

    return patch.object(hedging, "drop", drop)


def current_attempt_goes_on_after_the_shadow() -> Any:
    """The older attempt completes, and the agent of the current one is not told to stop."""
    real = leases.take_away

    def take_away(engine: Engine, task: Task, reason: str) -> None:
        if reason != reasons.SUPERSEDED:
            real(engine, task, reason)
        elif task.agent is not None:
            task.agent.leases[current_lease(task)] = None

    return patch.object(leases, "take_away", take_away)


HEDGE_BUGS = (
    idempotent_work_is_hedged,
    shadow_is_not_stopped,
    current_attempt_goes_on_after_the_shadow,
)
