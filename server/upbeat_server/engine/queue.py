"""Which task next: classes, fairness keys, deadlines - one total order.

For each requirement signature and class there is a ``Lane``: a heap of fairness
keys by virtual time, and for each key a heap of its tasks. Heaps are cleaned
lazily, so the cost of an operation does not depend on how many tasks wait.

Fairness is start-time fair queueing (Goyal, Vin, Cheng, 1996): a key pays
``predicted work / weight`` when a task is handed out and is corrected when the
attempt ends; a key that becomes backlogged again starts at the class's virtual
time, so that it neither keeps a grudge nor a debt from when it was idle. What a
backlogged key gets back is a credit against its next charges: the virtual time of
a key that waits never falls, so nothing has to be searched for and moved.

``Ready`` finds the first task over all lanes of a class that have a free agent.
Its entries are lower bounds of the lanes' ranks: a rank that rose is found out
when its entry comes up, a rank that fell is entered anew. A lane whose agents are
full keeps its entry, until it comes up: mostly an agent is free again before that.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, TypeAlias

from upbeat_server.engine.lane import Bin, FairnessKey, Lane, is_current
from upbeat_server.engine.model import Priority
from upbeat_server.engine.smallest import Smallest
from upbeat_server.engine.timers import WAKE_NEVER

if TYPE_CHECKING:
    from upbeat_server.engine.fleet import Profile
    from upbeat_server.engine.lane import Rank
    from upbeat_server.engine.model import Predicate, TaskSpec
    from upbeat_server.engine.task import Task

Requirement: TypeAlias = tuple[str, tuple[str, ...], str]
"""(type, required capabilities, selector): what an agent must satisfy."""

DEADLINE_MARGIN = 1.5
"""Predicted runs that a task with a deadline is moved ahead of it."""

SINCE_SHIFT = 10
"""How long the tasks of a class have waited is counted in pieces of 1,024 ms."""

READY_ENTRIES_MAX = 4_096
"""Entries after which superseded ones are cleaned out; live lanes are far fewer."""

IDLE_MAX = 64
"""Signatures without a task that are kept matched: a turn may look at all that an agent satisfies."""

CLASSES = (Priority.CRITICAL, Priority.HIGH, Priority.NORMAL, Priority.LOW)


def requirement_of(spec: TaskSpec) -> Requirement:
    """What an agent must satisfy to get a task."""
    return (spec.type, spec.required_capabilities, spec.selector)


class Signature:
    """One requirement that live tasks have, and which profiles of agents satisfy it."""

    __slots__ = (
        "aside",
        "free_profiles",
        "is_paused",
        "is_watched",
        "lanes",
        "live",
        "pending",
        "predicate",
        "profiles",
        "requirement",
        "waiting",
    )

    def __init__(self, requirement: Requirement, predicate: Predicate | None) -> None:
        self.requirement = requirement
        self.predicate = predicate
        self.live = 0  # Unfinished tasks with this requirement,
        self.pending = 0  # and those of them that are PENDING.
        self.is_watched = False  # Whether the fleet matches it.
        self.profiles: dict[Profile, None] = {}
        self.free_profiles: dict[Profile, None] = {}  # None while its type is paused.
        self.is_paused = False
        self.lanes: dict[int, Lane] = {}
        self.waiting = 0  # Lanes with a task.
        # Queued tasks that every free agent has failed or rejected; they step aside for others.
        self.aside: dict[Task, None] = {}

    @property
    def queued(self) -> int:
        """Tasks that are QUEUED, those that stepped aside included."""
        return len(self.aside) + sum(lane.depth for lane in self.lanes.values())


class Ready:
    """The lanes of one class that have both a task and a free agent, by rank."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[Rank, Lane]] = []  # It may hold lanes that have not, too.

    def enter(self, lane: Lane, rank: Rank) -> None:
        """Tell that the lane's rank is not above ``rank``."""
        if not lane.listed or rank < lane.bound:
            lane.listed = True
            lane.bound = rank
            if len(self._heap) > READY_ENTRIES_MAX:
                for _, idle in self._heap:
                    idle.listed = idle.listed and idle.depth > 0
                self._heap = [entry for entry in self._heap if is_current(entry)]
                heapify(self._heap)
            heappush(self._heap, (rank, lane))

    def pass_over(self, lane: Lane) -> None:
        """Nothing of the lane is best until it is entered anew: its first task waits for a better agent."""
        lane.listed = False

    def best(self) -> Task | None:
        """The task that goes first."""
        heap = self._heap
        while heap:
            rank, lane = heap[0]
            if lane.bound is rank and lane.listed:
                found = lane.first() if lane.signature.free_profiles else None
                if found is not None:
                    actual, task = found
                    if actual is rank:
                        return task
                    lane.bound = actual
                    heapreplace(heap, (actual, lane))
                    if heap[0][0] is actual:
                        return task
                    continue
                lane.listed = False
            heappop(heap)
        return None


