"""What the engine is allowed: bounds, graces, intervals. One frozen group each."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - read when settings are converted
from math import log

import msgspec

from upbeat_server.engine.collaboration.mode import Mode  # noqa: TC001 - read when settings are converted


class Bounds(msgspec.Struct, frozen=True):
    """Admission bounds of one namespace; each has a refusal that names it."""

    queue_tasks_max: int = 1_000_000  # QUEUE_FULL
    queue_bytes_max: int = 4 << 30  # QUEUE_BYTES_FULL
    signatures_max: int = 1_000  # SIGNATURES_EXHAUSTED
    fairness_keys_max: int = 10_000  # FAIRNESS_KEYS_EXHAUSTED
    agents_max: int = 20_000  # AGENTS_EXHAUSTED
    lease_losses_max: int = 5
    group_output_bytes_max: int = 4 << 20  # OUTPUT_TOO_LARGE
    agent_unacked_bytes_max: int = 16 << 20  # Sent to an agent and not acknowledged: then nothing new.


class Graces(msgspec.Struct, frozen=True):
    """How long the engine waits for an agent before it acts."""

    heartbeat_interval_ms: int = 10_000
    suspect_after_ms: int = 22_000  # Two missed beats: nothing new.
    lease_timeout_ms: int = 30_000  # Silent: leases are lost.
    disconnect_grace_ms: int = 5_000  # Stream ended without goodbye: leases are lost.
    adoption_grace_ms: int = 30_000  # After a restart: leases nobody came back with are lost.
    ack_timeout_ms: int = 10_000  # Unacknowledged assignment: back to the queue.
    forget_agent_ms: int = 600_000  # A disconnected agent is listed this long.


class Ordering(msgspec.Struct, frozen=True):
    """The overdue lane (scheduling order, rule 2), and how much may be held back by name."""

    overdue_high_ms: int = 15_000
    overdue_normal_ms: int = 60_000
    overdue_low_ms: int = 240_000
    overdue_turn: int = 8  # Every n-th turn of an agent goes to an overdue head.
    limit_keys_max: int = 10_000  # LIMIT_KEYS_EXHAUSTED
    paused_types_max: int = 1_000  # PAUSED_TYPES_EXHAUSTED

    def overdue_ms(self, priority: int) -> int:
        """How long a task of this class may wait; 0: it never overtakes, as nothing goes before it."""
        return (0, self.overdue_low_ms, self.overdue_normal_ms, self.overdue_high_ms, 0)[priority]


class ChoiceRules(msgspec.Struct, frozen=True):
    """Which policy picks agents, and what the predictive one may do (``choice_predictive.py``)."""

    policy: str = "predictive"
    policies: Mapping[str, str] = {}  # Of namespaces that have another one.
    slow_factor: float = 2.5  # Slower than its peers by this, an agent is out.
    probe_turns: int = 64  # Tasks picked for between two probes of an agent that is out.
    hold_factor: float = 2.0  # Sooner by this a busy agent has to be done.
    hold_tasks_max: int = 8  # Beyond it nothing waits for a better agent,
    hold_ms: int = 5_000  # nor for longer than this.
    hedge_share: float = 0.05  # Second runs begun without being asked, of all that is handed out; 0: none.

    @property
    def log_hold(self) -> float:
        """``hold_factor`` in log space."""
        return log(self.hold_factor)


class Retention(msgspec.Struct, frozen=True):
    """How long finished tasks are kept, whichever comes first."""

    finished_ms: int = 86_400_000
    finished_tasks_max: int = 1_000_000
    purge_interval_ms: int = 10_000


class BusBounds(msgspec.Struct, frozen=True):
    """Bounds of the message bus of one namespace; each has a refusal that names it."""

    topics_max: int = 10_000  # TOPICS_EXHAUSTED; those of groups do not count.
    topic_messages_max: int = 1_000  # TOPIC_FULL
    topic_bytes_max: int = 1 << 20  # TOPIC_FULL
    messages_bytes_max: int = 256 << 20  # Of all topics; TOPIC_FULL
    topic_subscribers_max: int = 1_000  # SUBSCRIBERS_EXHAUSTED
    subscribers_max: int = 100_000  # SUBSCRIBERS_EXHAUSTED; children of groups do not count.
    dead_letters_max: int = 10_000  # Beyond it the oldest are forgotten,
    dead_letter_bytes_max: int = 64 << 20  # and beyond this.


class Delivery(msgspec.Struct, frozen=True):
    """How messages of the bus reach their subscribers."""

    unacked_max: int = 100  # Under way to one subscriber,
    unacked_bytes_max: int = 1 << 20  # and their bytes.
    stream_bytes_max: int = 16 << 20  # Under way on one stream.
    redelivery_ms: int = 30_000  # Unacknowledged for so long, it is sent again; twice as long each time,
    redelivery_max_ms: int = 300_000  # up to this.
    attempts_max: int = 10  # Then it is a dead letter.
    away_ms: int = 86_400_000  # A name that stays away for longer is forgotten.


class Limits(msgspec.Struct, frozen=True):
    """Everything the engine is allowed, and the modes that are installed besides its own."""

    bounds: Bounds = Bounds()
    graces: Graces = Graces()
    ordering: Ordering = Ordering()
    retention: Retention = Retention()
    bus: BusBounds = BusBounds()
    delivery: Delivery = Delivery()
    choice: ChoiceRules = ChoiceRules()
    modes: Mapping[str, Mode] = {}  # By name.
