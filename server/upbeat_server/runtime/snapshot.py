"""What leaves the runtime: tasks and agents as they were when they were committed.

A live task goes on changing after a turn; a snapshot does not. It keeps bytes
and decodes them when somebody looks, outside of the loop's turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.store import codec

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.events import AttemptProgressed
    from upbeat_server.engine.model import TaskRecord, TaskSpec
    from upbeat_server.engine.predictor import Predictor
    from upbeat_server.store.store import StoredTask

PERFORMANCE_MAX = 100
"""Task types told of one agent."""


class TaskSnapshot:
    """A task at one moment. ``progress`` is what its running attempt said last."""

    __slots__ = ("_record", "_record_bytes", "_spec", "_spec_bytes", "progress")

    def __init__(
        self,
        record: TaskRecord | bytes,
        spec: TaskSpec | bytes,
        progress: AttemptProgressed | None = None,
    ) -> None:
        """``record`` as an object must be final: nobody changes it any more."""
        self._record: TaskRecord | None = None if isinstance(record, bytes) else record
        self._record_bytes = record if isinstance(record, bytes) else b""
        self._spec: TaskSpec | None = None if isinstance(spec, bytes) else spec
        self._spec_bytes = spec if isinstance(spec, bytes) else b""
        self.progress = progress

    @property
    def record(self) -> TaskRecord:
        """Its record; read only."""
        if self._record is None:
            self._record = codec.decode_record(self._record_bytes)
        return self._record

    @property
    def spec(self) -> TaskSpec:
        """Its spec."""
        if self._spec is None:
            self._spec = codec.decode_spec(self._spec_bytes)
        return self._spec

    @classmethod
    def of_stored(cls, stored: StoredTask, progress: AttemptProgressed | None = None) -> TaskSnapshot:
        """A task as the store has it."""
        return cls(stored.record, stored.spec, progress)


class Performance(msgspec.Struct, frozen=True):
    """What was learned of an agent on one task type."""

    type: str
    count: int
    success_rate: float
    duration_ms: float


class AgentSnapshot(msgspec.Struct, frozen=True):
    """An agent at one moment."""

    agent_id: str
    name: str
    capabilities: tuple[str, ...]
    labels: dict[str, str]
    slots: int
    in_use: int
    state: int
    connect_ms: int
    last_seen_ms: int
    sdk_version: str
    completed: int
    failed: int
    performance: tuple[Performance, ...]

    @classmethod
    def of(cls, agent: Agent, predictor: Predictor) -> AgentSnapshot:
        """The agent as it is now."""
        learned = predictor.agent_cells(agent.agent_id, agent.capabilities)[:PERFORMANCE_MAX]
        return cls(
            agent.agent_id,
            agent.name,
            tuple(sorted(agent.capabilities)),
            dict(agent.labels),
            agent.slots,
            agent.in_use,
            int(agent.state),
            agent.connect_ms,
            agent.last_seen_ms,
            agent.sdk_version,
            agent.completed,
            agent.failed,
            tuple(
                Performance(name, cell.count, cell.success_rate, cell.duration_ms) for name, cell in learned
            ),
        )
