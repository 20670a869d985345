"""What is counted over the life of an engine, for stats and metrics."""

from __future__ import annotations

from upbeat_server.engine.model import FINISHED, AttemptOutcome, TaskState


class Counters:
    """Counts since the server started; ``live`` are those of now."""

    __slots__ = (
        "acked",
        "attempts",
        "collaborations",
        "dead_lettered",
        "delivered",
        "dispatched",
        "finished",
        "hedges",
        "leases_lost",
        "live",
        "published",
        "redelivered",
        "retries",
        "submitted",
        "wasted_ms",
    )

    def __init__(self) -> None:
        self.submitted = 0
        self.live: dict[int, int] = {state: 0 for state in TaskState if state not in FINISHED}
        self.finished: dict[int, int] = dict.fromkeys(FINISHED, 0)
        self.attempts: dict[int, int] = dict.fromkeys(AttemptOutcome, 0)
        self.retries = 0
        self.leases_lost = 0
        self.dispatched = 0
        self.hedges = 0  # Of them, second runs that were begun on a suspicion.
        self.wasted_ms = 0  # Of agents' time, on children whose work was not used.
        self.collaborations: dict[str, dict[int, int]] = {}  # Ended ones, by mode and final state.
        self.published = 0  # Messages of the bus;
        self.delivered = 0  # how often one was sent to a subscriber, repeats included,
        self.redelivered = 0
        self.acked = 0
        self.dead_lettered = 0

    def decided(self, mode: str, state: int, wasted_ms: int) -> None:
        """A collaboration ended in this state."""
        self.wasted_ms += wasted_ms
        counts = self.collaborations.get(mode)
        if counts is None:
            counts = self.collaborations[mode] = dict.fromkeys(FINISHED, 0)
        counts[state] += 1
