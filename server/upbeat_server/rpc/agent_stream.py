"""One agent's Connect: a reader, one writer, and a handler that waits for the end.

The reader and the writer are tasks of their own; whatever ends the stream sets
``closed`` and the handler, which only waits for it, cleans up synchronously and
leaves. Leases are released before the status is sent: sending it may wait for a
peer that is gone. No read is ever given a deadline (the next one would lose a
message); the engine's timers notice who is silent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.rpc.frames import FrameReader, FrameWriter, read_hello
from upbeat_server.rpc.method import PeerGone
from upbeat_server.runtime.refused import Refused, refused

if TYPE_CHECKING:
    from upbeat.v1 import agent_service_pb2
    from upbeat_server.rpc.method import Stream
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.sessions import AgentSession

HELLO_WAIT_S = 20.0
_HELLO_REQUIRED = Refusal(reasons.HELLO_REQUIRED, "the first frame must say hello, and soon")


class AgentStream:
    """One Connect call."""

    def __init__(self, orchestrator: Orchestrator, stream: Stream, server_version: str) -> None:
        self._orchestrator = orchestrator
        self._stream = stream
        self._server_version = server_version
        self._time = asyncio.get_running_loop().time
        self._closed: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._session: AgentSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Live until the stream ends. Raises Refused with the reason, if there is one."""
        loop = asyncio.get_running_loop()
        hello_timer = loop.call_later(HELLO_WAIT_S, self._expect_hello)
        self._start(self._read())
        try:
            refusal = await self._closed
        finally:
            hello_timer.cancel()
            if self._session is not None:
                self._session.leave()
            for task in self._tasks:
                task.cancel()
        if refusal is not None:
            raise Refused(refusal)

    def _start(self, coroutine: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(coroutine)  # type: ignore[arg-type]
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """Only a failure ends the stream here; the wrapper turns a defect into INTERNAL."""
        error = None if task.cancelled() else task.exception()
        if error is None or self._closed.done():
            return
        if isinstance(error, Refused):
            self._close(error.refusal)
        elif isinstance(error, PeerGone):
            self._close(None)
        else:
            self._closed.set_exception(error)

    def _close(self, refusal: Refusal | None) -> None:
        if not self._closed.done():
            self._closed.set_result(refusal)

    def _expect_hello(self) -> None:
        if self._session is None:
            self._close(_HELLO_REQUIRED)

    async def _read(self) -> None:
        message = await self._stream.read()
        if message is None:
            self._close(None)
            return
        session = await self._hello(message)
        reader = FrameReader(self._orchestrator.bounds.payloads, session.outbox)
        message.ClearField("hello")
        while message is not None:
            if message.HasField("hello"):
                raise refused(reasons.HELLO_REPEATED, "hello was said already: a stream belongs to one agent")
            await session.report(reader.read(message), message.ByteSize())
            if session.keep_or_close():
                self._orchestrator.observer.stream_ended("agent", reasons.SLOW_READER)
            message = await self._stream.read()
        session.peer_ended()

    async def _hello(self, message: agent_service_pb2.ConnectRequest) -> AgentSession:
        if not message.HasField("hello"):
            raise Refused(_HELLO_REQUIRED)
        namespace = self._stream.namespace(message.hello.namespace)
        hello = read_hello(message.hello)
        session = await self._orchestrator.open_agent_session(namespace)
        self._session = session
        session.closed.add_done_callback(self._session_closed)
        self._start(self._write(session, namespace))
        await session.open(hello)
        return session

    def _session_closed(self, closed: asyncio.Future[Refusal | None]) -> None:
        if not closed.cancelled():
            self._close(closed.result())

    async def _write(self, session: AgentSession, namespace: str) -> None:
        orchestrator = self._orchestrator
        writer = FrameWriter(
            namespace, orchestrator.limits, orchestrator.bounds.payloads, self._server_version
        )
        observer = orchestrator.observer
        while (parcel := await session.outbox.take()) is not None:
            if parcel.assignments:
                waited_s = self._time() - parcel.assignments[0].turn_started
                observer.dispatched(waited_s, len(parcel.assignments))
            await self._stream.write(writer.write(parcel))
        self._close(None)
