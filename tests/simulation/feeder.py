"""Who feeds open pipelines: appends items and closes them, over broken calls, and grades voters.

A pipeline that nobody closes never ends. So the feeder looks for all that are durable, also
those of submissions whose callers never heard of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.simulation.callers import Caller
from upbeat.errors import Refused
from upbeat.v1 import collaboration_service_pb2
from upbeat_server.engine.model import Consensus, Pipeline, TaskState

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.claims import Claims
    from tests.simulation.ledger import Ledger, Life
    from tests.simulation.network import Network

pb: Any = collaboration_service_pb2
FED_MAX = 4
OVER = ("ITEMS_CLOSED", "TASK_FINISHED", "TASK_NOT_FOUND")
"""Reasons for which a pipeline takes nothing more."""


class Feeder(Caller):
    """Feeds all open pipelines, one call after the other for each."""

    def __init__(self, name: str, network: Network, claims: Claims, rng: Random, ledger: Ledger) -> None:
        super().__init__(name, network, claims, rng, "CollaborationService")
        self._ledger = ledger
        self._fed: set[int] = set()
        self._meals: list[asyncio.Task[None]] = []
        self.is_leaving = False

    async def work(self) -> None:
        """Until it is told to leave."""
        while not self.is_leaving:
            await asyncio.sleep(0.1 + self.rng.random() * 0.4)
            for life in self._ledger.family.roots():
                if life.task_id not in self._fed and is_open(life):
                    self._fed.add(life.task_id)
                    self._meals.append(asyncio.get_running_loop().create_task(self._feed(life)))
            if self.rng.random() < 0.1:
                await self._grade()
        self.is_done = True

    async def _feed(self, life: Life) -> None:
        """Some items, each batch perhaps twice, then the end of them."""
        count = await self._count(life)
        for _ in range(self.rng.randrange(FED_MAX)):
            await asyncio.sleep(self.rng.random() * 2)
            count = None if count is None else await self._append(life, count)
        if count is None:
            return
        for _ in range(2 if self.rng.random() < 0.3 else 1):
            await self._told(life, "CloseItems", pb.CloseItemsRequest(task_id=text_of(life)))
        if self.rng.random() < 0.3 and await self._told(life, "AppendItems", _append(life, count, 1)):
            self.claims._fail(13, f"an item was appended to {text_of(life)} after it was closed")

    async def _count(self, life: Life) -> int | None:
        """How many items its spec has: told by the refusal of a gap. None if it is over."""
        try:
            await self._patiently("AppendItems", _append(life, 10_000, 1))
        except Refused as error:
            words = str(error.message)
            if error.reason == "INVALID_FIELD" and "items are there" in words:
                return int(words.partition(" items are there")[0].rpartition(" ")[2])
            self._note_over(life, error)
        else:
            self.claims._fail(13, f"{text_of(life)} took an item behind a gap")
        return None

    async def _append(self, life: Life, count: int) -> int | None:
        """One batch under its index; answers what is there then, None if it is over."""
        added = self.rng.randrange(1, 3)
        for _ in range(2 if self.rng.random() < 0.3 else 1):
            told = await self._told(life, "AppendItems", _append(life, count, added))
            if told is None:
                return None
            if told != count + added:
                self.claims._fail(13, f"{text_of(life)} has {told} items, and not {count + added}")
        return count + added

    async def _told(self, life: Life, method: str, request: Any) -> int | None:
        """How many items there are by the answer, which must be durable; None if it takes no more."""
        try:
            count: int = (await self._patiently(method, request)).item_count
        except Refused as error:
            self._note_over(life, error)
            return None
        self._check_durable(life, count, is_closed=method == "CloseItems")
        return count

    async def _patiently(self, method: str, request: Any) -> Any:
        """A call, repeated while there is no room."""
        while True:
            try:
                return await self.ask(method, request)
            except Refused as error:
                if error.code != "RESOURCE_EXHAUSTED":
                    raise
                self.claims.counts[f"items refused {error.reason}"] += 1
            await asyncio.sleep(1.0)

    def _check_durable(self, life: Life, count: int, *, is_closed: bool) -> None:
        family, group = self._ledger.family, life.last.group
        if group is None or family.lacks_children(life):
            return  # Items that its budget refused have failed, and are no children.
        keys = family.of(life)
        missing = [at for at in range(count - group.items, count) if f"item/{at}/stage/0" not in keys]
        if missing:
            self.claims._fail(12, f"items {missing} of {text_of(life)} were acknowledged, not durable")
        if is_closed and not group.items_closed and not life.is_finished:
            self.claims._fail(12, f"the end of the items of {text_of(life)} was acknowledged, not durable")

    def _note_over(self, life: Life, error: Refused) -> None:
        self.claims.counts[f"items refused {error.reason}"] += 1
        if error.reason not in OVER:
            self.claims._fail(10, f"{text_of(life)} takes no items: {error.reason} {error.message}")

    async def _grade(self) -> None:
        """Say of some voter whether it was right; the next votes weigh by it."""
        voters = [
            child
            for life in self._ledger.family.roots()
            if life.spec.collaboration is not None and isinstance(life.spec.collaboration.mode, Consensus)
            for child in self._ledger.family.of(life).values()
            if child.last.state == TaskState.COMPLETED and child.task_id in self._ledger.lives
        ]
        if not voters:
            return
        voter = self.rng.choice(voters)
        request = pb.GradeTaskRequest(task_id=text_of(voter), correct=self.rng.random() < 0.6)
        try:
            await self.ask("GradeTask", request)
        except Refused as error:
            self.claims.counts[f"grade refused {error.reason}"] += 1
        else:
            self.claims.counts["voter graded"] += 1


def text_of(life: Life) -> str:
    """The id of a task as callers know it."""
    return f"{life.task_id:016x}"


def _append(life: Life, first_index: int, count: int) -> Any:
    items = [{"data": b"appended %d" % (first_index + number)} for number in range(count)]
    return pb.AppendItemsRequest(task_id=text_of(life), items=items, first_index=first_index)


def is_open(life: Life) -> bool:
    """Whether it is a pipeline that somebody has to close."""
    mode = life.spec.collaboration.mode if life.spec.collaboration is not None else None
    return isinstance(mode, Pipeline) and mode.open and life.last.state == TaskState.RUNNING
