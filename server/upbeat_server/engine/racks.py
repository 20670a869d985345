"""Where queued tasks that name limits wait, so that those without room are never looked at.

Within a lane the bins of one gate form a ``Rack``, and each rack stands in a ``Row``: the racks that one
quota of their gate lets through or holds back. A lane knows the rows of the quotas that have room and
none of the others. So a quota that fills up takes a row away and one that has room again puts it back,
however many tasks, fairness keys and gates stand behind it. A rack whose turn has come, but of which
another quota is shut, moves to the row of that one.

All of them are heaps of lower bounds, as everywhere in the queue: a rank that rose is found out when its
entry comes up, a rank that fell is entered anew.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from upbeat_server.engine.lane import Bin, Lane, Rank
    from upbeat_server.engine.quotas import Gate, Quota
    from upbeat_server.engine.task import Task

UNRANKED = (0.0, 0, 0)


class Member(Protocol):
    """What stands in a tier."""

    listed: bool  # Whether its tier holds an entry, with rank ``bound``.
    bound: Rank

    def first(self) -> tuple[Rank, Task] | None:
        """Its first task, with its rank; None if nothing of it can go."""

    def __lt__(self, other: object, /) -> bool:
        """Entries of equal rank are of one member: any order will do."""


MemberT = TypeVar("MemberT", bound=Member)


class Tier(Generic[MemberT]):
    """Members by the rank of their first task."""

    __slots__ = ("bound", "heap", "lane", "listed", "size")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.heap: list[tuple[Rank, MemberT]] = []
        self.size = 0  # Members.
        self.listed = False
        self.bound: Rank = UNRANKED

    def __lt__(self, other: object) -> bool:
        return False

    def place(self, member: MemberT, rank: Rank) -> None:
        """Tell that the member's rank is not above ``rank``."""
        if not member.listed or rank < member.bound:
            member.listed = True
            member.bound = rank
            if len(self.heap) > 2 * self.size + 64:
                self.heap = [entry for entry in self.heap if _holds(entry)]
                heapify(self.heap)
            heappush(self.heap, (rank, member))

    def least(self) -> Rank | None:
        """The lowest bound of all members; None if there is no member."""
        while self.heap and not _holds(self.heap[0]):
            heappop(self.heap)
        return self.heap[0][0] if self.heap else None

    def first(self) -> tuple[Rank, Task] | None:
        """The first task of all members, with its rank; None if nothing can go."""
        heap = self.heap
        while heap:
            rank, member = heap[0]
            if not _holds(heap[0]):
                heappop(heap)
                continue
            found = member.first()
            if found is None:
                heappop(heap)
                member.listed = False
                continue
            actual, task = found
            if actual == rank:
                return rank, task
            # A tuple of its own: an older entry may have been made of the one that was found.
            virtual, order_ms, task_id = actual
            member.bound = bound = (virtual, order_ms, task_id)
            heapreplace(heap, (bound, member))
            if heap[0][0] is bound:
                return bound, task
        return None


def _holds(entry: tuple[Rank, Member]) -> bool:
    """Whether a heap entry was not superseded by one with a lower bound."""
    return entry[1].listed and entry[1].bound is entry[0]


class Rack(Tier["Bin"]):
    """The bins of one gate in one lane. It is there while it has any."""

    __slots__ = ("gate", "row")

    def __init__(self, lane: Lane, gate: Gate, row: Row) -> None:
        super().__init__(lane)
        self.gate = gate
        self.row = row
        row.size += 1

    def enter(self, bin_: Bin, rank: Rank) -> None:
        """Tell that the bin's rank is not above ``rank``, here and in all that the rack stands in."""
        self.place(bin_, rank)
        row = self.row
        row.place(self, rank)
        if not row.quota.shut:
            self.lane.enter(row, rank)

    def lose(self) -> None:
        """A bin of it has become empty."""
        self.size -= 1
        if not self.size:
            del self.gate.racks[self.lane]
            self.row.lose(self)


class Row(Tier[Rack]):
    """The racks of one lane that stand behind one quota. It is there while it has any."""

    __slots__ = ("quota",)

    def __init__(self, lane: Lane, quota: Quota) -> None:
        super().__init__(lane)
        self.quota = quota

    def lose(self, rack: Rack) -> None:
        """A rack of it is gone, or stands elsewhere now."""
        rack.listed = False
        self.size -= 1
        if not self.size:
            self.listed = False
            del self.quota.rows[self.lane]

    def first(self) -> tuple[Rank, Task] | None:
        """The first task that may go; racks that another quota holds back move there on the way."""
        if self.quota.shut:
            return None
        while (found := super().first()) is not None:
            rack = self.heap[0][1]
            other = rack.gate.blocker()
            if other is None:
                return found
            heappop(self.heap)
            self.lose(rack)
            rack.row = other.row_in(self.lane)
            rack.row.size += 1
            rack.row.place(rack, found[0])
        return None
