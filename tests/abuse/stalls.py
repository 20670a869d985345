"""Peers that are slow, silent, many, or do not speak HTTP/2 at all."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import TYPE_CHECKING

from hyperframe.frame import SettingsFrame

from tests.abuse.raw import GONE, PREFACE, dial, grpc_message
from tests.abuse.siege import Shut, Siege, attack
from upbeat.v1 import task_service_pb2 as wire
from upbeat.v1.task_pb2 import TASK_VIEW_FULL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.abuse.raw import RawConnection

SUBMIT = "TaskService/SubmitTask"
STREAM = "TaskService/StreamTasks"
KIB = 1 << 10


@attack
async def stream_crowd(siege: Siege) -> None:
    """Thousands of streams on a connection, many more than the server allows."""

    async def run() -> None:
        async with siege.connection() as connection:
            while siege.is_on:
                await connection.send(*(connection.call(STREAM) for _ in range(100)))
                siege.counts["streams"] += 100

    await siege.again(run, lanes=2)


@attack
async def idle_connections(siege: Siege) -> None:
    """Thousands of connections that say the preface and nothing else."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(siege.scaled(5_000)):
            with contextlib.suppress(Shut):
                await stack.enter_async_context(siege.connection())
        await siege.rest()


@attack
async def mute_connections(siege: Siege) -> None:
    """Connections that do not even say the preface, or a byte of it from time to time."""
    writers = []
    try:
        for _ in range(siege.scaled(2_000)):
            with contextlib.suppress(*GONE):
                _, writer = await dial(siege.port)
                writers.append(writer)
                siege.counts["connections"] += 1
        for byte in PREFACE:
            for writer in writers[::2]:
                writer.write(bytes([byte]))
            if not siege.is_on:
                break
            await asyncio.sleep(min(siege.seconds_left / len(PREFACE), 1.0))  # The pace of the trickle.
        await siege.rest()
    finally:
        for writer in writers:
            writer.transport.abort()


@attack
async def slow_frames(siege: Siege) -> None:
    """A submission byte by byte, on many streams."""
    message = grpc_message(submission("x" * 1_000))

    async def run() -> None:
        async with siege.connection() as connection:
            streams = [await connection.begin(SUBMIT) for _ in range(90)]
            for byte in message:
                for stream_id in streams:
                    await connection.send_stream(stream_id, bytes([byte]))
                siege.counts["bytes"] += len(streams)
                await asyncio.sleep(0.02)  # The pace of the trickle.

    await siege.again(run, lanes=2)


@attack
async def half_a_frame(siege: Siege) -> None:
    """The head of a frame and a part of its body, then nothing."""

    async def run() -> None:
        async with siege.connection() as connection:
            frame = connection.call(SUBMIT).serialize()
            await connection.send_bytes(frame[: len(frame) // 2])
            siege.counts["half frames"] += 1
            await siege.rest()

    await siege.again(run, lanes=siege.scaled(200))


@attack
async def garbage(siege: Siege) -> None:
    """Bytes that mean nothing, before and behind the preface."""
    random = Random("garbage")

    async def run() -> None:
        with contextlib.suppress(*GONE):
            reader, writer = await dial(siege.port)
            try:
                begin = b"" if random.random() < 0.5 else PREFACE + SettingsFrame().serialize()
                writer.write(begin + random.randbytes(4_096))
                siege.counts["connections"] += 1
                await writer.drain()
                await reader.read()
            finally:
                writer.transport.abort()

    await siege.again(run, lanes=4)


@attack
async def http_1(siege: Siege) -> None:
    """HTTP/1.1 on the port, as a browser or a probe of the cloud speaks it."""

    async def run() -> None:
        with contextlib.suppress(*GONE):
            reader, writer = await dial(siege.port)
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n\r\n")
                siege.counts["requests"] += 1
                await writer.drain()
                await reader.read()
            finally:
                writer.transport.abort()

    await siege.again(run, lanes=4)


@attack
async def watches_unread(siege: Siege) -> None:
    """Watches of everything whose windows are zero and stay so."""

    async def begin(connection: RawConnection) -> None:
        stream_id = await connection.begin("TaskService/WatchTasks")
        everything = wire.WatchTasksRequest(filter="", view=TASK_VIEW_FULL)
        await connection.send_message(stream_id, everything.SerializeToString(), ends=True)

    await _unread(siege, begin, "watches")


@attack
async def agent_watches_unread(siege: Siege) -> None:
    """Watches of the agents whose windows are zero and stay so."""

    async def begin(connection: RawConnection) -> None:
        stream_id = await connection.begin("AgentService/WatchAgents")
        await connection.send_message(stream_id, b"", ends=True)

    await _unread(siege, begin, "watches")


@attack
async def submissions_unread(siege: Siege) -> None:
    """Submissions on streams whose answers and ends nobody reads."""

    async def begin(connection: RawConnection) -> None:
        stream_id = await connection.begin(STREAM)
        frame = wire.StreamTasksRequest()
        for number in range(20):
            request = frame.requests.add(request_id=f"unread-{id(connection)}-{stream_id}-{number}")
            request.spec.type = "abuse.unread"
            request.spec.input.data = bytes(KIB)
        await connection.send_message(stream_id, frame.SerializeToString())

    await _unread(siege, begin, "streams")


async def _unread(siege: Siege, begin: Callable[[RawConnection], Awaitable[None]], name: str) -> None:
    async def run() -> None:
        async with siege.connection(window=0) as connection:
            for _ in range(90):
                await begin(connection)
                siege.counts[name] += 1
            await siege.rest()

    await siege.again(run, lanes=3)


def submission(text: str) -> bytes:
    """A submission nobody takes."""
    request = wire.SubmitTaskRequest()
    request.spec.type = "abuse.slow"
    request.spec.input.data = text.encode()
    return request.SerializeToString()
