"""What the steps of live collaborations will ask of agents: their children may come at any time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.steps import requirements_of

if TYPE_CHECKING:
    from upbeat_server.engine.model import TaskId, TaskSpec
    from upbeat_server.engine.queue import Requirement


class Expected:
    """Requirements of the steps of all live roots. ``counts`` says of how many roots each is."""

    __slots__ = ("_by_root", "_last", "counts")

    def __init__(self) -> None:
        self.counts: Counter[Requirement] = Counter()
        self._by_root: dict[TaskId, frozenset[Requirement]] = {}
        self._last: tuple[TaskSpec | None, frozenset[Requirement]] = None, frozenset()

    def of(self, spec: TaskSpec) -> frozenset[Requirement]:
        """What a task, or the steps of a collaboration, require."""
        if self._last[0] is not spec:  # It is asked for twice: at the door, and when it is in.
            self._last = spec, requirements_of(spec)
        return self._last[1]

    def enter(self, root_id: TaskId, spec: TaskSpec) -> None:
        """A root is live."""
        requirements = self._by_root[root_id] = self.of(spec)
        for requirement in requirements:
            self.counts[requirement] += 1

    def leave(self, root_id: TaskId) -> None:
        """The steps of a root that has ended will ask for no more children."""
        counts = self.counts
        for requirement in self._by_root.pop(root_id):
            counts[requirement] -= 1
            if not counts[requirement]:
                del counts[requirement]
