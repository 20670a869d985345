"""Watches: in order of revision, without a gap, without a duplicate, and true.

A stretch is what one watch was told without a new snapshot, over any number of reconnects that
resumed. A snapshot leaves out what changes while it is taken: that comes as a change. A gap is told by
three things: a task whose attempts rise by more than one from event to event (a commit grants one at
most), an event that another watch had within the same revisions, and a task whose last revision the
watch should have had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.final import ENDED
from tests.support import facts as f

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.faults.final import FinalTask
    from tests.support.facts import Fact


class Stretch:
    """What a watch was told between two snapshots."""

    def __init__(self, watch: str) -> None:
        self.watch = watch
        self.first = 0  # Changes above it belong to the stretch.
        self.last = 0  # Everything up to it was told.
        self.pictures: dict[str, f.Watched] = {}  # The last of each task.
        self.changes: dict[int, tuple[str, str]] = {}  # (task_id, state) by revision.
        self.problems: list[str] = []
        self._newest = 0  # Revision of the last change.
        self._is_snapshot = True

    def snapshot_done(self, revision: int) -> None:
        """Changes follow."""
        self._is_snapshot = False
        self.first = self.last = self._newest = revision
        late = [told for told in self.pictures.values() if told.revision > revision]
        if late:
            self.problems.append(f"{self.watch}: a snapshot up to {revision} holds {late[0].revision}")

    def resumed(self, revision: int) -> None:
        """A new stream goes on after a revision."""
        if revision != self.last:
            self.problems.append(f"{self.watch}: resumed after {revision}, had {self.last}")

    def told(self, event: f.Watched) -> None:
        """An event arrived."""
        before = self.pictures.get(event.task_id)
        self.pictures[event.task_id] = event
        where = f"{self.watch}: {event.task_id} at {event.revision}"
        if self._is_snapshot:
            if before is not None:
                self.problems.append(f"{where} is twice in a snapshot")
            return
        if event.revision in self.changes:
            self.problems.append(f"{where} came twice")
        elif event.revision <= self._newest:
            self.problems.append(f"{where} came out of order")
        self._newest = max(self._newest, event.revision)
        self.changes[event.revision] = (event.task_id, event.state)
        if before is not None and not 0 <= event.attempt - before.attempt <= 1:
            self.problems.append(f"{where} went from attempt {before.attempt} to {event.attempt}: a gap")
        if before is not None and before.state in ENDED:
            self.problems.append(f"{where} had ended as {before.state}")

    def caught_up(self, revision: int) -> None:
        """Everything up to the revision was told."""
        if revision < self.last:
            self.problems.append(f"{self.watch}: went back from {self.last} to {revision}")
        self.last = revision


def stretches(facts: Iterable[Fact]) -> list[Stretch]:
    """The stretches of all watches."""
    open_: dict[str, Stretch] = {}
    found: list[Stretch] = []
    for fact in facts:
        match fact:
            case f.WatchBegan(watch=watch, revision=0):
                open_[watch] = Stretch(watch)
                found.append(open_[watch])
            case f.WatchBegan():
                open_[fact.watch].resumed(fact.revision)
            case f.Snapshotted():
                open_[fact.watch].snapshot_done(fact.revision)
            case f.Watched():
                open_[fact.watch].told(fact)
            case f.WatchCaughtUp():
                open_[fact.watch].caught_up(fact.revision)
            case _:
                pass
    return found


def check_watches(facts: Iterable[Fact], tasks: dict[str, FinalTask]) -> Iterator[str]:
    """Every violation as a sentence."""
    found = stretches(facts)
    for stretch in found:
        yield from stretch.problems
        for told in stretch.pictures.values():
            task = tasks.get(told.task_id)
            if task is None:
                yield f"{stretch.watch}: {told.task_id} is not there"
            elif told.revision > task.revision or (told.state in ENDED and told.state != task.state):
                yield f"{stretch.watch}: {told.task_id} was {told.state}, it is {task.state}"
        for task in tasks.values():
            if stretch.first < task.revision <= stretch.last and task.revision not in stretch.changes:
                yield f"{stretch.watch}: lacks revision {task.revision} of {task.task_id}"
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            yield from _differences(one, other)


def _differences(one: Stretch, other: Stretch) -> Iterator[str]:
    """What one of two had and the other lacks within the revisions that both had."""
    low, high = max(one.first, other.first), min(one.last, other.last)
    for mine, theirs in ((one, other), (other, one)):
        for revision, event in mine.changes.items():
            if low < revision <= high and theirs.changes.get(revision) != event:
                yield f"{theirs.watch} lacks revision {revision} of {event[0]}, which {mine.watch} had"
