"""The one loop around the engines: drain, step, persist, perform.

Persist first, then perform: nothing that a turn caused leaves the process before
the commit that contains it, and no step runs while a commit is in flight, so what
is performed is what is durable. A turn steps for about two milliseconds, of all
namespaces in turn, so that nobody waits behind a flood; whatever arrives during a
commit makes the next batch.

When a commit surely did not happen the batch is kept and tried again until it
does; nothing is sent meanwhile. When nobody knows whether it happened, or an
engine broke, the namespace is dropped and read again from the store.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from upbeat_server.engine.commands import Persist, PersistNote
from upbeat_server.engine.events import TasksSubmitted, TurnEnded
from upbeat_server.engine.step import step
from upbeat_server.runtime.batch import batch_of, publish
from upbeat_server.runtime.effects import Scene
from upbeat_server.runtime.pressure import Pressure
from upbeat_server.runtime.purge import Purge
from upbeat_server.store.store import (
    NamespaceBatch,
    StaleEpoch,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.clock import Clock
    from upbeat_server.engine.commands import Command
    from upbeat_server.engine.events import Event
    from upbeat_server.runtime.bounds import LoopBounds
    from upbeat_server.runtime.errands import Errands
    from upbeat_server.runtime.inbox import Done, Inbox
    from upbeat_server.runtime.lookups import Lookups
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.runtime.observer import Observer
    from upbeat_server.store.store import Store

log = structlog.get_logger("upbeat.runtime")
WAIT_MAX_MS = 3_600_000
STALL_S = 1.0
"""After a commit this long, timers wait until everything that arrived meanwhile was stepped."""


class Loop:
    """Runs turns until it is stopped. Only it steps engines."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        inbox: Inbox,
        lookups: Lookups,
        errands: Errands,
        observer: Observer,
        bounds: LoopBounds,
    ) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.store_is_healthy = True
        self.store_is_open = True  # False while it is opened again: no commit is begun.
        self.commits = 0  # That succeeded.
        # Told of a namespace that must be read again, and whether the store must be reopened.
        self.on_lost: Callable[[list[Namespace], bool], None] = lambda _namespaces, _reopen: None
        self._store = store
        self._clock = clock
        self._inbox = inbox
        self._lookups = lookups
        self._purge = Purge(
            store, inbox, errands, observer, lambda namespace: self._lose([namespace], reopen=True)
        )
        self.observer = observer
        self._bounds = bounds
        self._time = asyncio.get_running_loop().time
        self._pressure = Pressure(self._time, clock.worked_s)
        self._stopping = asyncio.Event()
        self._broken: list[Namespace] = []
        self._after: list[tuple[Namespace, Done]] = []
        self._has_stalled = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_rings_at = 0.0  # Of the event loop's time.
        self._streams_ran = False  # Since the turn that is being made began to wait for its commit.

    async def run(self) -> None:
        """Make turns as long as there is something to do; ends after ``stop``."""
        while not self._stopping.is_set():
            if not self._inbox.items:
                self._set_alarm()
                await self._inbox.arrived.wait()
            self._streams_ran = False
            try:
                await self._turn()
            except Exception:
                # A defect outside of any one engine: the loop must go on, from what is durable.
                log.exception("turn_broke")
                self._after.clear()
                self._lose(list(self.namespaces.values()), reopen=False)
            # Readers and writers of streams run between turns, or else while a commit is in flight.
            if not self._streams_ran:
                await asyncio.sleep(0)
        if self._alarm is not None:
            self._alarm.cancel()

    def stop(self) -> None:
        """End after the turn that is being made."""
        self._stopping.set()
        self._inbox.arrived.ring()

    def wake(self) -> None:
        """Make a turn now: the clock may have moved."""
        self._inbox.arrived.ring()

    def _set_alarm(self) -> None:
        """Make a turn when an engine wants to be woken, whatever comes or not.

        An alarm that rings before is left as it is: to move it with every wait would cost more than to
        look in vain once.
        """
        now_ms = self._clock.now_ms()
        wake_ms = now_ms + WAIT_MAX_MS
        for namespace in self.namespaces.values():
            wake_ms = min(wake_ms, namespace.engine.next_wake_ms)
        delay_s = max(wake_ms - now_ms, 0) / 1_000
        rings_at = self._time() + delay_s
        if self._alarm is not None:
            if self._alarm_rings_at <= rings_at:
                return
            self._alarm.cancel()
        self._alarm_rings_at = rings_at
        self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring_alarm)

    def _ring_alarm(self) -> None:
        self._alarm = None
        self._inbox.arrived.ring()

    async def _turn(self) -> None:
        started = self._time()
        events, touched = self._drain(started)
        pressure = self._pressure.measure()
        for namespace in self.namespaces.values():
            if namespace in touched or namespace.engine.next_wake_ms <= self._clock.now_ms():
                touched[namespace] = None
                self._step(namespace, TurnEnded(self._clock.entropy(), pressure))
                events += 1
        if self._broken:
            self._lose_broken(touched)
        if not touched:
            return
        orders: dict[Namespace, list[Command]] = {}
        batches: list[NamespaceBatch] = []
        for namespace in touched:
            orders[namespace] = self._collect(namespace)
            if namespace.is_changed:
                batches.append(batch_of(namespace))
        self.observer.turned(self._time() - started, events)
        is_durable = not batches or await self._commit(batches)
        for namespace, performed in orders.items():
            # One that had nothing to make durable answers whatever became of the others.
            if namespace.is_live and (is_durable or not namespace.is_changed):
                self._perform(namespace, performed, started)
        self._finish()

    def _drain(self, started: float) -> tuple[int, dict[Namespace, None]]:
        """Step through what has arrived, namespaces in turn, for as long as a turn may take."""
        touched: dict[Namespace, None] = {}
        events = 0
        ends = started + (STALL_S if self._has_stalled else self._bounds.turn_budget_ms / 1_000)
        self._has_stalled = False
        while (taken := self._inbox.take()) is not None:
            namespace, letter = taken
            if not namespace.is_live:
                continue
            self._step(namespace, letter.event)
            touched[namespace] = None
            events += 1
            if letter.done is not None:
                self._after.append((namespace, letter.done))
            if self._time() >= ends:
                break
        return events, touched

    def _step(self, namespace: Namespace, event: Event) -> None:
        if namespace in self._broken:
            return
        try:
            namespace.commands += step(namespace.engine, event, self._clock.now_ms())
        except Exception:
            # A defect: what is in memory can no longer be trusted, what is in the store can.
            log.exception("engine_broke", namespace=namespace.name, event_type=type(event).__name__)
            self._broken.append(namespace)

    def _lose_broken(self, touched: dict[Namespace, None]) -> None:
        broken, self._broken = self._broken, []
        for namespace in broken:
            touched.pop(namespace, None)
        self._after = [(namespace, done) for namespace, done in self._after if namespace not in broken]
        self._lose(broken, reopen=False)

    def _collect(self, namespace: Namespace) -> list[Command]:
        """Split the turn's orders: what to make durable, and what to perform afterwards."""
        orders: list[Command] = []
        dirty, notes = namespace.dirty, namespace.notes
        for order in namespace.commands:
            if type(order) is Persist:
                dirty[order.task.task_id] = order.task
            elif type(order) is PersistNote:
                notes[order.kind, order.key] = order.value
            else:
                orders.append(order)
        namespace.commands = []
        return orders

    async def _commit(self, batches: list[NamespaceBatch]) -> bool:
        """Make the batches durable; False when their namespaces were dropped instead."""
        delay_ms = self._bounds.retry_first_ms
        started = self._time()
        while True:
            while not self.store_is_open:
                if await self._stops_within(self._bounds.retry_first_ms):
                    return False
            try:
                attempt_started = self._time()
                asyncio.get_running_loop().call_soon(self._note_streams_ran)
                await self._store.commit(batches)
            except StoreUnavailable as error:
                self.observer.commit_failed("unavailable")
                self._mark_unhealthy(str(error))
                if await self._stops_within(delay_ms):
                    return False
                delay_ms = min(delay_ms * 2, self._bounds.retry_last_ms)
            except Exception as error:  # OutcomeUnknown, StaleEpoch, or a defect of the store.
                is_unknown = not isinstance(error, StaleEpoch)
                self.observer.commit_failed("unknown" if is_unknown else "stale_epoch")
                log.exception("commit_lost", outcome_unknown=is_unknown)
                # A purge that broke the store may have lost some of them meanwhile.
                lost = [self.namespaces[b.namespace] for b in batches if b.namespace in self.namespaces]
                self._lose(lost, reopen=is_unknown)
                return False
            else:
                ended = self._time()
                rows = 0
                for batch in batches:
                    rows += len(batch.rows)
                self.observer.committed(ended - attempt_started, rows)
                self._has_stalled = ended - started > STALL_S
                self.commits += 1
                self.mark_healthy()
                return True

    def _note_streams_ran(self) -> None:
        self._streams_ran = True

    def _perform(self, namespace: Namespace, orders: list[Command], started: float) -> None:
        scene = Scene(namespace, self._lookups, self.observer, self._purge.start, started)
        try:
            scene.perform(orders)
            if namespace.dirty:
                tracer = self.observer.tracer
                if tracer is not None:
                    tracer.committed(namespace.name, namespace.dirty.values())
                publish(namespace)
        except Exception:
            # A defect: somebody may wait for an answer that was lost. Start over from the store.
            log.exception("effect_broke", namespace=namespace.name)
            self._lose([namespace], reopen=False)
        namespace.dirty = {}
        namespace.notes = {}
        namespace.encoded = {}

    def _finish(self) -> None:
        after, self._after = self._after, []
        for namespace, done in after:
            if namespace.is_live:
                done()

    def _lose(self, namespaces: list[Namespace], *, reopen: bool) -> None:
        for namespace in namespaces:
            self.namespaces.pop(namespace.name, None)
            self._inbox.discard(namespace)
        self.on_lost(namespaces, reopen)

    def _mark_unhealthy(self, error: str) -> None:
        if self.store_is_healthy:
            log.error("store_unavailable", error=error)
            self.store_is_healthy = False
            self.observer.store_health(False)
        # Whoever waits gets an indefinite answer and may repeat it; nothing new reaches the engines.
        for namespace in self.namespaces.values():
            namespace.refuse_waiting(
                self._inbox.withdraw(namespace, lambda event: isinstance(event, TasksSubmitted))
            )

    def mark_healthy(self) -> None:
        """Commits succeed."""
        if not self.store_is_healthy:
            log.info("store_available")
            self.store_is_healthy = True
            self.observer.store_health(True)

    def mark_lost(self) -> None:
        """The store has to be opened again."""
        if self.store_is_healthy:
            self.store_is_healthy = False
            self.observer.store_health(False)

    async def _stops_within(self, delay_ms: int) -> bool:
        try:
            async with asyncio.timeout(delay_ms / 1_000):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True
