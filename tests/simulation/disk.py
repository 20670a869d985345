"""The store's medium: what is on it outlives every server; every server sees it through trouble.

A commit takes a while, in the middle of which it becomes durable: a server that dies
before leaves nothing of it, one that dies after leaves all of it and has told nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.store import OutcomeUnknown, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.simulation.ledger import Ledger
    from tests.simulation.mix import StoreMix
    from tests.simulation.virtual_loop import Host
    from upbeat_server.store.store import Adoption, NamespaceBatch, Purged, StoredTask, TaskQuery


class Disk:
    """What is durable, and how well the medium does at the moment."""

    def __init__(self, rng: Random, mix: StoreMix, ledger: Ledger) -> None:
        self.rng = rng
        self.mix = mix
        self.ledger = ledger
        self.inner = MemoryStore()
        self.is_full = False  # Commits surely fail.
        self.is_healed = False
        self.counts: Counter[str] = Counter()
        self.when_committing: Callable[[], None] = lambda: None

    def attached(self, host: Host) -> AttachedStore:
        """The store as one server process sees it."""
        return AttachedStore(self, host)

    def heal(self) -> None:
        """No trouble from now on."""
        self.is_full = False
        self.is_healed = True

    def is_unlucky(self, share: float) -> bool:
        """Whether a fault of this frequency strikes now."""
        return not self.is_healed and share > 0 and self.rng.random() < share


class AttachedStore:
    """A Store on the disk."""

    def __init__(self, disk: Disk, host: Host) -> None:
        self._disk = disk
        self._host = host

    async def open(self) -> None:
        """Open it; a medium in trouble may not be ready."""
        if self._disk.is_unlucky(self._disk.mix.open_error_share):
            raise StoreUnavailable("simulated: cannot be opened")
        await self._disk.inner.open()

    async def close(self) -> None:
        """The medium stays."""

    async def namespaces(self) -> list[str]:
        """As they are."""
        return await self._disk.inner.namespaces()

    async def adopt(self, namespace: str) -> Adoption:
        """Raise the epoch; may fail before or after."""
        disk = self._disk
        await self._wait()
        if disk.is_unlucky(disk.mix.open_error_share):
            raise StoreUnavailable("simulated: cannot be adopted")
        adoption = await disk.inner.adopt(namespace)
        disk.ledger.adopted(namespace, adoption)
        await self._wait()
        return adoption

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        """Durable in the middle of it."""
        disk = self._disk
        disk.when_committing()
        await self._wait()
        if disk.is_full:
            disk.counts["commit refused"] += 1
            raise StoreUnavailable("simulated: no space left")
        if disk.is_unlucky(disk.mix.unknown_share):
            is_written = disk.rng.random() < 0.5
            disk.counts["outcome unknown, written" if is_written else "outcome unknown, not written"] += 1
            if is_written:
                await self._write(batches)
            raise OutcomeUnknown("simulated: I/O error")
        await self._write(batches)
        disk.when_committing()
        await self._wait()

    async def _write(self, batches: list[NamespaceBatch]) -> None:
        await self._disk.inner.commit(batches)
        self._disk.ledger.committed(batches)

    async def _wait(self) -> None:
        mix, rng = self._disk.mix, self._disk.rng
        delay_ms = rng.random() * mix.delay_ms_max
        if self._disk.is_unlucky(mix.slow_share):
            delay_ms += rng.random() * mix.slow_ms_max
        await asyncio.sleep(delay_ms / 1_000)

    async def get(self, namespace: str, task_ids: list[int]) -> list[StoredTask | None]:
        """As it is, or an error."""
        self._may_fail()
        await asyncio.sleep(self._disk.rng.random() * self._disk.mix.delay_ms_max / 1_000)
        return await self._disk.inner.get(namespace, task_ids)

    async def query(
        self, namespace: str, query: TaskQuery, limit: int, bytes_max: int = 3 << 20
    ) -> list[StoredTask]:
        """As it is, or an error."""
        self._may_fail()
        await asyncio.sleep(self._disk.rng.random() * self._disk.mix.delay_ms_max / 1_000)
        return await self._disk.inner.query(namespace, query, limit, bytes_max)

    async def purge(self, namespace: str, before_ms: int, keep: int, limit: int) -> Purged:
        """As it is, or an error."""
        self._may_fail()
        purged = await self._disk.inner.purge(namespace, before_ms, keep, limit)
        self._disk.ledger.purged(namespace, purged.task_ids, before_ms, keep)
        return purged

    def _may_fail(self) -> None:
        if self._disk.is_unlucky(self._disk.mix.read_error_share):
            raise StoreUnavailable("simulated: cannot be read")
