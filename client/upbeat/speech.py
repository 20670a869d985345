"""What running attempts have said and no frame has carried yet.

Of progress only the latest of each lease is kept; pieces of output keep their
order and number, and the oldest are dropped beyond a bound, which shows as a
gap in the numbers. Nothing here is durable, so nothing is kept for a resend.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upbeat.v1 import agent_service_pb2 as wire

CHUNKS_MAX = 256


@dataclass(slots=True)
class _Unsaid:
    """Of one lease."""

    sequence: int = 0
    fraction: float = 0.0
    message: str = ""
    is_fresh: bool = False  # Fraction and message have not been sent.
    chunks: deque[tuple[int, bytes]] = field(default_factory=deque)

    @property
    def has_any(self) -> bool:
        return self.is_fresh or bool(self.chunks)


class Speech:
    """Of all leases."""

    def __init__(self) -> None:
        self._by_lease: dict[str, _Unsaid] = {}
        self._waiting: dict[str, None] = {}  # Leases that have something, in turn.

    def say(self, lease_id: str, fraction: float, message: str) -> None:
        """How far an attempt is; replaces what was said before."""
        unsaid = self._by_lease.setdefault(lease_id, _Unsaid())
        unsaid.fraction, unsaid.message, unsaid.is_fresh = fraction, message, True
        self._waiting[lease_id] = None

    def emit(self, lease_id: str, chunk: bytes) -> int:
        """A piece of output; answers how many older ones were dropped to keep the bound."""
        unsaid = self._by_lease.setdefault(lease_id, _Unsaid())
        unsaid.sequence += 1
        unsaid.chunks.append((unsaid.sequence, chunk))
        self._waiting[lease_id] = None
        if len(unsaid.chunks) <= CHUNKS_MAX:
            return 0
        unsaid.chunks.popleft()
        return 1

    def has(self, lease_id: str) -> bool:
        """Whether something of the lease has not been sent."""
        return lease_id in self._waiting

    def forget(self, lease_id: str) -> None:
        """The lease has ended."""
        self._by_lease.pop(lease_id, None)
        self._waiting.pop(lease_id, None)

    def move_to(self, frame: wire.ConnectRequest, items_max: int, bytes_max: int) -> int:
        """Put what fits into a frame, a lease after the other; answers its size in bytes."""
        size = 0
        for lease_id in list(self._waiting):
            unsaid = self._by_lease[lease_id]
            while unsaid.has_any:
                chunk_bytes = len(unsaid.chunks[0][1]) if unsaid.chunks else 0
                size_next = 64 + len(lease_id) + len(unsaid.message) * 4 + chunk_bytes
                if frame.progress and (len(frame.progress) >= items_max or size + size_next > bytes_max):
                    return size
                size += size_next
                self._move_one(lease_id, unsaid, frame)
            del self._waiting[lease_id]
        return size

    @staticmethod
    def _move_one(lease_id: str, unsaid: _Unsaid, frame: wire.ConnectRequest) -> None:
        item = frame.progress.add(lease_id=lease_id, fraction=unsaid.fraction, message=unsaid.message)
        if unsaid.chunks:
            item.sequence, item.chunk = unsaid.chunks.popleft()
        unsaid.is_fresh = False
