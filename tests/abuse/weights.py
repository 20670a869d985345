"""Messages that are too large, or say that they will be."""

from __future__ import annotations

import asyncio
import gzip
import struct
from functools import cache

from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame

from tests.abuse.raw import grpc_message
from tests.abuse.siege import Siege, attack

MIB = 1 << 20
CANCEL = 8
SUBMIT = "TaskService/SubmitTask"
BATCH = "TaskService/BatchSubmitTasks"


@attack
async def huge_message(siege: Siege) -> None:
    """16 MiB in one message, at a limit of 8 MiB."""
    data = bytes(16 * MIB)

    async def run() -> None:
        async with siege.connection() as connection:
            while siege.is_on:
                stream_id = await connection.begin(BATCH)
                siege.counts["messages"] += 1
                await connection.send_message(stream_id, data, ends=True)
                await connection.wait_ended(stream_id)

    await siege.again(run, lanes=2)


@attack
async def gigabyte_promise(siege: Siege) -> None:
    """A length of 1 GiB, and then a few bytes from time to time."""

    async def run() -> None:
        async with siege.connection() as connection:
            streams = [await connection.begin(BATCH) for _ in range(90)]
            for stream_id in streams:
                await connection.send_stream(stream_id, struct.pack(">BI", 0, 1 << 30))
                siege.counts["promises"] += 1
            while siege.is_on and len(connection.ended) < len(streams):
                for stream_id in streams:
                    if stream_id not in connection.ended:
                        await connection.send_stream(stream_id, b"xxxx")
                await asyncio.sleep(0.01)  # The pace of the trickle.

    await siege.again(run, lanes=2)


@cache
def bomb(mib: int) -> bytes:
    """Many MiB of nothing in a thousandth of that."""
    return gzip.compress(bytes(mib * MIB), compresslevel=1)


@attack
async def gzip_bomb(siege: Siege) -> None:
    """A message of 1 MiB, or less in the short form, that unpacks to 256 times as much."""
    data = grpc_message(await siege.prepared(lambda: bomb(siege.scaled(256))), compressed=True)

    async def run() -> None:
        async with siege.connection() as connection:
            while siege.is_on:
                stream_id = await connection.begin(BATCH, ("grpc-encoding", "gzip"))
                siege.counts["bombs"] += 1
                await connection.send_stream(stream_id, data)
                await connection.send(DataFrame(stream_id, flags=["END_STREAM"]))
                await connection.wait_ended(stream_id)

    await siege.again(run, lanes=2)


@attack
async def gone_midway(siege: Siege) -> None:
    """Half a message, then a reset, or GOAWAY, or nothing but the end of the connection."""
    half = struct.pack(">BI", 0, 4 * MIB) + bytes(60_000)
    ways = 0

    async def run() -> None:
        nonlocal ways
        async with siege.connection() as connection:
            ways += 1
            for _ in range(20):
                stream_id = await connection.begin(SUBMIT)
                await connection.send_stream(stream_id, half[:3_000])
                if ways % 3 == 0:
                    await connection.send(RstStreamFrame(stream_id, error_code=CANCEL))
            if ways % 3 == 1:
                await connection.send(GoAwayFrame(last_stream_id=0, additional_data=b"bye"))
            siege.counts["half messages"] += 20

    await siege.again(run, lanes=2)


@attack
async def half_a_call(siege: Siege) -> None:
    """Unary calls that close their side without a whole message: grpc waits, and answers never."""

    async def run() -> None:
        async with siege.connection() as connection:
            for _ in range(100):
                headers = connection.call(SUBMIT)
                await connection.send(headers)
                await connection.send_stream(headers.stream_id, struct.pack(">BI", 0, 1_000) + b"half")
                await connection.send(DataFrame(headers.stream_id, flags=["END_STREAM"]))
                siege.counts["half calls"] += 1
            await siege.rest()

    await siege.again(run, lanes=4)
