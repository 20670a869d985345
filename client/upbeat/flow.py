"""`Client.map`: many values in, their tasks' ends out, a bounded number in between."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from upbeat.handle import output_of
from upbeat.io_thread import Crossing, io_thread
from upbeat.skill import In, Kind, Out
from upbeat.spec import spec_of
from upbeat.submission import Submission

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping

    from upbeat.core import Core
    from upbeat.errors import UpbeatError
    from upbeat.v1 import task_service_pb2


@dataclass(frozen=True, slots=True)
class Done(Generic[In, Out]):
    """The end of one value of a `map`; `index` is the value's place, from 0."""

    index: int
    input: In
    task_id: str
    attempt_count: int
    _skill: Kind[Any, Out] = field(repr=False)
    _finished: task_service_pb2.TaskFinished | None = field(repr=False)
    _error: UpbeatError | None = field(repr=False)

    @property
    def output(self) -> Out:
        """What the task came to; raises TaskFailed, TaskCancelled, CodecError or why it was refused."""
        if self._finished is None:
            assert self._error is not None  # noqa: S101 - a settled submission has one or the other
            raise self._error
        return output_of(self._finished, self._skill)


class Flow(Generic[In, Out]):
    """One run of a map. Values are drawn only as room comes free."""

    def __init__(
        self,
        core: Core,
        skill: Kind[In, Out],
        values: Iterable[In] | AsyncIterable[In],
        in_flight: int,
        options: Mapping[str, Any],
    ) -> None:
        self._core = core
        self._skill = skill
        self._values = values
        self._room = asyncio.Semaphore(in_flight)
        self._options = options
        self._open: dict[Submission, tuple[int, In]] = {}
        self._ended: deque[Submission] = deque()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._is_drawn = False

    async def run(self) -> AsyncGenerator[Done[In, Out], None]:
        """Each value's end, in the order of the ends."""
        drawer = asyncio.create_task(self._draw())
        try:
            while True:
                self._changed.clear()
                while self._ended:
                    submission = self._ended.popleft()
                    done = self._done(submission)
                    self._room.release()
                    yield done
                if self._failure is not None:
                    raise self._failure
                if self._is_drawn and not self._open:
                    return
                await self._changed.wait()
        finally:
            drawer.cancel()
            left = list(self._open)
            if left:
                io_thread().crossing.post(self._abandon, left)

    def _abandon(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            self._core.abandon(submission)

    def _done(self, submission: Submission) -> Done[In, Out]:
        index, value = self._open.pop(submission)
        attempt_count = submission.finished.attempt_count if submission.finished else 0
        return Done(
            index,
            value,
            submission.task_id,
            attempt_count,
            self._skill,
            submission.finished,
            submission.error,
        )

    async def _draw(self) -> None:
        crossing = Crossing(asyncio.get_running_loop())
        post = io_thread().crossing.post
        values = _each(self._values)
        try:
            for index in itertools.count():
                await self._room.acquire()
                value = await anext(values)
                submission = Submission(spec_of(self._skill, value, self._options), is_patient=True)
                self._open[submission] = (index, value)
                post(self._add, submission, crossing)
        except StopAsyncIteration:
            pass
        except Exception as error:
            self._failure = error
        finally:
            self._is_drawn = True
            self._changed.set()

    def _add(self, submission: Submission, crossing: Crossing) -> None:
        """On the I/O thread."""
        submission.when_settled(lambda: crossing.post(self._settled, submission))
        self._core.stream.add(submission)

    def _settled(self, submission: Submission) -> None:
        """Back on the caller's loop."""
        self._ended.append(submission)
        self._changed.set()


async def _each(values: Iterable[In] | AsyncIterable[In]) -> AsyncIterator[In]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value
