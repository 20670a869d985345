"""What every call of the runtime needs: its parts, the question to the loop, the door's refusals."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

from upbeat_server.engine import reasons
from upbeat_server.engine.limits import Limits
from upbeat_server.runtime.bounds import RuntimeBounds
from upbeat_server.runtime.catalog import Catalog
from upbeat_server.runtime.errands import Errands
from upbeat_server.runtime.inbox import Inbox
from upbeat_server.runtime.lookups import Lookups
from upbeat_server.runtime.loop import Loop
from upbeat_server.runtime.observer import NullObserver
from upbeat_server.runtime.refused import INBOX_FULL, SERVER_DRAINING, STORE_DOWN, Refused, refused

if TYPE_CHECKING:
    from upbeat_server.clock import Clock
    from upbeat_server.engine.events import Event
    from upbeat_server.engine.model import Refusal
    from upbeat_server.runtime.calls import PendingCall
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.runtime.observer import Observer
    from upbeat_server.store.store import Store

T = TypeVar("T")


class Desk:
    """The parts of the runtime, put together. Make it on the event loop that it runs on."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits | None = None,
        bounds: RuntimeBounds | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.bounds = bounds or RuntimeBounds()
        self.observer: Observer = observer or NullObserver()
        self.is_draining = False
        # Of this process, for signing what callers hand back (page tokens).
        self.secret = b"".join(clock.entropy().to_bytes(8, "big") for _ in range(4))
        self._store = store
        self._clock = clock
        self._origins = itertools.count(1)
        self._errands = Errands()
        self._inbox = Inbox(self.bounds.loop)
        self._lookups = Lookups(store, self._errands)
        self._loop = Loop(
            store, clock, self._inbox, self._lookups, self._errands, self.observer, self.bounds.loop
        )
        self._catalog = Catalog(
            store, clock, self.limits, self.bounds, self._inbox, self._loop, self._errands
        )

    @property
    def work_refusal(self) -> Refusal | None:
        """Why new work is refused at the door; None when it is not."""
        if self.is_draining:
            return SERVER_DRAINING
        return None if self._loop.store_is_healthy else STORE_DOWN

    def admit_work(self) -> None:
        """Raise Refused while new work is refused at the door."""
        refusal = self.work_refusal
        if refusal is not None:
            raise Refused(refusal)

    async def _ask(
        self,
        namespace: Namespace,
        call: PendingCall[T],
        origin: int,
        event: Event,
        items: int = 1,
        size: int = 0,
    ) -> T:
        """Bring an event and wait for the answer of its call."""
        namespace.routes[origin] = call
        try:
            if not self._inbox.offer(namespace, event, items, size):
                raise Refused(INBOX_FULL)
            return await call.answer
        finally:
            namespace.routes.pop(origin, None)

    def _admit_watch(self) -> None:
        if self.is_draining:
            raise Refused(SERVER_DRAINING)
        most = self.bounds.watches.watches_max
        count = sum(namespace.watches for namespace in self._catalog.all())
        if count >= most:
            raise too_many("watches", "watches_max", most)


def too_many(what: str, bound: str, most: int) -> Refused:
    """A bound on streams is reached."""
    return refused(
        reasons.STREAMS_EXHAUSTED,
        f"{most} {what} are open, which is the limit: close one, or try again later",
        5_000,
        bound=bound,
        limit=str(most),
    )
