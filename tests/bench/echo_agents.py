"""Agents for benchmarks: many streams in one process, each answers its tasks at once or holds them.

Run as ``python -m tests.bench.echo_agents ADDRESS AGENTS SLOTS [hold]``; prints
``ready`` when all are welcome and ends with its standard input. The wire is
spoken directly, so that what is measured is the server and not an SDK.
"""

from __future__ import annotations

import asyncio
import sys

import grpc.aio

from upbeat.v1 import agent_service_pb2 as wire

CHANNEL_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_receive_message_length", 8 << 20),
]
STREAMS_PER_CHANNEL = 50


class EchoAgent:
    """One agent stream."""

    def __init__(self, channel: grpc.aio.Channel, agent_id: str, slots: int, *, hold: bool) -> None:
        self._connect: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/upbeat.v1.AgentService/Connect"
        )
        self._agent_id = agent_id
        self._slots = slots
        self._hold = hold
        self.welcome = asyncio.Event()

    async def run(self) -> None:
        """Live until the stream ends."""
        stream = self._connect()
        hello = wire.ConnectRequest()
        hello.hello.agent_id = self._agent_id
        hello.hello.capabilities.append("echo")
        hello.hello.slots = self._slots
        await stream.write(hello.SerializeToString())
        beat = asyncio.create_task(self._beat(stream))
        try:
            while True:
                data = await stream.read()
                if not isinstance(data, bytes):
                    return
                frame = wire.ConnectResponse.FromString(data)
                if frame.HasField("welcome"):
                    self.welcome.set()
                if frame.assignments:
                    await stream.write(self._answer(frame).SerializeToString())
        finally:
            beat.cancel()

    async def _beat(self, stream: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        beat = wire.ConnectRequest()
        beat.heartbeat.load = 0.0
        data = beat.SerializeToString()
        while self._hold:
            await asyncio.sleep(8)
            await stream.write(data)

    def _answer(self, frame: wire.ConnectResponse) -> wire.ConnectRequest:
        answer = wire.ConnectRequest()
        for assignment in frame.assignments:
            answer.attempt_acks.add(lease_id=assignment.lease_id, accepted=True)
            if not self._hold:
                result = answer.results.add(lease_id=assignment.lease_id)
                result.output.CopyFrom(assignment.input)
        return answer


async def main(address: str, agents: int, slots: int, *, hold: bool) -> None:
    """Connect all, say so, live until standard input ends."""
    channels = [
        grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        for _ in range(-(-agents // STREAMS_PER_CHANNEL))
    ]
    fleet = [
        EchoAgent(channels[number // STREAMS_PER_CHANNEL], f"echo-{number}", slots, hold=hold)
        for number in range(agents)
    ]
    lives = [asyncio.create_task(agent.run()) for agent in fleet]
    await asyncio.gather(*(agent.welcome.wait() for agent in fleet))
    print("ready", flush=True)  # The parent process waits for this line.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    await asyncio.gather(*(channel.close() for channel in channels))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), hold="hold" in sys.argv[4:]))
