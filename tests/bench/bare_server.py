"""The contract with nothing behind it: what no server in Python that speaks it could exceed on this machine.

Run as ``python -m tests.bench.bare_server ADDRESS``; prints ``ready`` when it listens. It says all that has
to be said of a task: accepted, assigned, result acknowledged, finished. It reads every message and writes
every answer, and does nothing else: no queue, no choice, no state of a task, no store, no check, no timer.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count, cycle
from typing import TYPE_CHECKING, Any

import grpc.aio

from tests.bench.loop import run
from tests.bench.relay_process import OPTIONS
from upbeat.v1 import agent_service_pb2 as agents_pb
from upbeat.v1 import task_pb2
from upbeat.v1 import task_service_pb2 as tasks_pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from google.protobuf.message import Message

    Context = grpc.aio.ServicerContext[Any, Any]

CHUNK = 64
WINDOW = 1_000_000


class Outbox:
    """What waits for one stream: while a frame is written, the next one fills."""

    def __init__(self, first: Message) -> None:
        self._kind: Any = type(first)
        self._is_filled = asyncio.Event()
        self._is_filled.set()
        self._frame: Any = first

    def filling(self) -> Any:
        """The frame to add to."""
        self._is_filled.set()
        return self._frame

    async def write_all(self, context: Context) -> None:
        """Write what comes until the stream ends."""
        while True:
            await self._is_filled.wait()
            self._is_filled.clear()
            frame, self._frame = self._frame, self._kind()
            await context.write(frame.SerializeToString())


class BareServer:
    """One caller, any number of agents that take turns of a chunk."""

    def __init__(self) -> None:
        self._caller: Outbox | None = None
        self._agents: list[Outbox] = []
        self._turns: Iterator[Outbox] = iter(())
        self._numbers = count(1)
        self._request_ids: dict[str, str] = {}  # By lease.

    async def stream_tasks(self, frames: AsyncIterator[bytes], context: Context) -> None:
        """The caller: accept what it submits and hand it on."""
        self._caller = caller = Outbox(tasks_pb.StreamTasksResponse(window=WINDOW))
        writing = asyncio.create_task(caller.write_all(context))
        try:
            async for data in frames:
                requests = tasks_pb.StreamTasksRequest.FromString(data).requests
                for first in range(0, len(requests), CHUNK):
                    self._hand_out(caller, requests[first : first + CHUNK])
        finally:
            writing.cancel()

    def _hand_out(self, caller: Outbox, requests: Any) -> None:
        accepted = caller.filling().accepted
        assignments = next(self._turns).filling().assignments
        for request in requests:
            number = next(self._numbers)
            task_id, lease_id = f"{number:016x}", f"{number:016x}0001"
            self._request_ids[lease_id] = request.request_id
            accepted.add(request_id=request.request_id, task_id=task_id)
            spec = request.spec
            assignment = assignments.add(
                task_id=task_id, lease_id=lease_id, attempt=1, type=spec.type, input=spec.input
            )
            assignment.time_remaining.seconds = 300

    async def connect(self, frames: AsyncIterator[bytes], context: Context) -> None:
        """An agent: welcome it, acknowledge its results and tell the caller."""
        first = agents_pb.ConnectResponse()
        first.welcome.heartbeat_interval.seconds = 60
        outbox = Outbox(first)
        self._agents.append(outbox)
        self._turns = cycle(self._agents)
        writing = asyncio.create_task(outbox.write_all(context))
        try:
            async for data in frames:
                results = agents_pb.ConnectRequest.FromString(data).results
                if results and self._caller is not None:
                    self._take(outbox.filling().result_acks, self._caller.filling().finished, results)
        finally:
            writing.cancel()

    def _take(self, acks: Any, finished: Any, results: Any) -> None:
        for result in results:
            lease_id = result.lease_id
            acks.add(lease_id=lease_id, outcome=agents_pb.ResultAck.OUTCOME_ACCEPTED)
            finished.add(
                request_id=self._request_ids.pop(lease_id),
                task_id=lease_id[:16],
                state=task_pb2.Task.State.STATE_COMPLETED,
                output=result.output,
                attempt_count=1,
            )


async def serve(address: str) -> None:
    """Serve until killed."""
    bare = BareServer()
    server = grpc.aio.server(options=OPTIONS)
    for service, method, handler in (
        ("TaskService", "StreamTasks", bare.stream_tasks),
        ("AgentService", "Connect", bare.connect),
    ):
        handlers: dict[str, Any] = {method: grpc.stream_stream_rpc_method_handler(handler)}
        generic = grpc.method_handlers_generic_handler(f"upbeat.v1.{service}", handlers)
        server.add_generic_rpc_handlers((generic,))
    server.add_insecure_port(address)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    run(serve(sys.argv[1]))
