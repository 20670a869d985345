"""Agents for benchmarks: many streams in one process, each answers its tasks at once or holds them.

Run as ``python -m tests.bench.echo_agents ADDRESS AGENTS SLOTS [--hold] ...``; prints ``ready`` when all are
welcome and ends with its standard input. A line ``mark`` begins a count anew; ``report`` prints it as JSON:
results and heartbeats that were sent, and with ``--stamped`` how long inputs were on their way since the time
they hold. The wire is spoken directly, so that what is measured is the server and not an SDK.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc.aio

from tests.bench.figures import percentile
from tests.bench.loop import run
from tests.bench.work import ZONES, stamp_of
from upbeat.v1 import agent_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANNEL_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_receive_message_length", 8 << 20),
]


@dataclass(frozen=True)
class Terms:
    """What all agents of the process have in common."""

    slots: int
    offers: str
    holds: bool
    is_stamped: bool


@dataclass
class Tally:
    """What the agents of the process did since the last ``mark``."""

    results: int = 0
    beats: int = 0
    late_ns: list[int] = field(default_factory=list)

    def clear(self) -> None:
        """Begin anew."""
        self.results = self.beats = 0
        self.late_ns = []

    def report(self) -> str:
        """A line of JSON; times in seconds."""
        late = [nanoseconds / 1e9 for nanoseconds in self.late_ns]
        percentiles = {
            name: percentile(late, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        }
        return json.dumps({"results": self.results, "beats": self.beats, "samples": len(late), **percentiles})


class EchoAgent:
    """One agent stream."""

    def __init__(self, channel: grpc.aio.Channel, hello: wire.Hello, terms: Terms, tally: Tally) -> None:
        self._connect: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/upbeat.v1.AgentService/Connect"
        )
        self._hello = hello
        self._terms = terms
        self._tally = tally
        self._wrote_at = 0.0
        self._writing = asyncio.Lock()  # A heartbeat and a result must not meet.
        self.welcome = asyncio.Event()

    async def run(self) -> None:
        """Live until the stream ends."""
        stream = self._connect()
        await self._write(stream, wire.ConnectRequest(hello=self._hello))
        beat: asyncio.Task[None] | None = None
        try:
            while True:
                data = await stream.read()
                if not isinstance(data, bytes):
                    break
                frame = wire.ConnectResponse.FromString(data)
                if frame.HasField("welcome"):
                    interval_s = frame.welcome.heartbeat_interval.ToTimedelta().total_seconds()
                    beat = asyncio.create_task(self._beat(stream, interval_s))
                    self.welcome.set()
                if frame.assignments:
                    if self._terms.is_stamped:
                        self._note(frame.assignments)
                    await self._write(stream, self._answer(frame.assignments))
        finally:
            if beat is not None:
                beat.cancel()
        raise RuntimeError(f"{self._hello.agent_id} lost its stream: {await stream.details()}")

    async def _write(
        self, stream: grpc.aio.StreamStreamCall[bytes, bytes], frame: wire.ConnectRequest
    ) -> None:
        async with self._writing:
            self._wrote_at = time.monotonic()
            await stream.write(frame.SerializeToString())

    async def _beat(self, stream: grpc.aio.StreamStreamCall[bytes, bytes], interval_s: float) -> None:
        beat = wire.ConnectRequest()
        beat.heartbeat.load = 0.0
        while True:
            silent_s = time.monotonic() - self._wrote_at
            if silent_s >= interval_s:
                self._tally.beats += 1
                await self._write(stream, beat)
            else:
                await asyncio.sleep(interval_s - silent_s)

    def _note(self, assignments: Sequence[wire.Assignment]) -> None:
        now = time.monotonic_ns()
        self._tally.late_ns += [now - stamp_of(assignment.input.data) for assignment in assignments]

    def _answer(self, assignments: Sequence[wire.Assignment]) -> wire.ConnectRequest:
        answer = wire.ConnectRequest()
        for assignment in assignments:
            answer.attempt_acks.add(lease_id=assignment.lease_id, accepted=True)
            if not self._terms.holds:
                answer.results.add(lease_id=assignment.lease_id, output=assignment.input)
        self._tally.results += len(answer.results)
        return answer


def hello_of(prefix: str, number: int, terms: Terms) -> wire.Hello:
    """Who the agent of a number is; it is in one of the zones that varied work asks for."""
    return wire.Hello(
        agent_id=f"{prefix}-{number}",
        capabilities=[terms.offers],
        slots=terms.slots,
        labels={"zone": f"zone-{number % ZONES}"},
    )


async def answer_lines(tally: Tally) -> None:
    """Do what standard input says until it ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line == "mark\n":
            tally.clear()
            print("marked", flush=True)
        elif line == "report\n":
            print(tally.report(), flush=True)


async def main(arguments: argparse.Namespace) -> None:
    """Connect all, say so, live until standard input or a stream ends."""
    terms = Terms(arguments.slots, arguments.offers, arguments.hold, arguments.stamped)
    tally = Tally()
    channels = [
        grpc.aio.insecure_channel(arguments.address, options=CHANNEL_OPTIONS)
        for _ in range(-(-arguments.agents // arguments.streams))
    ]
    fleet = [
        EchoAgent(
            channels[number // arguments.streams], hello_of(arguments.prefix, number, terms), terms, tally
        )
        for number in range(arguments.agents)
    ]
    async with asyncio.TaskGroup() as lives:
        running = [lives.create_task(agent.run()) for agent in fleet]
        for agent in fleet:
            await agent.welcome.wait()
        print("ready", flush=True)  # The parent process waits for this line.
        await answer_lines(tally)
        for life in running:
            life.cancel()
    for channel in channels:
        await channel.close()


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests.bench.echo_agents")
    parser.add_argument("address")
    parser.add_argument("agents", type=int)
    parser.add_argument("slots", type=int)
    parser.add_argument("--hold", action="store_true", help="acknowledge work and never end it")
    parser.add_argument("--stamped", action="store_true", help="inputs begin with the time they were due")
    parser.add_argument("--offers", default="echo", help="the type of task they take")
    parser.add_argument("--prefix", default="echo", help="of the agents' ids")
    parser.add_argument("--streams", type=int, default=50, help="agents on one connection")
    return parser.parse_args()


if __name__ == "__main__":
    run(main(parsed()))
