"""Orders of the engine that answer callers of collaborations; see ``effects.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.runtime.calls import GradeCall, ItemsCall, Standing

if TYPE_CHECKING:
    from upbeat_server.engine.commands import GradeAnswered, ItemsAnswered
    from upbeat_server.runtime.effects import Scene


def items_answered(scene: Scene, order: ItemsAnswered) -> None:
    """Items are in, or closed, or refused."""
    call = scene.namespace.routes.get(order.origin)
    if not isinstance(call, ItemsCall):
        return
    if order.refusal is not None:
        scene.observer.refused(scene.namespace.name, order.refusal.reason)
        call.fail(order.refusal)
    else:
        call.resolve(order.item_count)


def grade_answered(scene: Scene, order: GradeAnswered) -> None:
    """A grade counts, or not."""
    call = scene.namespace.routes.get(order.origin)
    if not isinstance(call, GradeCall):
        return
    if order.refusal is not None:
        call.fail(order.refusal)
    else:
        call.resolve(Standing(order.agent_id, order.graded, order.correct))
