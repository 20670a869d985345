"""One bidirectional stream: a reader, ONE writer, and how it ended.

A second concurrent write raises in grpc.aio, and a cancelled read loses a
message: so there is one writer task, and reads are never wrapped in a timeout.
What is to be written is asked for when the stream can take it, which makes
frames coalesce for free while a write is in flight.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol

import grpc

from upbeat.errors import Refused
from upbeat.refusal import error_of_status


class End:
    """Answered by `next_frame` when nothing will be written any more."""


END = End()


class Dialogue(Protocol):
    """The two ends of a stream, as the duplex sees its user."""

    def next_frame(self) -> Any | End | None:
        """The next frame to write; None if there is none now; END to half-close."""

    def due_s(self) -> float | None:
        """In how many seconds `next_frame` has something without a wake-up; None: never."""

    def received(self, frame: Any) -> None:
        """A frame has arrived."""


class Duplex:
    """Runs a dialogue over a call; `wake` it when there is something to write."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Any, Any], dialogue: Dialogue) -> None:
        self._call = call
        self._dialogue = dialogue
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        """There is something to write."""
        self._wanted.set()

    def hang_up(self) -> None:
        """End the stream without a word."""
        self._call.cancel()

    async def run(self) -> Refused:
        """Until the stream ends, whoever ends it; answers how. The call is over afterwards.

        The error's code is OK where the server ended it in good order. Raises
        whatever the dialogue raises, and CancelledError when cancelled.
        """
        writer = asyncio.create_task(self._write())
        try:
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                if frame is None:
                    return unreadable()
                self._dialogue.received(frame)
                self._wanted.set()
            return await self._ending()
        except grpc.aio.AioRpcError:
            return await self._ending()
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return await self._ending()  # Only the call was: we hung up.
        finally:
            self._call.cancel()
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer

    async def _ending(self) -> Refused:
        code = await self._call.code()
        message = await self._call.details()
        if code is grpc.StatusCode.OK:
            return Refused("the server ended the stream", code="OK")
        return error_of_status(code, message or "", await self._call.trailing_metadata())

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wanted.clear()
                frame = self._dialogue.next_frame()
                if isinstance(frame, End):
                    await self._call.done_writing()
                    return
                if frame is not None:
                    await self._call.write(frame)
                    continue
                due_s = self._dialogue.due_s()
                timer = loop.call_later(due_s, self._wanted.set) if due_s is not None else None
                try:
                    await self._wanted.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; the reader says how.
            return
        except Exception:
            # A defect in the dialogue must not leave a stream that only reads.
            self._call.cancel()
            raise


def unreadable() -> Refused:
    """How a stream ends on which bytes arrive that are not a message; grpc.aio reads them as None."""
    return Refused("the server sent a frame that cannot be read", code="INTERNAL")


def is_cancelled() -> bool:
    """Whether the current task is being cancelled, and not only a call that it awaits.

    grpc.aio raises CancelledError for both.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
