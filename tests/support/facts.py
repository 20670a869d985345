"""What somebody outside the server did, was told or saw: one struct each, kept in the order of noting.

The clock is that of the machine (``CLOCK_MONOTONIC``), the same for all processes on it. A fact of
an act is noted before the act, one of an answer after it, so that between two facts lies at least
what they say. A process that can be killed writes each fact to a file with one ``write``.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TypeAlias

import msgspec


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all facts."""

    at_ns: int = msgspec.field(default_factory=time.monotonic_ns)


class Submitting(Noted, frozen=True):
    """A caller is about to submit; ``body`` is the input."""

    request_id: str
    body: str
    is_unsafe: bool = False
    attempts_max: int = 3


class Acknowledged(Noted, frozen=True):
    """A submission was accepted."""

    request_id: str
    task_id: str


class Refused(Noted, frozen=True):
    """A submission was definitely refused: it had no effect."""

    request_id: str
    body: str
    reason: str


class Unanswered(Noted, frozen=True):
    """A submission or a cancellation got no definite answer."""

    name: str  # A request_id, or a task_id.


class Seen(Noted, frozen=True):
    """A caller was told how a task is; ``asked_ns`` is when it asked, or when the frame came."""

    task_id: str
    state: str
    asked_ns: int
    output: str | None = None
    attempt: int = 0
    by: str = ""  # How: GetTask, StreamTasks, ...


class Cancelling(Noted, frozen=True):
    """A caller is about to cancel a task."""

    task_id: str


class CancelAnswered(Noted, frozen=True):
    """A cancellation was answered: CANCELLED, or the state in which the task had ended before."""

    task_id: str
    state: str


class Assigned(Noted, frozen=True):
    """An agent's process was handed an attempt."""

    agent_id: str
    process: str
    task_id: str
    lease_id: str
    attempt: int


class Began(Noted, frozen=True):
    """A handler begins."""

    agent_id: str
    process: str
    task_id: str
    lease_id: str
    attempt: int


class Worked(Noted, frozen=True):
    """A handler begins on work with this idempotency key."""

    key: str
    task_id: str
    agent_id: str


class Heard(Noted, frozen=True):
    """A member of a group was handed what another said."""

    by: int
    publisher: int
    number: int
    is_again: bool  # As the server flagged it.


class Stopped(Noted, frozen=True):
    """A handler was told to stop."""

    agent_id: str
    lease_id: str
    reason: str


class Reported(Noted, frozen=True):
    """A result is about to be sent; ``output`` None: it is an error."""

    agent_id: str
    lease_id: str
    output: str | None


class Judged(Noted, frozen=True):
    """The server answered a result: ACCEPTED, STALE, UNKNOWN or REJECTED."""

    agent_id: str
    lease_id: str
    outcome: str


class WatchBegan(Noted, frozen=True):
    """A watch was opened: with a snapshot (revision 0), or after a revision."""

    watch: str
    revision: int


class Snapshotted(Noted, frozen=True):
    """The snapshot of a watch is over; it is complete up to the revision."""

    watch: str
    revision: int


class Watched(Noted, frozen=True):
    """A watch told of a task."""

    watch: str
    revision: int
    task_id: str
    state: str
    attempt: int


class WatchCaughtUp(Noted, frozen=True):
    """A watch said that everything up to a revision has been sent."""

    watch: str
    revision: int


Fact: TypeAlias = (
    Submitting
    | Acknowledged
    | Refused
    | Unanswered
    | Seen
    | Cancelling
    | CancelAnswered
    | Assigned
    | Began
    | Worked
    | Heard
    | Stopped
    | Reported
    | Judged
    | WatchBegan
    | Snapshotted
    | Watched
    | WatchCaughtUp
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Fact).decode


class Ledger:
    """Facts of this process, for any thread."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self._counts: Counter[type[Noted]] = Counter()
        self._changed = threading.Condition()

    def note(self, fact: Fact) -> None:
        """Keep a fact."""
        with self._changed:
            self.facts.append(fact)
            self._counts[type(fact)] += 1
            self._changed.notify_all()

    def count(self, kind: type[Noted]) -> int:
        """How many facts of a kind there are."""
        return self._counts[kind]

    def wait_for(self, kind: type[Noted], count: int, timeout_s: float = 60.0) -> None:
        """Wait until there are so many facts of a kind. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._counts[kind] >= count, timeout=timeout_s):
                raise TimeoutError(f"{self._counts[kind]} of {count} x {kind.__name__} in {timeout_s:g} s")


class FactFile:
    """Facts of a process that can be killed at any moment."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, fact: Fact) -> None:
        """Keep a fact; it is in the file when this returns."""
        os.write(self._file, _encode(fact) + b"\n")


class FactReader:
    """Reads a file of facts that somebody else writes, piece by piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.facts: list[Fact] = []

    def read(self) -> list[Fact]:
        """All facts so far; a line that is not whole yet is left for later."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole, end, _ = file.read().rpartition(b"\n")
            self.facts += [_decode(line) for line in whole.splitlines()]
            self._offset += len(whole) + len(end)
        return self.facts
