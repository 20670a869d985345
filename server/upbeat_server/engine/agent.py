"""A live agent: who it is, what it offers, what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.model import NO_SESSION, AgentState

if TYPE_CHECKING:
    from upbeat_server.engine.fleet import Profile
    from upbeat_server.engine.model import SessionId
    from upbeat_server.engine.task import Task


class Agent:
    """An agent as the engine knows it."""

    __slots__ = (
        "agent_id",
        "available",
        "capabilities",
        "completed",
        "connect_ms",
        "drain_wanted",
        "failed",
        "fenced_sessions",
        "free_place",
        "free_stamp",
        "index",
        "labels",
        "last_seen_ms",
        "last_session_id",
        "leases",
        "name",
        "probe_due",
        "profile",
        "sdk_version",
        "session_id",
        "slots",
        "state",
        "timer_ms",
        "turn",
        "unacked_bytes",
    )

    def __init__(self, agent_id: str, index: int) -> None:
        self.agent_id = agent_id
        self.index = index  # Smaller ones came first; breaks ties.
        self.name = agent_id
        self.capabilities: frozenset[str] = frozenset()
        self.labels: dict[str, str] = {}
        self.slots = 0
        # Lease to its task; None: the task moved on, the slot waits for the agent to stop.
        self.leases: dict[int, Task | None] = {}
        self.state = AgentState.DISCONNECTED
        self.session_id: SessionId = NO_SESSION
        self.last_session_id: SessionId = NO_SESSION  # What a hello must name to resume.
        self.fenced_sessions: tuple[SessionId, ...] = ()  # Taken over lately; they may not resume.
        self.sdk_version = ""
        self.connect_ms = 0
        self.last_seen_ms = 0
        self.drain_wanted = False
        self.unacked_bytes = 0  # Of the attempts that it has not acknowledged.
        self.profile: Profile | None = None
        self.completed = 0
        self.failed = 0
        self.turn = 0  # Tasks handed to it; every 8th one may go to the overdue lane.
        self.available = False  # Counted among the free agents of its profile.
        self.free_place = 0  # Among the free agents of its profile, while it is one.
        self.probe_due = 0  # From which pick on it may be probed, if it is out.
        self.free_stamp = 0  # Of its valid entry among the free agents of its profile.
        self.timer_ms = 0  # Bucket of its one timer; 0: not armed.

    @property
    def in_use(self) -> int:
        """Slots taken, attempts that are being stopped included."""
        return len(self.leases)
