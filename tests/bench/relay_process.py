"""Bare grpc.aio: what any service in Python on this machine could reach at most.

Run as ``python -m tests.bench.relay_process ROLE ADDRESS``: server, worker, or submitter, which takes a plan.
The server parses every message and moves it between two queues, or sends it back; it keeps nothing and
decides nothing. A worker makes a result of each item. The submitter prints what came back in a fixed time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.bench.figures import percentile
from tests.bench.loop import run
from tests.bench.steady import Steady

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
PAYLOAD = b"x" * 256


@dataclass(frozen=True)
class Plan:
    """What a submitter does: ``window`` frames of ``items`` each are under way at any time."""

    method: str  # Unary, Echo or Submit.
    items: int
    window: int
    warm_up_s: float
    seconds: float

    def as_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def message_classes() -> tuple[Any, Any]:
    """An item with an id and a payload, and a frame of items."""
    file = descriptor_pb2.FileDescriptorProto(name="relay.proto", package="relay", syntax="proto3")
    item = file.message_type.add(name="Item")
    item.field.add(name="id", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    item.field.add(name="payload", number=2, type="TYPE_BYTES", label="LABEL_OPTIONAL")
    frame = file.message_type.add(name="Frame")
    frame.field.add(
        name="items", number=1, type="TYPE_MESSAGE", label="LABEL_REPEATED", type_name=".relay.Item"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return (
        message_factory.GetMessageClass(pool.FindMessageTypeByName("relay.Item")),
        message_factory.GetMessageClass(pool.FindMessageTypeByName("relay.Frame")),
    )


Item, Frame = message_classes()


def result_of(frame: Any) -> Any:
    """What has to be done with a frame to answer it: each item is read, and one made for it."""
    return Frame(items=[Item(id=item.id, payload=item.payload) for item in frame.items])


def moved(inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]) -> Callable[..., Awaitable[None]]:
    """A handler that puts what it reads into one queue and writes what is in the other."""

    async def handler(frames: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async def read() -> None:
            async for frame in frames:
                inbox.put_nowait(frame)

        reading = asyncio.create_task(read())
        try:
            while True:
                await context.write(await outbox.get())
        finally:
            reading.cancel()

    return handler


async def serve(address: str) -> None:
    """Serve until killed."""
    to_worker: asyncio.Queue[Any] = asyncio.Queue()
    to_submitter: asyncio.Queue[Any] = asyncio.Queue()

    async def unary(frame: Any, context: object) -> Any:
        return result_of(frame)

    async def echo(frames: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async for frame in frames:
            await context.write(result_of(frame))

    streams = {
        "Echo": echo,
        "Submit": moved(to_worker, to_submitter),
        "Work": moved(to_submitter, to_worker),
    }
    codec: dict[str, Any] = {
        "request_deserializer": Frame.FromString,
        "response_serializer": Frame.SerializeToString,
    }
    handlers: dict[str, Any] = {
        name: grpc.stream_stream_rpc_method_handler(handler, **codec) for name, handler in streams.items()
    }
    handlers["Unary"] = grpc.unary_unary_rpc_method_handler(unary, **codec)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("relay.Relay", handlers),))
    server.add_insecure_port(address)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


CODEC: dict[str, Any] = {
    "request_serializer": Frame.SerializeToString,
    "response_deserializer": Frame.FromString,
}


async def work(address: str) -> None:
    """Answer every frame until killed."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        stream: Any = channel.stream_stream("/relay.Relay/Work", **CODEC)()
        await stream.wait_for_connection()
        print("ready", flush=True)
        while (frame := await stream.read()) is not grpc.aio.EOF:
            await stream.write(result_of(frame))


@dataclass
class Tally:
    """What came back, and how long each frame took."""

    plan: Plan
    steady: Steady
    took_s: list[float] = field(default_factory=list)
    number: count[int] = field(default_factory=count)

    def frame(self) -> Any:
        """The next frame to send."""
        return Frame(
            items=[Item(id=f"{next(self.number):032x}", payload=PAYLOAD) for _ in range(self.plan.items)]
        )

    def add(self, frame: Any, sent_at: float) -> bool:
        """A frame came back; answers whether the time is over."""
        if len(frame.items) != self.plan.items or frame.items[-1].payload != PAYLOAD:
            raise RuntimeError("what came back is not what was sent")
        if self.steady.has_begun:
            self.took_s.append(time.perf_counter() - sent_at)
        return self.steady.add(self.plan.items)


async def called(channel: grpc.aio.Channel, tally: Tally) -> None:
    """Unary calls, as many lanes of them as the window is wide."""
    call: Any = channel.unary_unary("/relay.Relay/Unary", **CODEC)

    async def lane() -> None:
        is_over = False
        while not is_over:
            sent_at = time.perf_counter()
            is_over = tally.add(await call(tally.frame()), sent_at)

    lanes = [asyncio.create_task(lane()) for _ in range(tally.plan.window)]
    await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
    for each in lanes:
        each.cancel()
    for ended in await asyncio.gather(*lanes, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def streamed(channel: grpc.aio.Channel, tally: Tally) -> None:
    """Frames on one stream, which come back in their order."""
    stream: Any = channel.stream_stream(f"/relay.Relay/{tally.plan.method}", **CODEC)()
    await stream.wait_for_connection()
    sent: deque[float] = deque()

    async def send() -> None:
        sent.append(time.perf_counter())
        await stream.write(tally.frame())

    for _ in range(tally.plan.window):
        await send()
    while not tally.add(await stream.read(), sent.popleft()):
        await send()
    stream.cancel()


async def submit(address: str, plan: Plan) -> None:
    """Carry out a plan and print what it came to."""
    tally = Tally(plan, Steady(plan.warm_up_s, plan.seconds))
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        await (called if plan.method == "Unary" else streamed)(channel, tally)
    latencies = {
        name: percentile(tally.took_s, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
    print(json.dumps({**tally.steady.result(), **latencies}), flush=True)


if __name__ == "__main__":
    role, where, *rest = sys.argv[1:]
    if role == "submitter":
        run(submit(where, Plan(**json.loads(rest[0]))))
    else:
        run({"server": serve, "worker": work}[role](where))
