"""Questions of the loop to the store about finished tasks: gathered, asked at once.

The loop never waits for an answer; what is to be done with it comes as a callback,
which gets the task, None if there is none, or the refusal when the store cannot say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from upbeat_server.engine.model import Refusal, TaskId
from upbeat_server.runtime.refused import STORE_DOWN
from upbeat_server.runtime.snapshot import TaskSnapshot
from upbeat_server.store.store import StoreError

if TYPE_CHECKING:
    from upbeat_server.runtime.errands import Errands
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.store.store import Store, StoredTask

Answer: TypeAlias = Callable[[TaskSnapshot | Refusal | None], None]
SLICE = 256
AGAIN_S = 1.0


class Lookups:
    """What has been asked and not yet answered."""

    def __init__(self, store: Store, errands: Errands) -> None:
        self._store = store
        self._errands = errands
        self._asked: dict[Namespace, list[tuple[TaskId, Answer]]] = {}

    def ask(self, namespace: Namespace, task_id: TaskId, answer: Answer) -> None:
        """Ask for one task; what is asked before the event loop turns goes together."""
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._start)
        self._asked.setdefault(namespace, []).append((task_id, answer))

    def ask_again(self, namespace: Namespace, task_id: TaskId, answer: Answer) -> None:
        """Ask once more, after a while: the store could not say."""
        asyncio.get_running_loop().call_later(AGAIN_S, self._ask_if_live, namespace, task_id, answer)

    def _ask_if_live(self, namespace: Namespace, task_id: TaskId, answer: Answer) -> None:
        if namespace.is_live:
            self.ask(namespace, task_id, answer)

    def _start(self) -> None:
        asked, self._asked = self._asked, {}
        for namespace, questions in asked.items():
            self._errands.start(self._answer(namespace, questions), "lookups")

    async def _answer(self, namespace: Namespace, questions: list[tuple[TaskId, Answer]]) -> None:
        for first in range(0, len(questions), SLICE):
            part = questions[first : first + SLICE]
            found: list[StoredTask | None] | None
            try:
                found = await self._store.get(namespace.name, [task_id for task_id, _ in part])
            except StoreError:
                found = None
            if not namespace.is_live:
                return
            for number, (_, answer) in enumerate(part):
                if found is None:
                    answer(STORE_DOWN)
                else:
                    stored = found[number]
                    answer(None if stored is None else TaskSnapshot.of_stored(stored))
