"""A live task: its record, its spec, and what is only in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.choice_predictive import Reasons
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.events import AttemptProgressed
    from upbeat_server.engine.hedging import Shadow
    from upbeat_server.engine.lane import Bin, FairnessKey
    from upbeat_server.engine.model import TaskId, TaskRecord, TaskSpec
    from upbeat_server.engine.queue import Signature
    from upbeat_server.engine.quotas import Gate


class Task:
    """An unfinished task (or one that finished in this turn)."""

    __slots__ = (
        "ack_due_ms",
        "agent",
        "bin",
        "charged_key",
        "charged_ms",
        "chosen",
        "cost_before",
        "gate",
        "group",
        "held_for",
        "held_since_ms",
        "is_sticky",
        "member_of",
        "panel",
        "paused_ms",
        "progress",
        "queue_stamp",
        "record",
        "rejections",
        "shadow",
        "signature",
        "spec",
        "spec_bytes",
        "spec_size",
        "stored_state",
        "task_id",
        "timer_ms",
        "told_attempt",
        "unacked_bytes",
    )

    def __init__(self, record: TaskRecord, spec: TaskSpec, signature: Signature) -> None:
        self.task_id: TaskId = record.task_id  # type: ignore[assignment]
        self.record = record
        self.spec = spec
        self.signature = signature
        # The spec as bytes until it was handed to the store once, then None.
        self.spec_bytes: bytes | None = None
        # Size of the spec as it is stored.
        self.spec_size = 0
        # State as of the last commit; 0 before the first. The runtime's own.
        self.stored_state = 0
        # The last attempt whose end was told to a tracer. The runtime's own, too.
        self.told_attempt = 0
        # Who holds the current lease; None while RUNNING means: not adopted yet.
        self.agent: Agent | None = None
        # When an assignment that is not acknowledged returns; 0: it was, or need not be.
        self.ack_due_ms = 0
        # Size of its spec while its agent has not shown that it has the attempt; else 0.
        self.unacked_bytes = 0
        # What the running attempt said last.
        self.progress: AttemptProgressed | None = None
        # By agent that gave it back: how often, and until when it is not offered there.
        self.rejections: dict[str, tuple[int, int]] | None = None
        # Engine time at which the attempt's deadline stopped (not adopted yet); 0: it runs.
        self.paused_ms = 0
        # Of its valid entry in the queue, and where that is; 0 and None: not queued.
        self.queue_stamp = 0
        self.bin: Bin | None = None
        # The quotas that it counts against; None: it names no limits.
        self.gate: Gate | None = None
        # What its fairness key paid for the running attempt, and which key that was.
        self.charged_ms = 0.0
        self.charged_key: FairnessKey | None = None
        # Why its agent was picked, if the policy has something to say.
        self.chosen: Reasons | None = None
        # Since when it waits for a better agent although one is free; 0: it does not.
        self.held_since_ms = 0
        # The agent that it waits for then, by id; "" if it left the free ones to other work, or never waited.
        self.held_for = ""
        # Whether its agent was picked because of its sticky key.
        self.is_sticky = False
        # An older attempt that goes on beside the current one.
        self.shadow: Shadow | None = None
        # Bucket of its one timer; 0: not armed.
        self.timer_ms = 0
        # Of a collaboration that runs: its children and its mode.
        self.group: Group | None = None
        # Of a child: the group that it works for.
        self.member_of: Group | None = None
        # Of a child: those of one panel never go to the same agent. "": any agent will do.
        self.panel = ""
        # Of a child: its cost before the running attempt, in micros.
        self.cost_before = 0
