"""An ordinary caller and an ordinary agent in a process of their own, while others misbehave.

``python -m tests.abuse.bystander ADDRESS CALLS_PER_SECOND`` connects, prints
``ready`` and then submits and gets at a fixed rate, whatever becomes of the calls
before. Every line on standard input asks for what was seen since the last one,
which is answered as one line of JSON when all that was submitted is done. The end
of standard input ends it. The wire is spoken directly: an SDK would mend what the
server breaks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import grpc.aio

from tests.bench.echo_agents import CHANNEL_OPTIONS
from upbeat.v1 import agent_service_pb2 as agents
from upbeat.v1 import task_service_pb2 as tasks

CALL_S = 30.0
"""How long a call may take: a bound on being alive, not a goal."""
BEAT_S = 5.0
TYPE = "bystander"


class Bystander:
    """One caller, one agent, one watch, on a channel each."""

    def __init__(self, address: str, per_second: float) -> None:
        self._channels = [
            grpc.aio.insecure_channel(address, options=[*CHANNEL_OPTIONS, ("upbeat.channel", number)])
            for number in range(3)
        ]
        self._interval_s = 1 / per_second
        self._calls: list[float] = []
        self._dispatches: list[float] = []
        self._failures: list[str] = []
        self._last_task_id = ""
        self._undone: set[str] = set()
        self._done = asyncio.Event()
        self._connected = asyncio.Event()
        self._watching = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Live until standard input ends."""
        lives = [asyncio.create_task(self._work()), asyncio.create_task(self._watch())]
        await asyncio.gather(self._connected.wait(), self._watching.wait())
        await self._submit(0)
        lives.append(asyncio.create_task(self._call()))
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await self._report()), flush=True)
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _report(self) -> dict[str, object]:
        under_way = list(self._under_way)
        await asyncio.gather(*under_way)
        undone = set(self._undone)
        try:
            async with asyncio.timeout(CALL_S):
                while undone & self._undone:
                    self._done.clear()
                    await self._done.wait()
        except TimeoutError:
            self._failures.append(f"{len(undone & self._undone)} tasks were not done within {CALL_S:g} s")
        told = {"calls": self._calls, "dispatches": self._dispatches, "failures": self._failures}
        self._calls, self._dispatches, self._failures = [], [], []
        return told

    async def _call(self) -> None:
        """Submit and get, open loop: a call that is late does not delay the next one."""
        due = time.perf_counter()
        number = 0
        while True:
            number += 1
            for call in (self._submit(number), self._get()):
                task = asyncio.create_task(call)
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            due += self._interval_s
            await asyncio.sleep(max(due - time.perf_counter(), 0))  # The pace of the open loop.

    async def _submit(self, number: int) -> None:
        request_id = f"bystander-{number}"
        request = tasks.SubmitTaskRequest(request_id=request_id)
        request.spec.type = TYPE
        request.spec.input.data = f"{time.perf_counter()} {request_id}".encode()
        self._undone.add(request_id)
        answer = await self._timed("/upbeat.v1.TaskService/SubmitTask", request.SerializeToString())
        if answer is None:
            self._undone.discard(request_id)
        else:
            self._last_task_id = tasks.SubmitTaskResponse.FromString(answer).task.task_id

    async def _get(self) -> None:
        request = tasks.GetTaskRequest(task_id=self._last_task_id)
        await self._timed("/upbeat.v1.TaskService/GetTask", request.SerializeToString())

    async def _timed(self, method: str, data: bytes) -> bytes | None:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channels[0].unary_unary(method)
        began = time.perf_counter()
        try:
            answer = await call(data, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            self._failures.append(f"{method}: {error.code().name} {error.details()}")
            return None
        self._calls.append(time.perf_counter() - began)
        return answer

    async def _work(self) -> None:
        connect: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channels[1].stream_stream(
            "/upbeat.v1.AgentService/Connect"
        )
        stream = connect()
        first = agents.ConnectRequest()
        first.hello.agent_id = TYPE
        first.hello.capabilities.append(TYPE)
        first.hello.slots = 1_000
        await stream.write(first.SerializeToString())
        beat = agents.ConnectRequest()
        beat.heartbeat.SetInParent()
        beaten = time.perf_counter()
        try:
            while isinstance(data := await stream.read(), bytes):
                self._connected.set()
                frame = agents.ConnectResponse.FromString(data)
                if frame.assignments:
                    await stream.write(self._results(frame).SerializeToString())
                elif time.perf_counter() - beaten > BEAT_S:
                    beaten = time.perf_counter()
                    await stream.write(beat.SerializeToString())
            self._failures.append("the agent's stream ended")
        except grpc.aio.AioRpcError as error:
            self._failures.append(f"the agent's stream: {error.code().name} {error.details()}")

    def _results(self, frame: agents.ConnectResponse) -> agents.ConnectRequest:
        answer = agents.ConnectRequest()
        now = time.perf_counter()
        for assignment in frame.assignments:
            submitted, _, request_id = assignment.input.data.decode().partition(" ")
            self._dispatches.append(now - float(submitted))
            self._undone.discard(request_id)
            answer.attempt_acks.add(lease_id=assignment.lease_id, accepted=True)
            answer.results.add(lease_id=assignment.lease_id).output.data = b"done"
        self._done.set()
        return answer

    async def _watch(self) -> None:
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channels[2].unary_stream(
            "/upbeat.v1.TaskService/WatchTasks"
        )
        request = tasks.WatchTasksRequest()
        request.filter = f'type = "{TYPE}"'
        revision = 0
        stream = watch(request.SerializeToString())
        try:
            while isinstance(data := await stream.read(), bytes):
                self._watching.set()
                told = tasks.WatchTasksResponse.FromString(data).revision
                if told and told < revision:
                    self._failures.append(f"the watch went back from {revision} to {told}")
                revision = told or revision
            self._failures.append("the watch ended")
        except grpc.aio.AioRpcError as error:
            self._failures.append(f"the watch: {error.code().name} {error.details()}")


async def main(address: str, per_second: float) -> None:
    """Made on the loop that it runs on, as grpc wants it."""
    await Bystander(address, per_second).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
