from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.store.conformance import Families, Noting, Purging, Reading, Writing
from tests.support.rows import COMPLETED, batch, first_row, later_row
from upbeat_server.store import memory
from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.store import StoredTask, TaskQuery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await store.open()
    yield store
    await store.close()


class TestNoting(Noting):
    pass


class TestFamilies(Families):
    pass


class TestWriting(Writing):
    pass


class TestReading(Reading):
    pass


class TestPurging(Purging):
    pass


async def test_a_query_over_many_rows_goes_on_while_they_change(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SLICE_ROWS", 3)
    await store.adopt("default")
    await store.commit([batch(*(first_row(n, COMPLETED) for n in range(1, 21)))])
    await store.purge("default", before_ms=0, keep=5, limit=99)
    found = await store.query("default", TaskQuery(descending=True), 99)
    assert [task.task_id for task in found] == [20, 19, 18, 17, 16]


async def test_a_task_finished_again_is_purged_by_its_last_end(store: MemoryStore) -> None:
    await store.adopt("default")
    await store.commit([batch(first_row(1, COMPLETED), first_row(2, COMPLETED))])
    await store.commit([batch(later_row(1, COMPLETED, end_ms=9))])
    assert (await store.purge("default", before_ms=9, keep=9, limit=9)).task_ids == [2]
    assert await store.get("default", [1]) == [StoredTask(1, b"later", b"spec 1")]
