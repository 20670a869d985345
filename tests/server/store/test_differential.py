"""Random work on two stores at once: where they answer differently, one is wrong."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.rows import batch, later_row
from upbeat_server.engine.model import FINISHED
from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import StoreError, TaskQuery, TaskRow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from upbeat_server.store.store import NamespaceBatch, Store, StoredTask

NAMESPACES = ("default", "b", "né\0")
names = st.sampled_from(NAMESPACES)
types = st.sampled_from(("review", "build", "\0", "lone \udc00"))
keys = st.sampled_from(("a", "b", "\ud800"))
values = st.sampled_from(("", "x", 'y"'))
states = st.integers(1, 6)
times = st.integers(0, 60)
bounds = st.sampled_from((0, 0, 0)) | times
STALE = (0,) * 8 + (-1, 1)


async def ask_page(name: str, query: TaskQuery, limit: int, bytes_max: int, store: Store) -> list[StoredTask]:
    return await store.query(name, query, limit, bytes_max)


class Stores(RuleBasedStateMachine):
    """The memory store and the SQLite store, told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stores: tuple[Store, Store] = (MemoryStore(), SqliteStore(Path(self.folder.name) / "x.db"))
        self.epochs = dict.fromkeys(NAMESPACES, 0)
        self.ids: dict[str, list[int]] = {name: [] for name in NAMESPACES}
        self.clock_ms = 1
        self.last_id = 0

    def both(self, ask: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        """What both answer, or the kind of error that both raise."""
        answers = [self.runner.run(self.answer(ask(store))) for store in self.stores]
        assert answers[0] == answers[1]
        return answers[0]

    async def answer(self, call: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await call
        except StoreError as error:
            return type(error)

    @initialize()
    def open(self) -> None:
        self.both(lambda store: store.open())
        for name in NAMESPACES[:2]:
            self.adopt(name)

    def teardown(self) -> None:
        self.both(lambda store: store.close())
        self.runner.close()
        self.folder.cleanup()

    @rule()
    def reopen(self) -> None:
        self.both(lambda store: store.close())
        self.both(lambda store: store.open())

    @rule(name=names)
    def adopt(self, name: str) -> None:
        adoption = self.both(lambda store: store.adopt(name))
        assert adoption.epoch == self.epochs[name] + 1
        self.epochs[name] = adoption.epoch

    @rule(data=st.data(), chosen=st.sets(names, min_size=1), stale=st.sampled_from(STALE))
    def commit(self, data: st.DataObject, chosen: set[str], stale: int) -> None:
        batches: list[NamespaceBatch] = []
        new: list[tuple[str, int]] = []
        for name in sorted(chosen):
            rows = {row.task_id: row for row in self.changes(data, name)}
            for _ in range(data.draw(st.integers(0, 6), "new tasks")):
                row = self.submission(data)
                new.append((name, row.task_id))
                rows[row.task_id] = row
            epoch = self.epochs[name] + (stale if name == max(chosen) else 0)
            clock_ms = data.draw(times, "clock")
            batches.append(batch(*rows.values(), namespace=name, epoch=epoch, clock_ms=clock_ms))
        if self.both(lambda store: store.commit(batches)) is None:
            for name, task_id in new:
                self.ids[name].append(task_id)

    def submission(self, data: st.DataObject) -> TaskRow:
        """A task with the next id, created no earlier than those before it."""
        self.last_id += data.draw(st.sampled_from((1, 1, 2, 1 << 40)), "id step")
        self.clock_ms += data.draw(st.integers(0, 3), "passed")
        state = data.draw(states, "state")
        return TaskRow(
            self.last_id,
            state,
            data.draw(types, "type"),
            data.draw(st.integers(1, 4), "priority"),
            self.clock_ms,
            data.draw(st.integers(1, 60), "end") if state in FINISHED else 0,
            data.draw(st.integers(0, 2), "parent"),
            data.draw(st.binary(max_size=20), "record"),
            data.draw(st.binary(max_size=20), "spec"),
            data.draw(st.sampled_from(("", f"r{self.last_id}", "\udc00")), "request_id"),
            data.draw(st.dictionaries(keys, values, max_size=2), "labels"),
        )

    def changes(self, data: st.DataObject, name: str) -> list[TaskRow]:
        """Tasks that are there, written again."""
        if not self.ids[name]:
            return []
        rows = []
        for task_id in data.draw(st.lists(st.sampled_from(self.ids[name]), max_size=4), "changed"):
            state = data.draw(states, "state")
            end_ms = data.draw(st.integers(1, 60), "end") if state in FINISHED else 0
            rows.append(later_row(task_id, state, end_ms, data.draw(st.binary(max_size=20), "record")))
        return rows

    @rule(name=names, data=st.data())
    def get(self, name: str, data: st.DataObject) -> None:
        known = st.sampled_from(self.ids[name]) if self.ids[name] else st.nothing()
        asked = data.draw(st.lists(known | st.integers(0, 9), max_size=6), "asked")
        self.both(lambda store: store.get(name, asked))

    @rule(
        name=names,
        query=st.builds(
            TaskQuery,
            states=st.just(()) | st.lists(states, max_size=3, unique=True).map(tuple),
            types=st.just(()) | st.lists(types, max_size=2).map(tuple),
            priorities=st.just(()) | st.lists(st.integers(1, 4), max_size=2).map(tuple),
            labels=st.just(()) | st.lists(st.tuples(keys, values), max_size=2).map(tuple),
            parent_id=st.sampled_from((0, 0, 0, 1, 2)),
            create_from_ms=bounds,
            create_to_ms=bounds,
            end_from_ms=bounds,
            end_to_ms=bounds,
            descending=st.booleans(),
        ),
        limit=st.integers(0, 30),
        bytes_max=st.just(1_000) | st.integers(0, 120),
        data=st.data(),
    )
    def query(self, name: str, query: TaskQuery, limit: int, bytes_max: int, data: st.DataObject) -> None:
        """All pages of a query, from anywhere."""
        after_id = data.draw(st.sampled_from([0, 0, 0, *self.ids[name]]), "after_id")
        query = msgspec.structs.replace(query, after_id=after_id)
        while page := self.both(partial(ask_page, name, query, limit, bytes_max)):
            query = msgspec.structs.replace(query, after_id=page[-1].task_id)

    @rule(name=names, before_ms=times, keep=st.integers(0, 9), limit=st.integers(0, 5))
    def purge(self, name: str, before_ms: int, keep: int, limit: int) -> None:
        purged = self.both(lambda store: store.purge(name, before_ms, keep, limit))
        self.ids[name] = [task_id for task_id in self.ids[name] if task_id not in purged.task_ids]

    @rule()
    def name_namespaces(self) -> None:
        self.both(lambda store: store.namespaces())


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
