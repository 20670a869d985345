"""The contract of a store: what is durable, and nothing else.

A store keeps rows of bytes and a few indexed columns; what the bytes mean is
``codec.py``'s business. One writer: the owner of a namespace commits with the
epoch that ``adopt`` gave it, and a commit with another epoch fails with
``StaleEpoch`` and changes nothing. A read answers committed rows only and never
waits for a writer.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class StoreError(Exception):
    """Base of what a store raises."""


class StoreUnavailable(StoreError):
    """The commit surely did not happen (disk full, read-only): keep the batch, try again."""


class OutcomeUnknown(StoreError):
    """The commit may or may not have happened (I/O error): reopen and adopt anew."""


class StaleEpoch(StoreError):
    """Another owner adopted the namespace; nothing was written."""


class StoreInvalid(StoreError):
    """The file is not ours, is newer than this program, or is damaged. The text says which."""


class TaskRow(msgspec.Struct, gc=False):
    """One task as it is written: columns for finding it, and its bytes.

    What describes the submission (``type``, ``priority``, ``create_ms``, ``parent_id``, ``spec``,
    ``request_id``, ``labels``) is taken from the first row of a task, which must have a spec;
    later rows change ``state``, ``end_ms`` and ``record`` only.
    """

    task_id: int
    state: int
    type: str
    priority: int
    create_ms: int
    end_ms: int  # 0 while unfinished.
    parent_id: int
    record: bytes
    spec: bytes | None = None  # None: unchanged since it was first written.
    request_id: str = ""
    labels: dict[str, str] = {}


class NamespaceBatch(msgspec.Struct):
    """What one turn changed in one namespace. Rows are unique by task id.

    Notes are what a namespace must remember besides its tasks: small values, each written whole
    under a kind (never empty) and a key; None removes it.
    """

    namespace: str
    epoch: int
    clock_ms: int  # Engine time of the turn; never goes back.
    revision: int  # Of the last change.
    rows: list[TaskRow]
    notes: list[tuple[str, str, bytes | None]] = []  # (kind, key, value), unique by the first two.


class StoredTask(msgspec.Struct, gc=False):
    """One task as it is read."""

    task_id: int
    record: bytes
    spec: bytes


class Adoption(msgspec.Struct):
    """What an engine resumes from."""

    epoch: int  # Higher than every epoch before; durable before this is answered.
    clock_ms: int  # Engine time of the last commit; 0 for a new namespace.
    revision: int
    unfinished: list[StoredTask]  # By task id.
    finished_requests: list[tuple[str, int]]  # (request_id, task_id) of finished tasks.
    notes: list[tuple[str, str, bytes]] = []  # (kind, key, value) by kind and key.
    members: list[StoredTask] = []  # Finished tasks whose parent is unfinished, by task id.
    is_copy: bool = False  # From a backup, nothing committed since: its tasks may have gone on elsewhere.


class TaskQuery(msgspec.Struct, frozen=True):
    """A conjunction over the columns; empty or 0 means any."""

    states: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    priorities: tuple[int, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    parent_id: int = 0
    roots: bool = False  # Only tasks without a parent.
    create_from_ms: int = 0
    create_to_ms: int = 0  # Exclusive.
    end_from_ms: int = 0
    end_to_ms: int = 0  # Exclusive.
    descending: bool = False  # Newest first; the order is that of task ids.
    after_id: int = 0  # Resume behind this task id; 0 from the start.


class Purged(msgspec.Struct):
    """What a purge removed."""

    task_ids: list[int]
    request_ids: list[str]  # Those that were not empty.


class Store(Protocol):
    """What the runtime asks of a store. All coroutines run on the runtime's loop."""

    async def open(self) -> None:
        """Open, create or migrate it. Raises StoreInvalid or StoreUnavailable."""

    async def close(self) -> None:
        """Finish what was begun and close. Idempotent."""

    async def namespaces(self) -> list[str]:
        """The namespaces that hold anything, sorted."""

    async def adopt(self, namespace: str) -> Adoption:
        """Take a namespace over: raises its epoch durably, answers what to resume from."""

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        """Write all of it durably in one transaction, or nothing.

        Raises StoreUnavailable, OutcomeUnknown or StaleEpoch.
        """

    async def get(self, namespace: str, task_ids: list[int]) -> list[StoredTask | None]:
        """The tasks in the order asked for; None for those that are not there."""

    async def query(
        self, namespace: str, query: TaskQuery, limit: int, bytes_max: int = 3 << 20
    ) -> list[StoredTask]:
        """Up to ``limit`` matching tasks in the query's order.

        May answer fewer, but at least one if there is one, to stay under ``bytes_max`` of
        records and specs together. An empty answer means that there are no more.
        """

    async def purge(self, namespace: str, before_ms: int, keep: int, limit: int) -> Purged:
        """Forget finished tasks that ended before ``before_ms`` and all but the newest
        ``keep`` (by end), at most ``limit`` of them, oldest end first. Those whose parent is
        unfinished stay: it is rebuilt from them.
        """
