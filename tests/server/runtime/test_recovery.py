"""What a namespace is given back besides its rows: the compiled conditions of its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.hand_clock import HandClock
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.limits import Limits
from upbeat_server.engine.model import (
    Collaboration,
    Competitive,
    Payload,
    Sequential,
    TaskRecord,
    TaskSpec,
    TaskState,
)
from upbeat_server.runtime.bounds import RuntimeBounds
from upbeat_server.runtime.recovery import open_namespace
from upbeat_server.store import codec
from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.store import NamespaceBatch, TaskRow


class RestoredEngine:
    """Notes what an engine is restored with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tasks: list[Any] = []
        self.collaborations: dict[int, Any] = {}
        monkeypatch.setattr(Engine, "restore", self._restore)

    def _restore(self, tasks: Any, _finished: Any, *, is_copy: bool, collaborations: Any, **_: Any) -> None:
        assert not is_copy
        self.tasks = tasks
        self.collaborations = collaborations


async def stored(*specs: TaskSpec) -> MemoryStore:
    """A store that holds these as unfinished tasks, numbered from 1."""
    store = MemoryStore()
    await store.open()
    adoption = await store.adopt("default")
    rows = [
        TaskRow(
            task_id=number,
            state=TaskState.QUEUED,
            type=spec.type,
            priority=spec.priority,
            create_ms=1,
            end_ms=0,
            parent_id=0,
            record=codec.encode_record(TaskRecord(number, TaskState.QUEUED, 1)),
            spec=codec.encode_spec(spec),
        )
        for number, spec in enumerate(specs, 1)
    ]
    await store.commit([NamespaceBatch("default", adoption.epoch, 1, 1, rows)])
    return store


async def reopened(store: MemoryStore) -> None:
    await open_namespace(store, HandClock(), Limits(), RuntimeBounds(), "default")


async def test_conditions_of_collaborations_are_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Competitive((TaskSpec("work", selector="has(labels.a)"),), 2, "output.ok")
    steps = (TaskSpec("", collaboration=Collaboration(race)),)
    spec = TaskSpec("", collaboration=Collaboration(Sequential(steps)))
    engine = RestoredEngine(monkeypatch)
    await reopened(await stored(TaskSpec("plain", selector="has(labels.b)"), spec))
    plain, _ = engine.tasks
    assert plain[2]({"b": ""})
    assert list(engine.collaborations) == [2]
    predicates, checks = engine.collaborations[2]
    assert predicates["has(labels.a)"]({"a": ""})
    assert checks["output.ok"](Payload("", b'{"ok":true}'))


async def test_a_task_whose_condition_is_lost_is_kept_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Competitive((TaskSpec("work", selector="(("),), 2, "((")
    engine = RestoredEngine(monkeypatch)
    await reopened(
        await stored(TaskSpec("plain", selector="(("), TaskSpec("", collaboration=Collaboration(race)))
    )
    plain, _ = engine.tasks
    assert not plain[2]({})
    predicates, checks = engine.collaborations[2]
    assert not predicates["(("]({})
    assert not checks["(("](Payload("", b"true"))
