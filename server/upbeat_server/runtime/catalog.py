"""The open namespaces: adopted at the start, opened on first use, read again when lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from upbeat_server.engine import reasons
from upbeat_server.engine.events import AdoptionStarted
from upbeat_server.runtime.recovery import open_namespace
from upbeat_server.runtime.refused import SERVER_DRAINING, STORE_DOWN, STORE_LOST, Refused, refused
from upbeat_server.store.store import OutcomeUnknown, StoreError, StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from upbeat_server.clock import Clock
    from upbeat_server.engine.limits import Limits
    from upbeat_server.engine.model import Refusal
    from upbeat_server.runtime.bounds import RuntimeBounds
    from upbeat_server.runtime.errands import Errands
    from upbeat_server.runtime.inbox import Inbox
    from upbeat_server.runtime.loop import Loop
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.store.store import Store

log = structlog.get_logger("upbeat.runtime")


class Catalog:
    """Finds namespaces by name."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits,
        bounds: RuntimeBounds,
        inbox: Inbox,
        loop: Loop,
        errands: Errands,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._bounds = bounds
        self._inbox = inbox
        self._loop = loop
        self._errands = errands
        self._opening: dict[str, asyncio.Future[Namespace]] = {}
        self._lost_names: set[str] = set()
        self._delay_ms = 0  # Before a store that was lost is read again.
        self._commits_when_lost = -1
        self.is_closed = False
        loop.on_lost = self._lost

    def all(self) -> list[Namespace]:
        """Those that are open."""
        return list(self._loop.namespaces.values())

    def known(self, name: str) -> Namespace | None:
        """An open namespace; None for one that holds nothing. Raises Refused while it is read again."""
        namespace = self._loop.namespaces.get(name)
        if namespace is None and name in self._lost_names:
            raise Refused(STORE_LOST)
        return namespace

    async def open(self, name: str) -> Namespace:
        """A namespace, opened on its first use."""
        namespace = self._loop.namespaces.get(name)
        if namespace is not None:
            return namespace
        if self.is_closed:
            raise Refused(SERVER_DRAINING)
        opening = self._opening.get(name)
        if opening is None:
            most = self._bounds.loop.namespaces_max
            if len(self._loop.namespaces) + len(self._opening) >= most:
                raise refused(
                    reasons.NAMESPACES_EXHAUSTED,
                    f"{most} namespaces are open, which is the limit: use one of them",
                    bound="namespaces_max",
                    limit=str(most),
                )
            opening = self._opening[name] = _future()
            self._errands.start(self._open_first(name, opening), "open-namespace")
        namespace = await asyncio.shield(opening)
        if not namespace.is_live:  # Lost again before this call had its turn: nobody would answer it.
            raise Refused(STORE_LOST)
        return namespace

    async def adopt(self, name: str) -> Namespace:
        """Take a namespace over and run it. Raises StoreError."""
        tracer = self._loop.observer.tracer
        namespace = await open_namespace(self._store, self._clock, self._limits, self._bounds, name, tracer)
        self._loop.namespaces[name] = namespace
        self._inbox.push(namespace, AdoptionStarted())
        return namespace

    async def _open_first(self, name: str, opening: asyncio.Future[Namespace]) -> None:
        try:
            opening.set_result(await self.adopt(name))
        except StoreError as error:
            log.error("namespace_not_opened", namespace=name, error=str(error))  # noqa: TRY400 - said above
            _refuse(opening, STORE_DOWN)
            if isinstance(error, OutcomeUnknown):
                self._lost([], reopen=True)
        finally:
            self._opening.pop(name, None)
            if not opening.done():  # Cancelled, or a defect that the errand logs.
                _refuse(opening, SERVER_DRAINING if self.is_closed else STORE_DOWN)

    def _lost(self, namespaces: list[Namespace], reopen: bool) -> None:
        """Namespaces were dropped: end everything of theirs and read them again."""
        openings: list[tuple[str, asyncio.Future[Namespace]]] = []
        for namespace in namespaces:
            namespace.end(STORE_LOST)
            opening = self._opening[namespace.name] = _future()
            self._lost_names.add(namespace.name)
            openings.append((namespace.name, opening))
        if reopen:
            self._loop.store_is_open = False
            self._loop.mark_lost()
        # Lost again before anything was committed: not at once, or a broken disk would keep us busy.
        self._delay_ms = 0 if self._loop.commits > self._commits_when_lost else self._longer_delay_ms()
        self._commits_when_lost = self._loop.commits
        self._errands.start(self._revive(openings, reopen), "revive")

    async def _revive(self, openings: list[tuple[str, asyncio.Future[Namespace]]], reopen: bool) -> None:
        """Read namespaces again until it works: what was in memory is gone, only the store has them."""
        try:
            while reopen or openings:
                await asyncio.sleep(self._delay_ms / 1_000)
                try:
                    if reopen:
                        await self._reopen()
                        reopen = False
                    while openings:
                        name, opening = openings[0]
                        namespace = await self.adopt(name)
                        del openings[0]
                        self._opening.pop(name, None)
                        self._lost_names.discard(name)
                        opening.set_result(namespace)
                except (StoreUnavailable, StoreInvalid) as error:
                    log.error("store_not_read_again", error=str(error))  # noqa: TRY400 - often, and known
                except Exception:
                    # An unknown outcome, or a defect: whatever it was, the store is opened anew.
                    log.exception("store_broke_again")
                    reopen = True
                if reopen or openings:
                    self._loop.mark_lost()
                    self._delay_ms = self._longer_delay_ms()
            self._loop.mark_healthy()
        finally:
            for name, opening in openings:
                self._opening.pop(name, None)
                _refuse(opening, SERVER_DRAINING)

    async def _reopen(self) -> None:
        self._loop.store_is_open = False
        await self._store.close()
        await self._store.open()
        self._loop.store_is_open = True

    def _longer_delay_ms(self) -> int:
        bounds = self._bounds.loop
        return min(max(self._delay_ms * 2, bounds.retry_first_ms), bounds.retry_last_ms)


def _future() -> asyncio.Future[Namespace]:
    return asyncio.get_running_loop().create_future()


def _refuse(opening: asyncio.Future[Namespace], refusal: Refusal) -> None:
    opening.set_exception(Refused(refusal))
    opening.exception()  # Whoever waits sees it; nobody has to.
