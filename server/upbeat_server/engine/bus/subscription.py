"""A subscription: what one subscriber wants of one topic, and what of it is under way.

A message that is wanted is either ready, waiting for a stream and for room, or in
flight, until it is acknowledged or its time is up. The lowest sequence goes first.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from upbeat_server.engine.bus.message import Source

if TYPE_CHECKING:
    from upbeat_server.engine.bus.message import Message
    from upbeat_server.engine.bus.topic import Kept, Topic

NO_OUTLET = 0


class Subscription:
    """One subscriber of one topic."""

    __slots__ = (
        "away_since_ms",
        "done",
        "doubt_below",
        "flight",
        "flight_bytes",
        "is_written",
        "lease_id",
        "name",
        "outlet",
        "owner",
        "ready",
        "repeats",
        "source",
        "subscription_id",
        "timer_ms",
        "topic",
        "wanted",
        "wanted_bytes",
    )

    def __init__(self, subscription_id: int, topic: Topic, name: str, source: int, owner: str) -> None:
        self.subscription_id = subscription_id
        self.topic = topic
        self.name = name  # Empty: it ends with its stream.
        self.source = source
        self.owner = owner  # Who reads; does not get what it published itself.
        self.outlet = NO_OUTLET  # The stream that it is delivered to.
        self.lease_id = 0  # Of the child that reads.
        self.wanted: dict[int, int] = {}  # Sequences in their order, and how often each was sent.
        self.wanted_bytes = 0
        self.ready: list[int] = []  # A heap of wanted sequences that are not in flight; may hold others.
        self.flight: dict[int, int] = {}  # Sequences, and when each is to be sent again.
        self.flight_bytes = 0
        self.done: set[int] = set()  # Kept above the first wanted, and not wanted any more.
        self.repeats: dict[int, int] = {}  # Of the wanted ones, those that were sent more than once.
        self.doubt_below = 0  # Lower sequences may have been sent before the server was started.
        self.away_since_ms = 0  # 0 while it has a stream.
        self.is_written = False  # Whether there is a note of it.
        self.timer_ms = 0  # Bucket of its one timer; 0: not armed.

    @property
    def is_durable(self) -> bool:
        """Whether it outlives its stream."""
        return bool(self.name)

    @property
    def follows(self) -> bool:
        """Whether it is as new as on the first day and follows from its child: no note is needed."""
        return self.source == Source.MEMBER and not self.is_written

    @property
    def key(self) -> str:
        """Its place in the topic."""
        return self.name or f"#{self.subscription_id}"  # No name has this character.

    @property
    def floor(self) -> int:
        """The first sequence that it wants, or will."""
        return next(iter(self.wanted), self.topic.next_sequence)

    def wants(self, message: Message) -> bool:
        """Whether a message is for it: not its own, and not for somebody else."""
        if message.to and message.to != self.name:
            return False
        return message.source != self.source or message.publisher != self.owner

    def want(self, kept: Kept) -> None:
        """It is to get a message. Sequences come in their order."""
        self.wanted[kept.sequence] = 0
        self.wanted_bytes += kept.size
        heappush(self.ready, kept.sequence)
        if self.is_durable:
            kept.needs += 1
        else:
            kept.listeners += 1

    def next_ready(self) -> int:
        """Take the lowest sequence that is ready; 0 for none."""
        while self.ready:
            sequence = heappop(self.ready)
            if sequence in self.wanted and sequence not in self.flight:
                return sequence
        return 0

    def put_back(self, sequence: int) -> None:
        """Undo ``next_ready``, or make ready what was in flight."""
        heappush(self.ready, sequence)

    def ground(self) -> None:
        """Nothing is in flight any more: all that is wanted is ready."""
        self.flight.clear()
        self.flight_bytes = 0
        self.ready = list(self.wanted)
        heapify(self.ready)
