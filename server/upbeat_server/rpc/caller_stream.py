"""A caller's bidirectional stream: a reader, one writer, and a handler that waits for the end.

The first frame names the namespace and opens what the runtime keeps for the stream; every frame is taken in
turn, and frames that carry no work are taken at a pace. What is opened is closed before the status is sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from upbeat_server.engine import reasons
from upbeat_server.rpc.pace import Pace
from upbeat_server.rpc.stream_life import StreamLife
from upbeat_server.runtime.refused import Refused, invalid

if TYPE_CHECKING:
    import asyncio

    from google.protobuf.message import Message

    from upbeat_server.engine.model import Refusal
    from upbeat_server.rpc.method import Stream
    from upbeat_server.runtime.orchestrator import Orchestrator


class Opened(Protocol):
    """What the runtime keeps for a stream."""

    @property
    def closed(self) -> asyncio.Future[Refusal | None]:
        """Done when the stream is to end: with None in peace, else with the refusal to end it with."""

    def peer_ended(self) -> None:
        """The caller sends nothing more."""


OpenedT = TypeVar("OpenedT", bound=Opened)


class CallerStream(ABC, Generic[OpenedT]):
    """One call."""

    kind: ClassVar[str]
    """What metrics call such streams."""

    def __init__(self, orchestrator: Orchestrator, stream: Stream) -> None:
        self.orchestrator = orchestrator
        self.namespace = ""  # Known with the first frame.
        self._stream = stream
        self._life = StreamLife()
        self._pace = Pace(orchestrator.bounds.streams.idle_frames_per_second)
        self._opened: OpenedT | None = None

    @abstractmethod
    async def open(self) -> OpenedT:
        """Open the runtime's part. Raises Refused."""

    @abstractmethod
    def close(self, opened: OpenedT) -> None:
        """The stream is gone."""

    @abstractmethod
    async def take(self, frame: Any, opened: OpenedT) -> bool:
        """Bring what a frame says; whether that was anything. Raises Refused."""

    @abstractmethod
    async def next_answer(self, opened: OpenedT) -> Message | bytes | None:
        """The next frame to the caller; None after the last."""

    async def run(self) -> None:
        """Live until the stream ends. Raises Refused with the reason, if there is one."""
        self._life.start(self._read())
        try:
            refusal = await self._life.closed
        finally:
            if self._opened is not None:
                self.close(self._opened)
            self._life.cancel()
        if refusal is not None:
            self.orchestrator.observer.stream_ended(self.kind, refusal.reason)
            raise Refused(refusal)

    async def _read(self) -> None:
        frame = await self._stream.read()
        if frame is None:
            self._life.end(None)
            return
        self.namespace = self._stream.namespace(frame.namespace)
        opened = self._opened = await self.open()
        self._life.end_with(opened.closed)
        self._life.start(self._write(opened))
        while frame is not None:
            if frame.namespace and frame.namespace != self.namespace:
                raise namespace_mismatch("namespace", self.namespace)
            if not await self.take(frame, opened):
                await self._pace.keep()
            frame = await self._stream.read()
        opened.peer_ended()

    async def _write(self, opened: OpenedT) -> None:
        while (answer := await self.next_answer(opened)) is not None:
            await self._stream.write(answer)
        self._life.end(None)


def namespace_mismatch(field: str, namespace: str) -> Refused:
    """An inner namespace differs from the outer one."""
    return invalid(
        field, f"must be empty or {namespace!r}, which the whole call is for", reasons.NAMESPACE_MISMATCH
    )
