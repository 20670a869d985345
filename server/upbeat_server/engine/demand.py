"""What there is to do for agents of some types: what an autoscaler looks at.

Costs as much as there are different requirements of these types, however many tasks have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.fleet import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.fleet import ProfileKey


class Demand(msgspec.Struct, frozen=True):
    """Tasks that an agent could take now, and those that agents work on.

    What is PENDING (a backoff, a start time, a turn in a collaboration) is neither, nor is what waits while
    its type is paused: no agent more would begin it sooner.
    """

    waiting: int = 0
    running: int = 0

    @property
    def total(self) -> int:
        """Both."""
        return self.waiting + self.running


def demand(engine: Engine, types: Iterable[str], offer: ProfileKey | None = None) -> Demand:
    """The tasks of these types; with ``offer`` only those that agents who offer this may get."""
    profile = None if offer is None else Profile(offer)
    waiting = running = 0
    for task_type in dict.fromkeys(types):
        for signature in engine.fleet.of_type.get(task_type, ()):
            if profile is not None and not profile.satisfies(signature):
                continue
            queued = signature.queued
            if not signature.is_paused:
                waiting += queued
            running += signature.live - signature.pending - queued
    return Demand(waiting, running)
