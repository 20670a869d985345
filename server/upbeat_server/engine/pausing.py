"""Pauses: an operator holds back all tasks of a type, and lets them go again.

To a signature of a paused type no profile is free, so it is offered to nobody. What runs goes on. A
pause is durable, so that a restart in the middle of trouble does not end it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.commands import PauseAnswered, PersistNote
from upbeat_server.engine.model import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import PauseWanted

PAUSE_NOTE = "pause"


def rule(engine: Engine, event: PauseWanted) -> None:
    """Pause or resume; what is so already stays so."""
    fleet, task_type = engine.fleet, event.type
    refusal = None
    if event.is_paused and task_type not in fleet.paused:
        most = engine.limits.ordering.paused_types_max
        if len(fleet.paused) >= most:
            refusal = _exhausted(most)
        else:
            _pause(engine, task_type)
            engine.commands.append(PersistNote(PAUSE_NOTE, task_type, b""))
    elif not event.is_paused and task_type in fleet.paused:
        _resume(engine, task_type)
        engine.commands.append(PersistNote(PAUSE_NOTE, task_type, None))
    engine.commands.append(PauseAnswered(event.origin, paused_types(engine), refusal))


def _pause(engine: Engine, task_type: str) -> None:
    fleet = engine.fleet
    fleet.paused[task_type] = None
    for signature in fleet.of_type.get(task_type, ()):
        signature.is_paused = True
        if signature.free_profiles and signature.waiting:
            engine.queue.open_signatures -= 1
        signature.free_profiles.clear()


def _resume(engine: Engine, task_type: str) -> None:
    fleet = engine.fleet
    del fleet.paused[task_type]
    for signature in fleet.of_type.get(task_type, ()):
        signature.is_paused = False
        signature.free_profiles.update(
            (profile, None) for profile in signature.profiles if profile.free_agents
        )
        if signature.free_profiles and signature.waiting:
            engine.queue.open(signature)


def paused_types(engine: Engine) -> tuple[str, ...]:
    """What is paused, sorted."""
    return tuple(sorted(engine.fleet.paused))


def restore(engine: Engine, notes: Iterable[tuple[str, str, bytes]]) -> None:
    """Take over what was durable; those of other rooms are passed over. Before any task is known."""
    for kind, key, _ in notes:
        if kind == PAUSE_NOTE:
            _pause(engine, key)


def _exhausted(most: int) -> Refusal:
    return Refusal(
        reasons.PAUSED_TYPES_EXHAUSTED,
        f"{most:,} types are paused, which is the limit (paused_types_max): resume one first",
        {"bound": "paused_types_max", "limit": str(most)},
    )
