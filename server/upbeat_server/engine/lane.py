"""The queued tasks of one requirement and class, by fairness key.

Both heaps, that of a lane's bins and that of a bin's tasks, are cleaned lazily: what left is
dropped when it comes up - of a bin at once, so that the task at its top is always queued. A bin
stands in its lane under a lower bound of its rank, which rises with the virtual time of its key
and falls when a task comes that goes before the others.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from upbeat_server.engine.queue import Signature
    from upbeat_server.engine.quotas import Gate
    from upbeat_server.engine.racks import Rack, Row
    from upbeat_server.engine.task import Task

BinName: TypeAlias = "str | tuple[str, Gate]"
"""The fairness key, and the gate where its tasks have one."""

Rank: TypeAlias = tuple[float, int, int]
"""(virtual time of the key, order of the task in ms, task id); smaller goes first."""


class FairnessKey:
    """One fairness key within a class."""

    __slots__ = ("backlog", "credit", "name", "virtual")

    def __init__(self, name: str, virtual: float) -> None:
        self.name = name
        self.virtual = virtual
        self.backlog = 0  # Queued tasks over all lanes.
        self.credit = 0.0  # What it paid too much and has not used yet; 0 while it is idle.


class Bin:
    """The queued tasks of one fairness key and gate in one lane, first one first."""

    __slots__ = ("bound", "depth", "key", "lane", "listed", "name", "rack", "tasks")

    def __init__(self, lane: Lane, key: FairnessKey, name: BinName, rack: Rack | None) -> None:
        self.lane = lane
        self.key = key
        self.name = name
        self.rack = rack  # Where it stands; None: in its lane itself, for its tasks name no limits.
        self.tasks: list[tuple[int, int, int, Task]] = []  # (order, task id, stamp, task)
        self.depth = 0
        self.listed = False  # Whether its lane holds an entry, with rank ``bound``.
        self.bound: Rank = (0.0, 0, 0)

    def __lt__(self, other: object) -> bool:
        """Entries of equal rank are of one bin: any order will do."""
        return False

    def push(self, order_ms: int, task: Task) -> None:
        """Add a task; what left the bin is cleaned out when it outweighs what is in it."""
        tasks = self.tasks
        if len(tasks) > 2 * self.depth + 64:
            tasks = self.tasks = [entry for entry in tasks if entry[3].queue_stamp == entry[2]]
            heapify(tasks)
        heappush(tasks, (order_ms, task.record.task_id, task.queue_stamp, task))
        self.depth += 1

    def lose(self) -> None:
        """One of its tasks was taken out, and tells so by its stamp."""
        self.depth -= 1
        tasks = self.tasks
        if self.depth:
            while tasks[0][3].queue_stamp != tasks[0][2]:
                heappop(tasks)
        else:
            self.listed = False
            tasks.clear()

    @property
    def rank(self) -> Rank:
        """Rank of the first task. The bin must not be empty."""
        order_ms, task_id, _, _ = self.tasks[0]
        return (self.key.virtual, order_ms, task_id)

    def head(self) -> Task:
        """The first task. The bin must not be empty."""
        return self.tasks[0][3]

    def first(self) -> tuple[Rank, Task] | None:
        """The first task with its rank; None if it is empty."""
        return (self.rank, self.tasks[0][3]) if self.depth else None


class Lane:
    """The queued tasks of one signature and class."""

    __slots__ = ("bins", "bound", "depth", "keys", "listed", "priority", "signature")

    def __init__(self, signature: Signature, priority: int) -> None:
        self.signature = signature
        self.priority = priority
        self.bins: dict[BinName, Bin] = {}
        # Bins whose tasks name no limits, and rows whose quota is open.
        self.keys: list[tuple[Rank, Bin | Row]] = []
        self.depth = 0
        self.listed = False  # Whether Ready holds an entry, with rank ``bound``.
        self.bound: Rank = (0.0, 0, 0)

    def __lt__(self, other: Lane) -> bool:
        """Entries of equal rank are of one lane: any order will do."""
        return False

    @property
    def is_ready(self) -> bool:
        """Whether a task waits here and an agent for it is free."""
        return self.depth > 0 and bool(self.signature.free_profiles)

    def enter(self, bin_: Bin | Row, rank: Rank) -> None:
        """Tell that the rank of the bin or row is not above ``rank``."""
        if not bin_.listed or rank < bin_.bound:
            bin_.listed = True
            bin_.bound = rank
            if len(self.keys) > 2 * len(self.bins) + 64:
                self.keys = [entry for entry in self.keys if is_current(entry)]
                heapify(self.keys)
            heappush(self.keys, (rank, bin_))

    def first(self) -> tuple[Rank, Task] | None:
        """The first task by fairness and order, with its rank; None if nothing waits that may go."""
        keys = self.keys
        while keys:
            rank, bin_ = keys[0]
            if bin_.bound is not rank or not bin_.listed:
                heappop(keys)
            elif isinstance(bin_, Bin):
                order_ms, task_id, _, task = bin_.tasks[0]
                actual = bin_.key.virtual, order_ms, task_id  # As bin_.rank, without a call.
                if actual == rank:
                    return rank, task
                bin_.bound = actual
                heapreplace(keys, (actual, bin_))
                if keys[0][0] is actual:
                    return actual, task
            else:
                found = bin_.first()
                if found is None:
                    heappop(keys)
                    bin_.listed = False
                    continue
                if found[0] == rank:
                    return rank, found[1]
                bin_.bound = found[0]
                heapreplace(keys, (found[0], bin_))
                if keys[0][0] is found[0]:
                    return found
        return None


def is_current(entry: tuple[Rank, Bin | Row] | tuple[Rank, Lane]) -> bool:
    """Whether a heap entry was not superseded by one with a lower bound."""
    return entry[1].listed and entry[1].bound is entry[0]
