"""A memory store whose commits stall and fail when a test says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.store import OutcomeUnknown

if TYPE_CHECKING:
    from upbeat_server.store.store import (
        Adoption,
        NamespaceBatch,
        Purged,
        StoredTask,
        StoreError,
        TaskQuery,
    )


class TroubledStore:
    """Wraps a memory store that outlives its own closing, as a file does."""

    def __init__(self, inner: MemoryStore | None = None) -> None:
        self.inner = inner or MemoryStore()
        self.error: StoreError | None = None  # Every commit and adoption raises it.
        self.writes_before_failing = False  # An OutcomeUnknown whose commit did happen.
        self.defect: Exception | None = None  # The next commit raises it, once.
        self.commits = 0
        self.closed = 0
        self.opened = 0
        self.tried = asyncio.Event()  # A commit was begun.
        self._free = asyncio.Event()
        self._free.set()
        self._is_held_again = False

    def hold(self) -> None:
        """Commits wait from now on."""
        self._free.clear()
        self.tried.clear()

    def release(self, *, once: bool = False) -> None:
        """Commits go on, or the one that waits does."""
        self._is_held_again = once
        self._free.set()

    def fail(self, error: StoreError) -> None:
        """Commits raise from now on."""
        self.tried.clear()
        self.error = error

    def heal(self) -> None:
        """Commits succeed again."""
        self.error = None

    async def open(self) -> None:
        """Count it; the content stays."""
        self.opened += 1
        if self.opened == 1:
            await self.inner.open()

    async def close(self) -> None:
        """Count it; the content stays."""
        self.closed += 1

    async def namespaces(self) -> list[str]:
        """As it is."""
        return await self.inner.namespaces()

    async def adopt(self, namespace: str) -> Adoption:
        """As it is."""
        return await self.inner.adopt(namespace)

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        """Wait and fail as told."""
        self.tried.set()
        await self._free.wait()
        if self._is_held_again:
            self._free.clear()
        if self.defect is not None:
            defect, self.defect = self.defect, None
            raise defect
        if self.error is not None:
            error = self.error
            if isinstance(error, OutcomeUnknown):
                self.error = None
                if self.writes_before_failing:
                    await self.inner.commit(batches)
            raise error
        self.commits += 1
        await self.inner.commit(batches)

    async def get(self, namespace: str, task_ids: list[int]) -> list[StoredTask | None]:
        """As it is."""
        return await self.inner.get(namespace, task_ids)

    async def query(
        self, namespace: str, query: TaskQuery, limit: int, bytes_max: int = 3 << 20
    ) -> list[StoredTask]:
        """As it is."""
        return await self.inner.query(namespace, query, limit, bytes_max)

    async def purge(self, namespace: str, before_ms: int, keep: int, limit: int) -> Purged:
        """As it is."""
        return await self.inner.purge(namespace, before_ms, keep, limit)
