"""Defects of limits and pauses; see ``bugs.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from upbeat_server.engine import engine as engine_module
from upbeat_server.engine import pausing
from upbeat_server.engine.quotas import Quota, Quotas
from upbeat_server.engine.timers import WAKE_NEVER

if TYPE_CHECKING:
    from upbeat_server.engine.queue import Queue
    from upbeat_server.engine.quotas import Gate


def running_forgotten_at_restart() -> Any:
    """What runs over a restart counts against no limit."""
    return patch.object(Quotas, "adopt", lambda _self, _gate, _now_ms: None)


def tokens_back_at_restart() -> Any:
    """A restart forgets what was started just before it."""

    def quotas(queue: Queue, _born_ms: int) -> Quotas:
        return Quotas(queue, -WAKE_NEVER)

    return patch.object(engine_module, "Quotas", quotas)


def room_before_the_agent_has_stopped() -> Any:
    """An attempt that is being stopped counts no longer."""

    def end(self: Quotas, gate: Gate, lease_id: int, now_ms: int) -> None:
        self.stopping.pop(lease_id, None)
        self._release(gate, now_ms)

    return patch.object(Quotas, "end", end)


def one_more_than_may_run() -> Any:
    """A limit is full when more run than may."""
    return patch.object(Quota, "is_full", lambda self: 0 < self.max_running < self.running)


def room_is_told_nobody() -> Any:
    """Tasks that waited for a limit are not told that it has room again."""
    return patch.object(Quotas, "_open", lambda _self, _quota: None)


def pauses_forgotten_at_restart() -> Any:
    """A restart ends all pauses."""
    return patch.object(pausing, "restore", lambda _engine, _notes: None)


QUOTA_BUGS = (
    running_forgotten_at_restart,
    tokens_back_at_restart,
    room_before_the_agent_has_stopped,
    one_more_than_may_run,
    room_is_told_nobody,
    pauses_forgotten_at_restart,
)
