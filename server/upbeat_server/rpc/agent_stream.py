"""One agent's Connect: a reader, one writer, and a handler that waits for the end.

The handler only waits for the end (``stream_life.py``), cleans up synchronously and
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
from upbeat_server.rpc.pace import Pace
from upbeat_server.rpc.stream_life import StreamLife
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
        self._life = StreamLife()
        self._pace = Pace(orchestrator.bounds.streams.idle_frames_per_second)
        self._session: AgentSession | None = None

    async def run(self) -> None:
        """Live until the stream ends. Raises Refused with the reason, if there is one."""
        loop = asyncio.get_running_loop()
        hello_timer = loop.call_later(HELLO_WAIT_S, self._expect_hello)
        self._life.start(self._read())
        try:
            refusal = await self._life.closed
        finally:
            hello_timer.cancel()
            if self._session is not None:
                self._session.leave()
            self._life.cancel()
        if refusal is not None:
            raise Refused(refusal)

    def _expect_hello(self) -> None:
        if self._session is None:
            self._life.end(_HELLO_REQUIRED)

    async def _read(self) -> None:
        message = await self._stream.read()
        if message is None:
            self._life.end(None)
            return
        session = await self._hello(message)
        reader = FrameReader(self._orchestrator.bounds.payloads, session.outbox, message.hello.capabilities)
        message.ClearField("hello")
        while message is not None:
            if message.HasField("hello"):
                raise refused(reasons.HELLO_REPEATED, "hello was said already: a stream belongs to one agent")
            await session.report(reader.read(message), self._stream.bytes_read)
            if session.keep_or_close():
                self._orchestrator.observer.stream_ended("agent", reasons.SLOW_READER)
            if not (
                message.results
                or message.attempt_acks
                or message.progress
                or message.publishes
                or message.subscribes
                or message.delivery_acks
            ):
                await self._pace.keep()
            message = await self._stream.read()
        session.peer_ended()

    async def _hello(self, message: agent_service_pb2.ConnectRequest) -> AgentSession:
        if not message.HasField("hello"):
            raise Refused(_HELLO_REQUIRED)
        namespace = self._stream.namespace(message.hello.namespace)
        hello = read_hello(message.hello)
        session = await self._orchestrator.open_agent_session(namespace)
        self._session = session
        self._life.end_with(session.closed)
        self._life.start(self._write(session, namespace))
        await session.open(hello)
        return session

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
            try:
                await self._stream.write(writer.write(parcel))
            except Refused as error:
                observer.stream_ended("agent", error.refusal.reason)
                raise
        self._life.end(None)
