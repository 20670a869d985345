"""Many items through one pipeline: drawn from the caller as there is room, handed back as they leave.

The pipeline is an open one. Items are appended with their index, so that an
append may be repeated; what leaves the last stage is read from a watch of the
children that have completed, and its end from the pipeline itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from upbeat.backoff import Backoff
from upbeat.errors import FailedPrecondition, ItemsFull, RevisionOutOfRange, StepFailed
from upbeat.io_thread import io_thread
from upbeat.outcome import CollaborationResult
from upbeat.refusal import error_of_task
from upbeat.skill import In, Kind, Out
from upbeat.task import Task
from upbeat.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from upbeat.client import Client
    from upbeat.collaboration.pipeline import Pipeline
    from upbeat.handle import TaskHandle
    from upbeat.outcome import ItemError
    from upbeat.v1 import payload_pb2

AHEAD_MAX = 256
"""Items that are drawn before the server has taken them; also the most that one append carries."""
BYTES_MAX = 1 << 20
_LAST = re.compile(r"item/(\d+)/stage/(\d+)")


@dataclass(frozen=True, slots=True)
class PipelineItem(Generic[Out]):
    """An item that has left a pipeline; `index` is its place among the items, from 0."""

    index: int
    task_id: str
    _kind: Kind[Any, Out] = field(repr=False)
    _task: Task | None = field(repr=False)
    _error: ItemError | None = field(repr=False)

    @property
    def output(self) -> Out:
        """What became of it; raises StepFailed if it was given up, and CodecError."""
        if self._task is not None:
            output: Out = self._task.result(self._kind)
            return output
        assert self._error is not None  # noqa: S101 - one or the other
        raise StepFailed(
            f"item {self.index} was given up in stage {self._error.stage}: "
            f"{self._error.reason}: {self._error.message}",
            reason="STEP_FAILED",
            task_id=self.task_id,
            details={
                "step": f"item/{self.index}/stage/{self._error.stage}",
                "task_id": self._error.task_id,
                "reason": self._error.reason,
            },
        )


class ItemFlow(Generic[In, Out]):
    """One run of items through a pipeline."""

    def __init__(
        self, client: Client, pipeline: Pipeline[In, Out], items: Iterable[In] | AsyncIterable[In]
    ) -> None:
        self._client = client
        self._pipeline = pipeline
        self._items = items
        self._seen: set[int] = set()

    async def run(self, options: dict[str, Any]) -> AsyncGenerator[PipelineItem[Out], None]:
        """Each item as it leaves; leaving early cancels the pipeline."""
        handle = await self._client.submit(self._pipeline.opened(keeps_no_outputs=True), None, **options)
        feeding = asyncio.create_task(Feed(self._client, handle.task_id).run(self._pipeline, self._items))
        ending = asyncio.create_task(self._end(handle))
        try:
            while not ending.done() or len(self._seen) < ending.result().completed_items:
                try:
                    async for item in self._leaving(handle.task_id, feeding, ending):
                        yield item
                except RevisionOutOfRange:
                    continue  # Read too slowly: a new watch begins with all that has left.
            for error in ending.result().item_errors:
                yield PipelineItem(error.index, error.task_id, self._pipeline.last, None, error)
        finally:
            feeding.cancel()
            is_over = ending.done()
            ending.cancel()
            await asyncio.gather(feeding, ending, return_exceptions=True)
            if not is_over and handle.submission is not None:
                io_thread().crossing.post(self._client._core.abandon, handle.submission)

    async def _leaving(
        self, task_id: str, feeding: asyncio.Task[None], ending: asyncio.Task[CollaborationResult]
    ) -> AsyncGenerator[PipelineItem[Out], None]:
        of_type = f' AND type = "{self._pipeline.last_type}"' if self._pipeline.last_type else ""
        async with self._client.watch(
            f'parent = "{task_id}" AND state = COMPLETED{of_type}', full=True
        ) as watch:
            event = asyncio.ensure_future(anext(watch))
            try:
                while not ending.done() or len(self._seen) < ending.result().completed_items:
                    waited: set[asyncio.Future[Any]] = {event}
                    waited |= {each for each in (feeding, ending) if not each.done()}
                    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                    if feeding.done():
                        feeding.result()
                    if event.done():
                        news = event.result()
                        event = asyncio.ensure_future(anext(watch))
                        item = self._item(news) if isinstance(news, Task) else None
                        if item is not None:
                            yield item
            finally:
                event.cancel()
                await asyncio.gather(event, return_exceptions=True)

    def _item(self, task: Task) -> PipelineItem[Out] | None:
        """The item that a child was, if the child is of the last stage and news."""
        match = _LAST.fullmatch(task.member)
        if match is None or int(match[2]) != self._pipeline.stage_count - 1:
            return None
        index = int(match[1])
        if index in self._seen:
            return None
        self._seen.add(index)
        return PipelineItem(index, task.task_id, self._pipeline.last, task, None)

    async def _end(self, handle: TaskHandle[list[Out]]) -> CollaborationResult:
        """What the pipeline came to, once it has ended; raises why it failed."""
        core = self._client._core
        assert handle.submission is not None  # noqa: S101 - it was submitted here
        await io_thread().call(core.attached(handle.submission))
        request = task_service_pb2.GetTaskRequest(task_id=handle.task_id, view=task_pb2.TASK_VIEW_BASIC)
        task = (await io_thread().call(core.tasks("GetTask", request))).task
        error = error_of_task(task.state, task.error, task.task_id, task.attempt_count)
        if error is not None:
            raise error
        return CollaborationResult.of(task.collaboration_result)


class Feed:
    """Appends what a caller's iterable yields, as fast as the pipeline takes it, then closes."""

    def __init__(self, client: Client, task_id: str) -> None:
        self._client = client
        self._task_id = task_id
        self._queue: asyncio.Queue[payload_pb2.Payload | None] = asyncio.Queue(AHEAD_MAX)
        self._backoff = Backoff(base_s=0.05, max_s=1.0)
        self._part_max = AHEAD_MAX  # How many the pipeline is likely to take at once.
        self._next_index = 0

    async def run(self, kind: Kind[In, Any], items: Iterable[In] | AsyncIterable[In]) -> None:
        """To the end of the items; raises what drawing or appending one raises."""
        drawing = asyncio.create_task(self._draw(kind, items))
        try:
            is_last = False
            while not is_last:
                batch, is_last = await self._batch()
                if not await self._append(batch):
                    return
            await drawing  # Raises what the iterable raised.
            with suppress(FailedPrecondition):
                await self._client.close_items(self._task_id)
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)

    async def _draw(self, kind: Kind[In, Any], items: Iterable[In] | AsyncIterable[In]) -> None:
        try:
            if isinstance(items, AsyncIterable):
                async for item in items:
                    await self._queue.put(kind.encode_input(item))
            else:
                for item in items:
                    await self._queue.put(kind.encode_input(item))
        except Exception:
            await self._queue.put(None)
            raise
        await self._queue.put(None)

    async def _batch(self) -> tuple[list[payload_pb2.Payload], bool]:
        """What there is now, at least one; and whether it is the last."""
        batch: list[payload_pb2.Payload] = []
        size = 0
        item = await self._queue.get()
        while item is not None:
            batch.append(item)
            size += item.ByteSize()
            if self._queue.empty() or len(batch) >= AHEAD_MAX or size >= BYTES_MAX:
                return batch, False
            item = self._queue.get_nowait()
        return batch, True

    async def _append(self, batch: list[payload_pb2.Payload]) -> bool:
        """Waits where the pipeline is full, and offers less then; False if the pipeline has ended."""
        while batch:
            part = batch[: self._part_max]
            try:
                await self._client.append_items(self._task_id, part, first_index=self._next_index)
            except ItemsFull as error:
                self._part_max = max(1, len(part) // 2)
                await asyncio.sleep(self._backoff.next_s(error.retry_after or 0.0))
            except FailedPrecondition:
                return False  # It ended before its items did: how, is told by itself.
            else:
                self._next_index += len(part)
                self._part_max = min(AHEAD_MAX, self._part_max + 1 + len(part) // 8)
                self._backoff.reset()
                del batch[: len(part)]
        return True
