"""Random work on two stores at once: where they answer differently, one is wrong."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import HealthCheck, Phase, settings
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
TYPES = ("review", "build", "\0", "lone \udc00")
KEYS = ("a", "b", "\ud800")
VALUES = ("", "x", 'y"')
TIMES = range(1, 16)
STALE = (0,) * 12 + (-1, 1)

names = st.sampled_from(NAMESPACES)
# What a step does in detail is drawn from a seed: chosen one by one, hypothesis prefers small and
# empty things, and hardly any query found a task.
chances = st.integers(0, 1 << 32).map(Random)


def random_query(chance: Random, ids: list[int]) -> TaskQuery:
    """A query with none to three conditions, from the start or behind some task."""
    conditions: dict[str, Any] = {
        "states": tuple(chance.sample(range(1, 7), chance.randint(1, 3))),
        "types": tuple(chance.sample(TYPES, chance.randint(1, 2))),
        "priorities": tuple(chance.sample(range(1, 5), chance.randint(1, 2))),
        "labels": tuple((chance.choice(KEYS), chance.choice(VALUES)) for _ in range(chance.randint(1, 2))),
        "parent_id": chance.randint(1, 2),
        "create_from_ms": chance.choice(TIMES),
        "create_to_ms": chance.choice(TIMES),
        "end_from_ms": chance.choice(TIMES),
        "end_to_ms": chance.choice(TIMES),
    }
    chosen = chance.sample(sorted(conditions), chance.choice((0, 1, 1, 1, 2, 2, 3)))
    return TaskQuery(
        **{name: conditions[name] for name in chosen},
        descending=chance.random() < 0.4,
        after_id=chance.choice([0, 0, *ids]),
    )


def random_notes(chance: Random) -> list[tuple[str, str, bytes | None]]:
    """A few notes under few keys, some of them removed."""
    notes: dict[tuple[str, str], bytes | None] = {}
    for _ in range(chance.choice((0, 0, 1, 3))):
        value = chance.randbytes(chance.randint(0, 9)) if chance.random() < 0.7 else None
        notes[chance.choice(TYPES), chance.choice(("", "x", "y"))] = value
    return [(kind, key, value) for (kind, key), value in notes.items()]


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

    @rule(chosen=st.sets(names, min_size=1), chance=chances)
    def commit(self, chosen: set[str], chance: Random) -> None:
        batches: list[NamespaceBatch] = []
        new: list[tuple[str, int]] = []
        stale = chance.choice(STALE)
        for name in sorted(chosen & {name for name, epoch in self.epochs.items() if epoch}):
            rows = {row.task_id: row for row in self.changes(chance, name)}
            for _ in range(chance.randint(0, 8)):
                row = self.submission(chance)
                new.append((name, row.task_id))
                rows[row.task_id] = row
            epoch = self.epochs[name] + (stale if name == max(chosen) else 0)
            batches.append(
                batch(
                    *rows.values(),
                    namespace=name,
                    epoch=epoch,
                    clock_ms=chance.choice(TIMES),
                    notes=random_notes(chance),
                )
            )
        if self.both(lambda store: store.commit(batches)) is None:
            for name, task_id in new:
                self.ids[name].append(task_id)

    def submission(self, chance: Random) -> TaskRow:
        """A task with the next id, created no earlier than those before it."""
        self.last_id += chance.choice((1, 1, 2, 1 << 40))
        self.clock_ms += chance.choice((0, 0, 0, 1))
        state = chance.randint(1, 6)
        return TaskRow(
            self.last_id,
            state,
            chance.choice(TYPES),
            chance.randint(1, 4),
            self.clock_ms,
            chance.choice(TIMES) if state in FINISHED else 0,
            chance.choice((0, 0, 1, 2, max(1, self.last_id - chance.randint(0, 6)))),
            chance.randbytes(chance.randint(0, 20)),
            chance.randbytes(chance.randint(0, 20)),
            chance.choice(("", f"r{self.last_id}", "\udc00")),
            {chance.choice(KEYS): chance.choice(VALUES) for _ in range(chance.choice((0, 0, 1, 3)))},
        )

    def changes(self, chance: Random, name: str) -> list[TaskRow]:
        """Some of the tasks that are there, written again."""
        rows = []
        for task_id in chance.sample(self.ids[name], min(len(self.ids[name]), chance.randint(0, 4))):
            state = chance.randint(1, 6)
            end_ms = chance.choice(TIMES) if state in FINISHED else 0
            rows.append(later_row(task_id, state, end_ms, chance.randbytes(chance.randint(0, 20))))
        return rows

    @rule(name=names, chance=chances)
    def get(self, name: str, chance: Random) -> None:
        asked = [chance.choice([*self.ids[name], 999]) for _ in range(chance.randint(0, 6))]
        self.both(lambda store: store.get(name, asked))

    @rule(name=names, chance=chances)
    def query(self, name: str, chance: Random) -> None:
        """All pages of some queries."""
        for _ in range(8):
            query = random_query(chance, self.ids[name])
            limit, bytes_max = chance.choice((0, 1, 3, 30)), chance.choice((0, 30, 90, 1_000))
            while page := self.both(partial(ask_page, name, query, limit, bytes_max)):
                query = msgspec.structs.replace(query, after_id=page[-1].task_id)

    @rule(name=names, before_ms=st.sampled_from(TIMES), keep=st.integers(0, 9), limit=st.integers(0, 5))
    def purge(self, name: str, before_ms: int, keep: int, limit: int) -> None:
        purged = self.both(lambda store: store.purge(name, before_ms, keep, limit))
        self.ids[name] = [task_id for task_id in self.ids[name] if task_id not in purged.task_ids]

    @rule()
    def name_namespaces(self) -> None:
        self.both(lambda store: store.namespaces())


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    phases=set(Phase) - {Phase.explain},
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
