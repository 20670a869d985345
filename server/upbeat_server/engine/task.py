"""A live task: its record, its spec, and what is only in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.events import AttemptProgressed
    from upbeat_server.engine.model import TaskId, TaskRecord, TaskSpec
    from upbeat_server.engine.queue import Signature


class Task:
    """An unfinished task (or one that finished in this turn)."""

    __slots__ = (
        "agent",
        "avoid_until_ms",
        "paused_ms",
        "progress",
        "record",
        "signature",
        "spec",
        "spec_bytes",
        "timer_ms",
    )

    def __init__(self, record: TaskRecord, spec: TaskSpec, signature: Signature) -> None:
        self.record = record
        self.spec = spec
        self.signature = signature
        # The spec as bytes until it was handed to the store once, then None.
        self.spec_bytes: bytes | None = None
        # Who holds the current lease; None while RUNNING means: not adopted yet.
        self.agent: Agent | None = None
        # What the running attempt said last.
        self.progress: AttemptProgressed | None = None
        # Agents that rejected it, and until when they are not offered it.
        self.avoid_until_ms: dict[str, int] = {}
        # Engine time at which the attempt's deadline stopped (not adopted yet); 0: it runs.
        self.paused_ms = 0
        # When its one timer is armed; 0: not.
        self.timer_ms = 0

    @property
    def task_id(self) -> TaskId:
        """Its id."""
        return self.record.task_id  # type: ignore[return-value]