class Queue:
    """All queued tasks of a namespace."""

    __slots__ = (
        "_since", "_stamp", "_swept_at", "class_virtual", "depth_by_priority", "idle", "keys",
        "open_signatures", "ready", "signatures",
    )  # fmt: skip

    def __init__(self) -> None:
        self.signatures: dict[Requirement, Signature] = {}  # Those that live tasks have.
        self.idle: dict[Requirement, Signature] = {}  # Of tasks that have ended, the longest idle first.
        # By class as a plain number, for members of an enumeration are found slowly.
        classes = [int(priority) for priority in CLASSES]
        self.keys: dict[int, dict[str, FairnessKey]] = {priority: {} for priority in classes}
        self.class_virtual: dict[int, float] = dict.fromkeys(classes, 0.0)
        self.depth_by_priority: dict[int, int] = dict.fromkeys(classes, 0)
        self.ready: dict[int, Ready] = {priority: Ready() for priority in classes}
        self._since: dict[int, Smallest] = {priority: Smallest() for priority in classes}
        self.open_signatures = 0  # Those that have both a task that waits and a free agent.
        self._stamp = 0
        self._swept_at: list[float] = []

    def rest(self, signature: Signature) -> Signature | None:
        """The last task of a signature has ended: it is kept a while, for most come again.

        Answers the one that makes room for it, to be forgotten.
        """
        del self.signatures[signature.requirement]
        self.idle[signature.requirement] = signature
        return self.idle.pop(next(iter(self.idle))) if len(self.idle) > IDLE_MAX else None

    def push(self, task: Task, expected_ms: float) -> None:
        """Queue a task whose record is QUEUED."""
        spec, signature = task.spec, task.signature
        priority = spec.priority
        lane = signature.lanes.get(priority)
        if lane is None:
            lane = signature.lanes[priority] = Lane(signature, priority)
        gate = task.gate
        name = spec.fairness_key if gate is None else (spec.fairness_key, gate)
        bin_ = lane.bins.get(name)
        if bin_ is None:
            rack = None
            if gate is not None:
                rack = gate.rack_in(lane)
                rack.size += 1
            bin_ = lane.bins[name] = Bin(lane, self._key(priority, spec.fairness_key), name, rack)
        key = bin_.key
        self._stamp += 1
        task.queue_stamp = self._stamp
        task.bin = bin_
        record = task.record
        order_ms = (
            order_of(task, expected_ms) if spec.total_timeout_ms else record.submit_ms or record.create_ms
        )
        bin_.push(order_ms, task)
        key.backlog += 1
        is_free = bool(signature.free_profiles)
        if not lane.depth:
            if is_free and not signature.waiting:
                self.open_signatures += 1
            signature.waiting += 1
        lane.depth += 1
        self.depth_by_priority[priority] += 1
        self._since[priority].add(1 + (record.queued_since_ms >> SINCE_SHIFT))
        rank = (key.virtual, order_ms, record.task_id)
        if not bin_.listed or rank < bin_.bound:
            if bin_.rack is None:
                lane.enter(bin_, rank)
            else:
                bin_.rack.enter(bin_, rank)
        if is_free:
            if not lane.listed or rank < lane.bound:
                self.ready[priority].enter(lane, rank)
        elif lane.listed and rank < lane.bound:
            lane.listed = False  # Its entry is none below it any more; it is entered when an agent is free.

    def _key(self, priority: int, name: str) -> FairnessKey:
        """The key, at the class's time if it is new or back from idling without a debt.

        Without this clamp it would come with a grudge. Back from idling it is another key than
        before: what attempts of back then give back is nothing to it.
        """
        keys = self.keys[priority]
        key = keys.get(name)
        if key is None or (not key.backlog and key.virtual <= self.class_virtual[priority]):
            key = keys[name] = FairnessKey(name, self.class_virtual[priority])
        return key

    def remove(self, task: Task) -> None:
        """Take a task out that was pushed. Its entries in heaps go when they come up."""
        priority = task.spec.priority
        bin_ = task.bin
        if bin_ is None:
            raise RuntimeError("a task that is not queued cannot be taken out")
        lane, key = bin_.lane, bin_.key
        task.queue_stamp = 0
        task.bin = None
        bin_.lose()
        key.backlog -= 1
        lane.depth -= 1
        depths = self.depth_by_priority
        depths[priority] -= 1
        self._since[priority].remove(1 + (task.record.queued_since_ms >> SINCE_SHIFT))
        if not bin_.depth:
            if not lane.depth:
                signature = lane.signature
                signature.waiting -= 1
                if not signature.waiting and signature.free_profiles:
                    self.open_signatures -= 1
            del lane.bins[bin_.name]
            if bin_.rack is not None:
                bin_.rack.lose()
            if not key.backlog:
                key.virtual -= key.credit
                key.credit = 0.0
                self._forget_idle(priority, key)
        if not depths[priority]:
            self._close_busy_period(priority)

    def charge(self, task: Task, work_ms: float) -> None:
        """A task was taken out to be run: its key pays for the work expected, if anything waits."""
        spec = task.spec
        priority = spec.priority
        if not self.depth_by_priority[priority]:
            return
        key = self.keys[priority].get(spec.fairness_key)
        if key is None or not key.backlog:
            key = self._key(priority, spec.fairness_key)
        self.class_virtual[priority] = max(self.class_virtual[priority], key.virtual)
        work = work_ms / spec.fairness_weight
        if key.credit:
            credit = min(work, key.credit)
            key.credit -= credit
            work -= credit
        key.virtual += work
        task.charged_key = key

    def _close_busy_period(self, priority: int) -> None:
        """Nothing waits in the class: all debts are void, its time moves past them."""
        keys = self.keys[priority]
        if keys:
            virtual = max(key.virtual for key in keys.values())
            self.class_virtual[priority] = max(self.class_virtual[priority], virtual)
            keys.clear()

    def settle(self, task: Task, difference_ms: float) -> None:
        """The attempt took ``difference_ms`` more (less, if negative) than was charged.

        Nothing is settled with a key whose debt was void in the meantime.
        """
        priority = task.spec.priority
        key, task.charged_key = task.charged_key, None
        if key is None or self.keys[priority].get(key.name) is not key:
            return
        difference = difference_ms / task.spec.fairness_weight
        if difference < 0 and key.backlog:
            key.credit -= difference
        else:
            key.virtual += difference
            if not key.backlog:
                self._forget_idle(priority, key)

    def queued_since_ms(self, priority: int) -> int:
        """No task of the class was queued before; a second early at most. Never, if none is."""
        first = self._since[priority].value
        return int(first) - 1 << SINCE_SHIFT if first else WAKE_NEVER

    def offer(self, lane: Lane) -> None:
        """Enter a lane's present rank, for example after it was passed over."""
        if not lane.is_ready:
            lane.listed = False  # What came while it was passed over may have listed it too far back.
            return
        found = lane.first()
        if found is not None:
            self.ready[lane.priority].enter(lane, found[0])

    def offer_all(self, signature: Signature) -> None:
        """Offer all lanes of a signature."""
        for lane in signature.lanes.values():
            self.offer(lane)

    def open(self, signature: Signature) -> None:
        """An agent is free for what waits with the signature, and none was before."""
        self.open_signatures += 1
        for lane in signature.lanes.values():
            if not lane.listed and lane.depth:
                self.offer(lane)

    @property
    def key_count(self) -> int:
        """Fairness keys over all classes."""
        return sum(map(len, self.keys.values()))

    def sweep_keys(self) -> None:
        """Forget the idle keys whose debt their class has caught up with."""
        times = list(self.class_virtual.values())
        if times == self._swept_at:
            return  # A key that became idle since was looked at then.
        self._swept_at = times
        for priority, keys in self.keys.items():
            for key in list(keys.values()):
                if not key.backlog:
                    self._forget_idle(priority, key)

    def _forget_idle(self, priority: int, key: FairnessKey) -> None:
        """Drop an idle key that owes nothing: it would start at the class's time anyway."""
        if key.virtual <= self.class_virtual[priority]:
            self.keys[priority].pop(key.name, None)


def order_of(task: Task, expected_ms: float) -> int:
    """Place of a task among those of its key: first submitted first, deadlines earlier.

    A child was submitted when its root was.

    ``min(submit, deadline - 1.5 x expected run)``, in ms.
    """
    record = task.record
    submit_ms = record.submit_ms or record.create_ms
    if not task.spec.total_timeout_ms:
        return submit_ms
    deadline_ms = record.create_ms + task.spec.total_timeout_ms
    return max(0, min(submit_ms, int(deadline_ms - DEADLINE_MARGIN * expected_ms)))
