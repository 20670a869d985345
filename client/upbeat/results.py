"""Results of an agent, kept until the server has answered them.

Each new stream sends all of them again. What ended is remembered for a while,
so that a late repeat of its assignment is not run again.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from upbeat.v1 import agent_service_pb2 as wire
from upbeat.v1 import payload_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat.speech import Speech

REPORTED_MAX = 4_096


class Results:
    """By lease, in the order in which they came."""

    def __init__(self) -> None:
        self.output_bytes_max = 0  # What the server takes; 0: not told.
        self._by_lease: dict[str, wire.AttemptResult] = {}
        self._unsent: dict[str, None] = {}
        self._reported: dict[str, None] = {}  # Answered leases, the oldest first.

    def __contains__(self, lease_id: str) -> bool:
        return lease_id in self._by_lease

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_lease)

    def __len__(self) -> int:
        return len(self._by_lease)

    @property
    def has_unsent(self) -> bool:
        """Whether one has not been sent on this stream."""
        return bool(self._unsent)

    def was_reported(self, lease_id: str) -> bool:
        """Whether the lease ended here and was answered, not too long ago."""
        return lease_id in self._reported

    def keep(self, result: wire.AttemptResult) -> None:
        """Send it, now and on every new stream, until it is forgotten."""
        self._by_lease[result.lease_id] = result
        self._unsent[result.lease_id] = None

    def resend(self) -> None:
        """A new stream: none of them has been sent on it."""
        self._unsent = dict.fromkeys(self._by_lease)

    def forget(self, lease_id: str) -> bool:
        """The server has answered, or does not want it; False if there is none."""
        if self._by_lease.pop(lease_id, None) is None:
            return False
        self._unsent.pop(lease_id, None)
        self.remember(lease_id)
        return True

    def remember(self, lease_id: str) -> None:
        """The lease has ended here: it is not begun again."""
        self._reported[lease_id] = None
        for oldest in list(islice(self._reported, max(0, len(self._reported) - REPORTED_MAX))):
            del self._reported[oldest]

    def clear(self) -> None:
        """None of them is ours any more."""
        self._by_lease.clear()
        self._unsent.clear()

    def move_to(
        self, frame: wire.ConnectRequest, speech: Speech, size: int, items_max: int, bytes_max: int
    ) -> None:
        """Put what fits into a frame that has `size` bytes already; what a lease said goes first."""
        for lease_id in list(self._unsent):
            if speech.has(lease_id):
                continue
            result = self._sendable(lease_id)
            size += result.ByteSize()
            is_empty = not frame.results and not frame.progress
            if not is_empty and (len(frame.results) >= items_max or size > bytes_max):
                return
            frame.results.append(result)
            del self._unsent[lease_id]

    def _sendable(self, lease_id: str) -> wire.AttemptResult:
        """The result, or an error in its place if the server would not take the output."""
        result = self._by_lease[lease_id]
        limit = self.output_bytes_max
        size = len(result.output.data) if result.WhichOneof("result") == "output" else 0
        if limit and size > limit:
            error = payload_pb2.Error(
                reason="OUTPUT_TOO_LARGE",
                message=f"the output has {size:,} bytes; the limit is {limit:,}: return a reference to it",
                non_retryable=True,
            )
            result = wire.AttemptResult(lease_id=lease_id, error=error, usage=result.usage)
            self._by_lease[lease_id] = result
        return result
