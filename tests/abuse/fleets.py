"""Agents that are no use: they beat without end, say hello without end, fence each other, never read."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hyperframe.frame import DataFrame

from tests.abuse.raw import grpc_message
from tests.abuse.siege import Siege, attack
from upbeat.v1 import agent_service_pb2 as agents
from upbeat.v1 import task_service_pb2 as tasks

if TYPE_CHECKING:
    from tests.abuse.raw import RawConnection

CONNECT = "AgentService/Connect"
BEATS = 2_000


def hello(agent_id: str, capability: str = "abuse.nothing", slots: int = 1) -> bytes:
    """The first frame of an agent."""
    frame = agents.ConnectRequest()
    frame.hello.agent_id = agent_id
    frame.hello.capabilities.append(capability)
    frame.hello.slots = slots
    return frame.SerializeToString()


async def connect(connection: RawConnection, agent_id: str, **more: int | str) -> int:
    """An agent's stream that has said hello."""
    stream_id = await connection.begin(CONNECT)
    await connection.send_message(stream_id, hello(agent_id, **more))  # type: ignore[arg-type]
    return stream_id


@attack
async def heartbeats(siege: Siege) -> None:
    """Heartbeats as fast as they go, thousands of them in each DATA frame."""
    beat = agents.ConnectRequest()
    beat.heartbeat.SetInParent()
    burst = grpc_message(beat.SerializeToString()) * BEATS
    numbers = itertools.count()

    async def run() -> None:
        async with siege.connection() as connection:
            stream_id = await connect(connection, f"beating-{next(numbers)}")
            while siege.is_on:
                await connection.send_stream(stream_id, burst)
                siege.counts["heartbeats"] += BEATS

    await siege.again(run, lanes=4)


@attack
async def junk_results(siege: Siege) -> None:
    """Results with leases that never were: each is answered, and the answers are not read."""
    frame = agents.ConnectRequest()
    for _ in range(100):
        frame.results.add(lease_id="f" * 20)
    burst = grpc_message(frame.SerializeToString()) * 5
    numbers = itertools.count()

    async def run() -> None:
        async with siege.connection(window=0) as connection:
            stream_id = await connect(connection, f"junk-{next(numbers)}")
            while siege.is_on:
                await connection.send_stream(stream_id, burst)
                siege.counts["results"] += 500

    await siege.again(run, lanes=4)


@attack
async def hellos(siege: Siege) -> None:
    """New agents, a thousand and more, each gone as soon as it is there."""
    numbers = itertools.count()

    async def run() -> None:
        async with siege.connection() as connection:
            while siege.is_on:
                streams = [await connect(connection, f"hello-{next(numbers)}") for _ in range(50)]
                siege.counts["hellos"] += len(streams)
                for stream_id in streams:
                    await connection.send(DataFrame(stream_id, flags=["END_STREAM"]))
                for stream_id in streams:
                    await connection.wait_ended(stream_id)

    await siege.again(run, lanes=2)


@attack
async def fencing(siege: Siege) -> None:
    """Agents with the same id that fence each other as fast as they can."""

    async def run() -> None:
        async with siege.connection() as connection:
            while siege.is_on:
                stream_id = await connect(connection, "the-one-and-only")
                siege.counts["hellos"] += 1
                if len(connection.ended) < siege.counts["hellos"] - 20:
                    await connection.wait_ended(stream_id)

    await siege.again(run, lanes=4)


@attack
async def agents_unread(siege: Siege) -> None:
    """Agents that offer slots, beat, get large tasks and never read them."""
    numbers = itertools.count()

    async def run() -> None:
        async with siege.connection(window=0) as connection:
            for _ in range(10):
                await connect(connection, f"unread-{next(numbers)}", capability="abuse.large", slots=5)
                siege.counts["agents"] += 1
            batch = tasks.BatchSubmitTasksRequest()
            for _ in range(50):
                spec = batch.requests.add().spec
                spec.type = "abuse.large"
                spec.input.data = bytes(40_000)
            await connection.send_message(
                await connection.begin("TaskService/BatchSubmitTasks"), batch.SerializeToString(), ends=True
            )
            siege.counts["tasks"] += 50
            await siege.rest()

    await siege.again(run, lanes=2)
