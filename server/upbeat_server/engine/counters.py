"""What is counted over the life of an engine, for stats and metrics."""

from __future__ import annotations

from upbeat_server.engine.model import FINISHED, AttemptOutcome, TaskState


class Counters:
    """Counts since the server started; ``live`` are those of now."""

    __slots__ = ("attempts", "finished", "leases_lost", "live", "retries", "submitted")

    def __init__(self) -> None:
        self.submitted = 0
        self.live: dict[int, int] = {state: 0 for state in TaskState if state not in FINISHED}
        self.finished: dict[int, int] = dict.fromkeys(FINISHED, 0)
        self.attempts: dict[int, int] = dict.fromkeys(AttemptOutcome, 0)
        self.retries = 0
        self.leases_lost = 0
