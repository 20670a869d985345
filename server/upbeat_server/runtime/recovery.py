"""Opens a namespace: takes it over in the store and gives its tasks to a new engine.

A task whose selector no longer compiles is kept and matches no agent, nor does a
check that no longer compiles accept anything: it is for a person to look at, not to
lose.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from upbeat_server.engine.engine import Engine
from upbeat_server.runtime.conditions import conditions_of, selector_or_never
from upbeat_server.runtime.namespace import Namespace
from upbeat_server.store import codec
from upbeat_server.store.store import StoreInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upbeat_server.clock import Clock
    from upbeat_server.engine.limits import Limits
    from upbeat_server.engine.model import Predicate, Refusal, TaskRecord, TaskSpec
    from upbeat_server.runtime.bounds import RuntimeBounds
    from upbeat_server.runtime.conditions import Conditions
    from upbeat_server.runtime.observer import AttemptTracer
    from upbeat_server.store.store import Store

log = structlog.get_logger("upbeat.runtime")
SLICE = 500
COLLECT_EVERY = 2_500
"""Allocations before the youngest generation is collected, in 0.3 ms; twenty times as many take 10 to 20."""
COLLECT_MIDDLE, COLLECT_ALL = 4, 2_000
"""Collections of a generation before the next older one is collected. The middle one has what was submitted
since its last, which nothing frees: at 10,000 allocations it pauses for 2 ms, at 50,000 for 12. A full
collection is rare.
"""


async def open_namespace(
    store: Store,
    clock: Clock,
    limits: Limits,
    bounds: RuntimeBounds,
    name: str,
    tracer: AttemptTracer | None = None,
) -> Namespace:
    """Adopt the namespace and restore its engine. Raises StoreError."""
    adoption = await store.adopt(name)
    clock.advance_to(adoption.clock_ms)
    engine = Engine(name, limits, epoch=adoption.epoch, clock_ms=clock.now_ms(), revision=adoption.revision)
    tasks: list[tuple[TaskRecord, TaskSpec, Predicate | None, int]] = []
    collaborations: dict[int, Conditions] = {}
    for number, stored in enumerate(adoption.unfinished, 1):
        record, spec = codec.decode_record(stored.record), codec.decode_spec(stored.spec)
        lost = partial(_told_as_lost, stored.task_id)
        predicate = selector_or_never(spec.selector, lost) if spec.selector else None
        tasks.append((record, spec, predicate, len(stored.spec)))
        if spec.collaboration is not None:
            collaborations[stored.task_id] = conditions_of(spec, lost)
        if number % SLICE == 0:
            await asyncio.sleep(0)  # Other namespaces may be at work.
    members: list[tuple[TaskRecord, TaskSpec]] = []
    for number, stored in enumerate(adoption.members, 1):
        members.append((codec.decode_record(stored.record), codec.decode_spec(stored.spec)))
        if number % SLICE == 0:
            await asyncio.sleep(0)
    try:
        engine.restore(
            tasks,
            adoption.finished_requests,
            members=members,
            notes=adoption.notes,
            is_copy=adoption.is_copy,
            collaborations=collaborations,
        )
    except Exception as error:
        # Bytes that were turned over may still be a record, of a state or an attempt that there is not.
        raise StoreInvalid(
            f"a task of the namespace {name} is damaged ({error!r}): restore the store from a backup"
        ) from error
    for task in engine.tasks.values():
        task.stored_state = task.record.state
    if tracer is not None:
        tracer.adopted(name, engine.tasks.values(), members)
    if tasks or adoption.is_copy:
        log.info(
            "namespace_adopted",
            namespace=name,
            epoch=adoption.epoch,
            unfinished=len(tasks),
            from_backup=adoption.is_copy,
        )
    return Namespace(engine, clock, bounds)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection while a store is loaded; what was loaded is never looked at again.

    A full collection with a million queued tasks would stop the server for half a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(COLLECT_EVERY, COLLECT_MIDDLE, COLLECT_ALL)
        gc.enable()


def _told_as_lost(task_id: int, refusal: Refusal) -> None:
    log.error("condition_lost", task_id=f"{task_id:016x}", reason=refusal.message)
