"""What the load did: counts of everything that happened, and what should not have."""

from __future__ import annotations

from collections import Counter

import grpc

EXPECTED = frozenset(
    {
        grpc.StatusCode.CANCELLED,  # We left.
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # A limit, with a hint when to come back.
        grpc.StatusCode.FAILED_PRECONDITION,  # To cancel what has ended.
        grpc.StatusCode.NOT_FOUND,  # Purged.
        grpc.StatusCode.OUT_OF_RANGE,  # A watch that resumes too late.
        grpc.StatusCode.ABORTED,  # An agent that a newer stream fenced.
    }
)

LOCAL = "Internal error from Core"
"""What grpc.aio says of a write to a call that has ended; no server sends it."""


class Tally:
    """Counts by name; ``errors`` are those that nobody provoked."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def count(self, what: str, number: int = 1) -> None:
        """Something was done."""
        self.done[what] += number

    def failed(self, what: str, error: grpc.aio.AioRpcError) -> None:
        """A call ended with a status."""
        name = f"{what}: {error.code().name}"
        if error.details() == LOCAL:
            self.count(f"{what}: wrote to a call that had ended")
        elif error.code() in EXPECTED:
            self.refused[name] += 1
        else:
            self.errors[f"{name}: {error.details()}"] += 1
