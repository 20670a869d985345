"""Forgets finished tasks that are old or too many, a slice at a time, and frees their request ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from upbeat_server.engine.events import TasksPurged
from upbeat_server.store.store import OutcomeUnknown, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.engine.commands import PurgeFinished
    from upbeat_server.runtime.errands import Errands
    from upbeat_server.runtime.inbox import Inbox
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.runtime.observer import Observer
    from upbeat_server.store.store import Store

log = structlog.get_logger("upbeat.runtime")
SLICE = 1_000


class Purge:
    """Purges as the engines order it; at most one at a time for a namespace."""

    def __init__(
        self,
        store: Store,
        inbox: Inbox,
        errands: Errands,
        observer: Observer,
        lose: Callable[[Namespace], None],
    ) -> None:
        """``lose`` is told of a namespace that nobody knows any more what was purged of."""
        self._lose = lose
        self._store = store
        self._inbox = inbox
        self._errands = errands
        self._observer = observer

    def start(self, namespace: Namespace, order: PurgeFinished) -> None:
        """Begin, unless one is under way: the next order covers what this one left."""
        if not namespace.is_purging:
            namespace.is_purging = True
            self._errands.start(self._run(namespace, order), "purge")

    async def _run(self, namespace: Namespace, order: PurgeFinished) -> None:
        """Forget finished tasks, a slice at a time, and free their request ids."""
        try:
            while namespace.is_live:
                purged = await self._store.purge(namespace.name, order.before_ms, order.keep, SLICE)
                self._observer.purged(namespace.name, len(purged.task_ids))
                if purged.request_ids:
                    await self._inbox.room()
                    self._inbox.push(namespace, TasksPurged(purged.request_ids))
                if len(purged.task_ids) < SLICE:
                    return
        except OutcomeUnknown as error:
            self._observer.purge_failed()
            log.error("purge_lost", namespace=namespace.name, error=str(error))  # noqa: TRY400 - it says all
            if namespace.is_live:
                self._lose(namespace)
        except StoreError as error:
            self._observer.purge_failed()
            log.warning("purge_failed", namespace=namespace.name, error=str(error))
        finally:
            namespace.is_purging = False
