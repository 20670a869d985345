"""Collaborations and their children, row by row as they become durable, held against invariant 13.

Looked at after each commit and not within one: what is true between two commits is what a
crash leaves behind. So a child's end without what its collaboration makes of it is a
violation here, whether or not a crash ever makes it one for somebody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation import outcome
from upbeat_server.engine import reasons
from upbeat_server.engine.model import AttemptOutcome, Competitive, Consensus, TaskState
from upbeat_server.engine.timers import BUCKET_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.ledger import Life
    from upbeat_server.engine.collaboration.group import Group
    from upbeat_server.engine.model import TaskRecord

NUMBER = 13
LATEST = 12


@dataclass
class Used:
    """What all descendants of a collaboration come to."""

    made: int = 0
    attempts: int = 0
    running: int = 0
    cost_micros: int = 0


class Family:
    """Who is whose child, over all restarts."""

    def __init__(self, fail: Callable[[int, str], None], known: Callable[[int], Life | None]) -> None:
        self._fail = fail
        self._known = known
        self._touched: dict[int, None] = {}
        self.children: dict[int, dict[str, Life]] = {}  # By parent, by key.
        self._latest: list[Life] = []  # The children that were made last.
        self._roots: list[Life] = []
        self.counts: Counter[str] = Counter()

    def took(self, life: Life) -> None:
        """A row of a task is durable; its commit is not looked at yet."""
        record = life.last
        if record.parent_id:
            if len(life.records) == 1:
                self._born(life, record)
            self._touched[record.parent_id] = None
        if life.spec.collaboration is not None:
            if len(life.records) == 1 and not record.parent_id:
                self._roots.append(life)
            self._touched[life.task_id] = None
            self._check_memo(life)

    def committed(self) -> None:
        """A commit is over: everything that it touched must be whole."""
        touched, self._touched = self._touched, {}
        for task_id in touched:
            life = self._known(task_id)
            if life is None:
                self._fail(NUMBER, f"collaboration {task_id:016x} has children and never was")
                continue
            self._put_in_order(life)
            for words in self._faults(life):
                self._fail(NUMBER, f"collaboration {task_id:016x} {words}")

    def _put_in_order(self, life: Life) -> None:
        """Children by their places: the rows of a commit are in none."""
        children = sorted(self.of(life).items(), key=_place)
        self.children[life.task_id] = dict(children)
        places = [child.last.ordinal for _, child in children]
        ids = [child.task_id for _, child in children]
        if places != list(range(len(places))) or ids != sorted(ids):
            self._fail(NUMBER, f"collaboration {life.task_id:016x} has children with the places {places}")

    def roots(self) -> list[Life]:
        """All collaborations that are no children."""
        return self._roots

    def latest_live(self) -> list[Life]:
        """Of the children that were made last, those that have not ended."""
        return [life for life in self._latest if not life.is_finished]

    def of(self, life: Life) -> dict[str, Life]:
        """The children of a task, by key."""
        return self.children.get(life.task_id, {})

    def lineage(self, life: Life) -> Iterator[Life]:
        """The collaborations above a task, innermost first."""
        return self._above(life.last.parent_id)

    def _above(self, parent_id: int) -> Iterator[Life]:
        while parent_id:
            above = self._known(parent_id)
            if above is None:
                return
            yield above
            parent_id = above.last.parent_id

    def used(self, life: Life) -> Used:
        """What all descendants have used."""
        total = Used()
        below = list(self.of(life).values())
        while below:
            child = below.pop()
            total.made += 1
            if child.spec.collaboration is not None:
                below += self.of(child).values()
                continue
            record = child.last
            total.attempts += record.attempt
            total.cost_micros += record.usage.cost_micros
            total.running += record.state == TaskState.RUNNING
        return total

    def lacks_children(self, life: Life) -> bool:
        """Whether its budget has no room for another child."""
        collaboration = life.spec.collaboration
        budget = collaboration.budget if collaboration is not None else None
        return budget is not None and 0 < budget.children_max <= self.used(life).made

    def recovered_faults(self, group: Group) -> Iterator[str]:
        """How a group that was made again after a restart differs from what was durable."""
        life = self._known(group.task.task_id)
        if life is None:
            return  # Told of already.
        name = f"collaboration {life.task_id:016x} was recovered with"
        children = self.of(life)
        self.counts["recovered with waiting spawns"] += bool(group.waiting)
        self.counts["recovered with ends of children"] += len(children) > len(group.live)
        if list(group.made.items()) != [(key, child.task_id) for key, child in children.items()]:
            yield f"{name} the children {list(group.made)}, made were {list(children)}"
        live = {key for key, child in children.items() if not child.is_finished}
        if group.live.keys() != live:
            yield f"{name} {sorted(group.live)} live, and {sorted(live)} are"
        used = self.used(life)
        had = Used(group.made_below, group.attempts, group.running, group.cost_micros)
        if had != used:
            yield f"{name} {had}, and {used} is durable"
        states = Counter(child.last.state for child in children.values())
        counts = group.record
        if (counts.completed, counts.failed, counts.cancelled) != _by_end(states):
            yield f"{name} other counts of ended children than there are"
        seats = {key: agent_id for panel in group.panels.values() for key, agent_id in panel.items()}
        if seats != _seats(life, children):
            yield f"{name} the seats {seats}, and {_seats(life, children)} are taken"

    # A child.

    def _born(self, life: Life, record: TaskRecord) -> None:
        self._latest = [*self._latest, life][-LATEST:]
        name, siblings = f"task {life.task_id:016x}", self.children.setdefault(record.parent_id, {})
        if siblings.setdefault(record.member, life) is not life:
            self._fail(NUMBER, f"{name} has the key {record.member} of a sibling")
        root = self._known(record.root_id)
        if root is not None and record.submit_ms != root.last.create_ms:
            self._fail(NUMBER, f"{name} has its place from another time than its root")

    def check_start(self, record: TaskRecord, start_ms: int) -> None:
        """An attempt of a task began: when the time of what is above it is over, so is its own."""
        for above in self._above(record.parent_id):
            total_ms = above.spec.total_timeout_ms
            if total_ms and start_ms > above.last.create_ms + total_ms + 2 * BUCKET_MS:
                words = "an attempt began after the time of its collaboration"
                self._fail(5, f"task {record.task_id:016x}: {words}")

    # A collaboration.

    def _check_memo(self, life: Life) -> None:
        if len(life.records) < 2 or life.is_finished:
            return
        before, after = (record.group.memo if record.group else b"" for record in life.records[-2:])
        mode = life.spec.collaboration.mode if life.spec.collaboration is not None else None
        is_counter = isinstance(mode, Competitive)
        if before and (after < before if is_counter else after != before):
            self._fail(NUMBER, f"collaboration {life.task_id:016x} froze {before!r} and then {after!r}")

    def _faults(self, life: Life) -> Iterator[str]:
        children = self.of(life)
        if life.is_finished:
            orphans = [child.last.member for child in children.values() if not child.is_finished]
            if orphans:
                yield f"has ended, and its children {orphans} have not"
                return
            yield from self._end_faults(life, children)
        elif life.last.state == TaskState.RUNNING:
            yield from _live_faults(life, children)
        elif children:
            yield f"is {TaskState(life.last.state).name} and has children"
        yield from _seat_faults(life, children)
        for group in (life, *self.lineage(life)):
            yield from self._budget_faults(group)
        if life.last.group is not None:
            yield from self._outcome_faults(life, children)

    def _end_faults(self, life: Life, children: dict[str, Life]) -> Iterator[str]:
        group = life.last.group
        if group is None:
            return
        states = Counter(child.last.state for child in children.values())
        told = (group.completed, group.failed, group.cancelled)
        if told != _by_end(states) or group.live:
            yield f"counts {told} children that completed, failed and were cancelled of {_by_end(states)}"
        used = self.used(life)
        if (group.made, group.attempts) != (used.made, used.attempts):
            yield f"counts {group.made} descendants and {group.attempts} attempts; there are {used}"
        result = group.result
        if result is not None and result.child_ids != tuple(child.task_id for child in children.values()):
            yield "names other children than it has"
        if result is not None and result.partial:
            partial = [(entry.task_id, entry.state) for entry in result.partial]
            if partial != [(child.task_id, child.last.state) for child in children.values()]:
                yield "tells other outcomes of children than they came to"
        self._count_end(life, children)

    def _budget_faults(self, life: Life) -> Iterator[str]:
        collaboration = life.spec.collaboration
        budget = collaboration.budget if collaboration is not None else None
        if budget is None:
            return
        used = self.used(life)
        if budget.children_max and used.made > budget.children_max:
            yield f"has made {used.made} children of {budget.children_max}"
        if budget.attempts_max and used.attempts > budget.attempts_max:
            yield f"has used {used.attempts} attempts of {budget.attempts_max}"
        reserved = used.cost_micros + used.running * budget.attempt_cost_micros
        if budget.cost_micros_max and reserved > budget.cost_micros_max:
            yield f"has used {reserved} micros, with what is reserved, of {budget.cost_micros_max}"

    def _outcome_faults(self, life: Life, children: dict[str, Life]) -> Iterator[str]:
        if not outcome.is_known(life) and not life.is_finished:
            return
        if any(self.lacks_children(group) for group in (life, *self.lineage(life))):
            return  # Which of its spawns a budget refused, and when, is in no row.
        if life.is_finished and not outcome.ended_by_its_mode(life.last):
            return
        try:
            found = outcome.replay(life, children)
        except outcome.MemoMissing:
            if len(life.records) > 1:
                yield "began without making durable what its mode froze"
            return
        if life.is_finished:
            yield from outcome.differences(life, children, found)
            self._count_outcome(life)
        elif found.decision is not None:
            yield "has not decided, and all that its mode needs is durable"
        if outcome.is_known(life):
            yield from _spawn_faults(life, children, found)

    # What is rare.

    def _count_end(self, life: Life, children: dict[str, Life]) -> None:
        mode = life.spec.collaboration.mode if life.spec.collaboration is not None else None
        counts = self.counts
        counts[f"{type(mode).__name__} {TaskState(life.last.state).name}"] += 1
        counts["collaboration within two others"] += len(list(self.lineage(life))) == 2
        for key, child in children.items():
            if isinstance(mode, Consensus) and "/voter/" in key:
                counts["ballot replaced"] += int(key.rpartition("/")[2]) >= mode.voters
            counts["judge asked"] += key == "judge" or key.startswith("pair/")
            counts["fallback run"] += key.endswith("/fallback")
            counts["candidate validated"] += key.endswith("/validator")
            counts["child superseded while it ran"] += _was_superseded(child)
        group = life.last.group
        counts["items appended"] += group.items if group is not None else 0
        if life.last.error is not None and life.last.error.reason == reasons.MODE_FAILED:
            self._fail(NUMBER, f"collaboration {life.task_id:016x} failed by its mode's fault")

    def _count_outcome(self, life: Life) -> None:
        self.counts["outcome worked out again"] += 1
        group = life.last.group
        if group is not None and group.result is not None:
            self.counts["decided early"] += group.result.decided_early


def _live_faults(life: Life, children: dict[str, Life]) -> Iterator[str]:
    assert life.spec.collaboration is not None
    most = life.spec.collaboration.max_concurrency
    live = sum(not child.is_finished and not is_held(child) for child in children.values())
    if live > most:
        yield f"has {live} children at once, {most} are allowed"


def is_held(child: Life) -> bool:
    """Whether it waits for its collaboration to release it."""
    record = child.last
    return record.state == TaskState.PENDING and not record.attempt and not record.eligible_ms


def _by_end(states: Counter[int]) -> tuple[int, int, int]:
    return states[TaskState.COMPLETED], states[TaskState.FAILED], states[TaskState.CANCELLED]


def _seats(life: Life, children: dict[str, Life]) -> dict[str, str]:
    """Who works, or worked last, on the children that have a panel."""
    collaboration = life.spec.collaboration
    return {
        key: child.last.attempts[-1].agent_id
        for key, child in children.items()
        if collaboration is not None and outcome.panel_of(collaboration, key) and child.last.attempts
    }


def _seat_faults(life: Life, children: dict[str, Life]) -> Iterator[str]:
    assert life.spec.collaboration is not None
    taken: dict[tuple[str, str], str] = {}
    for key, agent_id in _seats(life, children).items():
        panel = outcome.panel_of(life.spec.collaboration, key)
        other = taken.setdefault((panel, agent_id), key)
        if other != key:
            yield f"has {agent_id} at {other} and at {key}"


def _spawn_faults(life: Life, children: dict[str, Life], found: outcome.Replay) -> Iterator[str]:
    uncalled = sorted(children.keys() - found.spawned)
    if uncalled:
        yield f"has the children {uncalled}, which its mode did not ask for"
    if life.is_finished:
        return
    assert life.spec.collaboration is not None
    for key in sorted(found.cancelled & children.keys()):
        if not children[key].is_finished:
            yield f"has given up {key}, which goes on"
    live = sum(not child.is_finished and not is_held(child) for child in children.values())
    waiting = found.spawned - children.keys()
    waiting |= {key for key in found.released & children.keys() if is_held(children[key])}
    if waiting and live < life.spec.collaboration.max_concurrency:
        yield f"has room for {sorted(waiting)} and has neither made nor released them"


def _was_superseded(child: Life) -> bool:
    attempts = child.last.attempts
    return bool(attempts) and attempts[-1].outcome == AttemptOutcome.CANCELLED


def _place(entry: tuple[str, Life]) -> int:
    return entry[1].last.ordinal
