"""What the steps of live collaborations will ask of agents: their children may come at any time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.collaboration.steps import limit_keys_of, requirements_of

if TYPE_CHECKING:
    from upbeat_server.engine.model import TaskId, TaskSpec
    from upbeat_server.engine.queue import Requirement


class Needs(msgspec.Struct, frozen=True):
    """What a task, or the steps of a collaboration, require, and the keys of the limits that they name."""

    requirements: frozenset[Requirement] = frozenset()
    keys: frozenset[str] = frozenset()


class Expected:
    """Needs of the steps of all live roots: of how many roots each is."""

    __slots__ = ("_by_root", "_last", "counts", "keys")

    def __init__(self) -> None:
        self.counts: Counter[Requirement] = Counter()
        self.keys: Counter[str] = Counter()
        self._by_root: dict[TaskId, Needs] = {}
        self._last: tuple[TaskSpec | None, Needs] = None, Needs()

    def of(self, spec: TaskSpec) -> Needs:
        """What a task, or the steps of a collaboration, need."""
        if self._last[0] is not spec:  # It is asked for several times: at the door, and when it is in.
            self._last = spec, Needs(requirements_of(spec), limit_keys_of(spec))
        return self._last[1]

    def enter(self, root_id: TaskId, spec: TaskSpec) -> None:
        """A root is live."""
        needs = self._by_root[root_id] = self.of(spec)
        for requirement in needs.requirements:
            self.counts[requirement] += 1
        for key in needs.keys:
            self.keys[key] += 1

    def leave(self, root_id: TaskId) -> None:
        """The steps of a root that has ended will ask for no more children."""
        counts, keys = self.counts, self.keys
        needs = self._by_root.pop(root_id)
        for requirement in needs.requirements:
            counts[requirement] -= 1
            if not counts[requirement]:
                del counts[requirement]
        for key in needs.keys:
            keys[key] -= 1
            if not keys[key]:
                del keys[key]
