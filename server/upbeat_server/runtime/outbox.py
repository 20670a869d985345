"""The outbox of an agent's stream: what waits while a write is in flight.

One writer takes from it; whatever has gathered goes out as one parcel, bounded in
items and bytes. Control (welcome, acks, cancels, drain, errors) goes before
assignments. A cancel never overtakes its own assignment: one that still waits is
taken back and the cancel goes out alone, one that went is before it. Assignments are
bounded by the agent's slots and by what it may leave unacknowledged; an outbox that
is full of answers ends its stream and delays nobody else.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.runtime.bell import Bell
from upbeat_server.runtime.mailbag import BusParcel, Mailbag

if TYPE_CHECKING:
    from upbeat_server.engine.commands import Welcome
    from upbeat_server.engine.events import AttemptProgressed
    from upbeat_server.engine.model import Error, Refusal, TaskSpec
    from upbeat_server.runtime.bounds import StreamBounds


class Assignment(msgspec.Struct):
    """One attempt to hand out. All of it is immutable."""

    task_id: int
    lease_id: int
    attempt: int
    spec: TaskSpec
    time_remaining_ms: int
    last_progress: AttemptProgressed | None
    turn_started: float  # Loop time of the turn that made it.
    parent_id: int = 0  # Of a child: its collaboration.
    member: str = ""  # And what it is to that.
    traceparent: str = ""  # What the agent's own spans hang below.


class Cancellation(msgspec.Struct, frozen=True):
    """An attempt that is no longer wanted."""

    lease_id: int
    reason: str
    grace_ms: int = 0  # For winding up; 0: as the agent likes.


class ResultAnswer(msgspec.Struct, gc=False):
    """The answer to one result; ``lease`` is text when it was no lease id."""

    lease: int | str
    outcome: int
    error: Error | None


class Parcel(msgspec.Struct):
    """One frame to an agent."""

    welcome: Welcome | None = None
    assignments: list[Assignment] = []
    cancels: list[Cancellation] = []
    answers: list[ResultAnswer] = []
    drain: str = ""
    error: Refusal | None = None
    bus: BusParcel | None = None

    @property
    def has_control(self) -> bool:
        """Whether there is more than assignments and answers."""
        return bool(self.cancels or self.welcome or self.bus or self.drain or self.error)


class AgentOutbox:
    """What waits for the writer of one agent's stream."""

    def __init__(self, bounds: StreamBounds) -> None:
        self._bounds = bounds
        self._welcome: Welcome | None = None
        self._assignments: dict[int, Assignment] = {}
        self._cancels: dict[int, Cancellation] = {}
        self._answers: list[ResultAnswer] = []
        self._errors: deque[Refusal] = deque()
        self.mail = Mailbag(bounds)
        self._drain = ""
        self._bell = Bell()
        self._is_finishing = False

    @property
    def is_full(self) -> bool:
        """Whether its reader is too slow to be kept.

        Assignments and cancels do not count: there is one at most for each slot, however slow
        the reader, and a new agent with many slots has not been slow at all.
        """
        return len(self._answers) + len(self._errors) + self.mail.answers > self._bounds.agent_items_max

    def welcome(self, welcome: Welcome) -> None:
        """Answer hello."""
        self._welcome = welcome
        self._bell.ring()

    def assign(self, assignment: Assignment) -> None:
        """Hand out an attempt."""
        self._assignments[assignment.lease_id] = assignment
        self._bell.ring()

    def cancel(self, lease_id: int, reason: str, grace_ms: int = 0) -> None:
        """Say that an attempt is no longer wanted; what has not been sent of it never will be."""
        self._assignments.pop(lease_id, None)
        self._cancels[lease_id] = Cancellation(lease_id, reason, grace_ms)
        self._bell.ring()

    def answer(self, lease: int | str, outcome: int, error: Error | None = None) -> None:
        """Answer a result."""
        self._answers.append(ResultAnswer(lease, outcome, error))
        self._bell.ring()

    def drain(self, reason: str) -> None:
        """Say that nothing new will come."""
        self._drain = reason
        self._bell.ring()

    def error(self, refusal: Refusal) -> None:
        """Say what was wrong with a frame."""
        self._errors.append(refusal)
        self._bell.ring()

    def stir(self) -> None:
        """Something was put into the mail."""
        self._bell.ring()

    def finish(self) -> None:
        """Nothing comes any more: what waits is sent, then ``take`` answers None."""
        self._is_finishing = True
        self._bell.ring()

    async def take(self) -> Parcel | None:
        """The next frame, never empty; None after the last."""
        while not self._has_any():
            if self._is_finishing:
                return None
            await self._bell.wait()
        return self._pack()

    def _has_any(self) -> bool:
        return bool(
            self._assignments
            or self._answers
            or self._cancels
            or self._welcome
            or self._errors
            or self._drain
            or self.mail
        )

    def _pack(self) -> Parcel:
        parcel = Parcel(self._welcome, drain=self._drain)
        self._welcome, self._drain = None, ""
        room = self._bounds.frame_items_max
        if self._errors:
            parcel.error = self._errors.popleft()
        if self._answers:
            parcel.answers = self._answers[:room]
            del self._answers[:room]
        if self._assignments:
            parcel.assignments = self._pack_assignments(max(room - len(parcel.answers), 1))
        if self._cancels:
            for lease_id in list(islice(self._cancels, room)):
                parcel.cancels.append(self._cancels.pop(lease_id))
        if self.mail:
            parcel.bus = self.mail.pack()
        return parcel

    def _pack_assignments(self, items_max: int) -> list[Assignment]:
        waiting = self._assignments
        bytes_left = self._bounds.frame_bytes_max
        packed: list[Assignment] = []
        for assignment in islice(waiting.values(), items_max):
            bytes_left -= _size_of(assignment)
            if bytes_left < 0 and packed:
                break
            packed.append(assignment)
        if len(packed) == len(waiting):
            waiting.clear()
        else:
            for assignment in packed:
                del waiting[assignment.lease_id]
        return packed


def _size_of(assignment: Assignment) -> int:
    spec = assignment.spec
    size = len(spec.input.data) + 256
    if spec.context:
        size += sum(len(entry.payload.data) + 64 for entry in spec.context)
    return size
