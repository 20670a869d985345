"""``python -m tests.bench.counts``: what a task costs in counts, the same on every machine.

A server without a network in this process: its doors are given frames of bytes and hand out frames of
bytes, its store is in memory, its clock stands still. So a run is the same every time, and one number
too many is a change of the code: engine steps, turns, commits and rows, frames in and out, calls of
Python functions of the server (what a flat profile is made of), and blocks of memory that a waiting
task holds.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter, deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import upbeat_server
from tests.bench.work import WORKS, pipeline_spec
from tests.support.hand_clock import HandClock
from upbeat.v1 import agent_service_pb2 as agents
from upbeat.v1 import task_service_pb2 as tasks
from upbeat_server.engine.limits import Limits
from upbeat_server.rpc.agent_service import AgentService
from upbeat_server.rpc.door import Door, Method
from upbeat_server.rpc.method import Stream
from upbeat_server.rpc.task_service import TaskService
from upbeat_server.runtime.bounds import LoopBounds, RuntimeBounds
from upbeat_server.runtime.orchestrator import Orchestrator
from upbeat_server.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from types import CodeType, FrameType

    from upbeat.v1.task_spec_pb2 import TaskSpec
    from upbeat_server.store.store import NamespaceBatch

BATCH_TASKS = 64
PIPELINE_ITEMS = 64
PLAIN = WORKS["plain"].spec(0)
OURS = str(Path(upbeat_server.__file__).parent)


class Counts(msgspec.Struct):
    """What one task cost, on average."""

    steps: float  # Events that an engine was told, ends of turns included.
    turns: float
    commits: float
    rows: float  # Of the store.
    frames_in: float
    frames_out: float
    calls: float  # Of Python functions of the server; each resumption of a coroutine is one.


class Wire:
    """Both ends of one stream without a network; stands in for grpc's context."""

    def __init__(self, counted: Counter[str]) -> None:
        self._counted = counted
        self._to_server: asyncio.Queue[bytes] = asyncio.Queue()
        self._from_server: deque[bytes] = deque()
        self._arrived = asyncio.Event()

    def send(self, message: Any) -> None:
        """A frame of the peer."""
        self._counted["frames_in"] += 1
        self._to_server.put_nowait(message.SerializeToString())

    async def receive(self) -> bytes:
        """The next frame of the server."""
        while not self._from_server:
            self._arrived.clear()
            await self._arrived.wait()
        return self._from_server.popleft()

    async def read(self) -> bytes:
        """What grpc calls a read."""
        return await self._to_server.get()

    async def write(self, data: bytes) -> None:
        """What grpc calls a write."""
        self._counted["frames_out"] += 1
        self._from_server.append(data)
        self._arrived.set()

    async def send_initial_metadata(self, metadata: object) -> None:
        """Nobody looks at them."""

    def invocation_metadata(self) -> tuple[()]:
        """No token: the door is open."""
        return ()


class CountingStore(MemoryStore):
    """Counts what is committed."""

    def __init__(self, counted: Counter[str]) -> None:
        super().__init__()
        self._counted = counted

    async def commit(self, batches: list[NamespaceBatch]) -> None:
        """Commit, and count."""
        self._counted["commits"] += 1
        self._counted["rows"] += sum(len(batch.rows) for batch in batches)
        await super().commit(batches)


class Bench:
    """A server, its peers, and what is counted."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        bounds = RuntimeBounds(loop=LoopBounds(turn_budget_ms=1e9))
        self.orchestrator = Orchestrator(CountingStore(self.counted), HandClock(), Limits(), bounds)
        door = Door()
        self._services: dict[str, Any] = {
            "Connect": AgentService(self.orchestrator),
            "StreamTasks": TaskService(self.orchestrator),
        }
        self._methods = {
            name: Method(door, service, service.descriptor.methods_by_name[name])
            for name, service in self._services.items()
        }
        self._lives: list[asyncio.Task[Any]] = []
        self._submitted = 0

    def open(self, name: str) -> Wire:
        """A stream of one of the two services."""
        wire = Wire(self.counted)
        method = self._methods[name]
        self._live(method.call(Stream(method, wire)))  # type: ignore[arg-type]
        return wire

    def _live(self, life: Awaitable[Any]) -> None:
        self._lives.append(asyncio.ensure_future(life))

    async def add_agent(self, name: str, slots: int) -> None:
        """An agent that answers everything at once; returns when it is welcome."""
        wire = self.open("Connect")
        hello = agents.ConnectRequest()
        hello.hello.agent_id = name
        hello.hello.capabilities.append("echo")
        hello.hello.slots = slots
        wire.send(hello)
        agents.ConnectResponse.FromString(await wire.receive())
        self._live(self._answer(wire))

    async def _answer(self, wire: Wire) -> None:
        while True:
            frame = agents.ConnectResponse.FromString(await wire.receive())
            if not frame.assignments:
                continue
            answer = agents.ConnectRequest()
            for assignment in frame.assignments:
                answer.attempt_acks.add(lease_id=assignment.lease_id, accepted=True)
                answer.results.add(lease_id=assignment.lease_id).output.CopyFrom(assignment.input)
            wire.send(answer)

    async def run(self, caller: Wire, count: int, window: int, spec: TaskSpec = PLAIN) -> None:
        """Keep ``window`` tasks outstanding until ``count`` have ended."""
        submitted = finished = 0
        batch = min(BATCH_TASKS, window)
        while finished < count:
            while submitted < count and submitted - finished <= window - batch:
                self.submit(caller, batch, spec)
                submitted += batch
            frame = tasks.StreamTasksResponse.FromString(await caller.receive())
            if frame.refused:
                raise RuntimeError(f"a submission was refused: {frame.refused[0]}")
            if frame.finished:
                finished += len(frame.finished)
                acks = tasks.StreamTasksRequest()
                acks.finished_acks.extend(ended.request_id for ended in frame.finished)
                caller.send(acks)

    def submit(self, caller: Wire, count: int, spec: TaskSpec = PLAIN) -> None:
        """One frame of submissions."""
        frame = tasks.StreamTasksRequest()
        for _ in range(count):
            self._submitted += 1
            frame.requests.add(request_id=f"r{self._submitted}", spec=spec)
        caller.send(frame)

    async def close(self) -> None:
        """End everything."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await self.orchestrator.stop()


@contextmanager
def _counted_calls(counted: Counter[str]) -> Iterator[None]:
    """Count calls of functions of the server, and of them the steps and turns.

    Without the garbage collector: it closes what others left behind, coroutines of servers too.
    """
    ours: dict[CodeType, str] = {}

    def note(frame: FrameType, what: str, _argument: object) -> None:
        if what != "call":
            return
        code = frame.f_code
        kind = ours.get(code)
        if kind is None:
            kind = ours[code] = _kind_of(code)
        if kind:
            counted["calls"] += 1
            counted[kind] += 1

    gc.collect()
    gc.disable()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        gc.enable()


def _kind_of(code: CodeType) -> str:
    if not code.co_filename.startswith(OURS):
        return ""
    return {"step": "steps", "_end_turn": "turns"}.get(code.co_qualname, "other")


async def _measured(count: int, work: Callable[[Bench, int], AsyncIterator[None]]) -> Counts:
    """Counts of a work that yields once it is warm."""
    bench = Bench()
    await bench.orchestrator.start()
    try:
        run = work(bench, count)
        await anext(run)
        bench.counted.clear()
        with _counted_calls(bench.counted):
            await anext(run, None)
        counted = bench.counted
        return Counts(**{name: round(counted[name] / count, 3) for name in Counts.__struct_fields__})
    finally:
        await bench.close()


async def _full(bench: Bench, count: int) -> AsyncIterator[None]:
    for number in range(4):
        await bench.add_agent(f"a{number}", 64)
    caller = bench.open("StreamTasks")
    await bench.run(caller, 512, 256)
    yield
    await bench.run(caller, count, 256)


async def _alone(bench: Bench, count: int) -> AsyncIterator[None]:
    await bench.add_agent("a0", 1)
    caller = bench.open("StreamTasks")
    await bench.run(caller, 16, 1)
    yield
    await bench.run(caller, count, 1)


async def _voted(bench: Bench, count: int) -> AsyncIterator[None]:
    for number in range(8):
        await bench.add_agent(f"a{number}", 64)
    caller, spec = bench.open("StreamTasks"), WORKS["consensus"].spec(0)
    await bench.run(caller, 64, 64, spec)
    yield
    await bench.run(caller, count, 64, spec)


async def _piped(bench: Bench, count: int) -> AsyncIterator[None]:
    for number in range(4):
        await bench.add_agent(f"a{number}", 64)
    caller, spec = bench.open("StreamTasks"), pipeline_spec(PIPELINE_ITEMS)
    await bench.run(caller, 4, 4, spec)
    yield
    await bench.run(caller, count // PIPELINE_ITEMS, 4, spec)


async def full_load(count: int = 2_048) -> Counts:
    """Four agents with 64 slots each, all of them taken."""
    return await _measured(count, _full)


async def one_outstanding(count: int = 256) -> Counts:
    """One agent, one task at a time: what a frame costs."""
    return await _measured(count, _alone)


async def consensus(count: int = 256) -> Counts:
    """Votes of five, 64 at once: what a vote costs, its children included."""
    return await _measured(count, _voted)


async def pipeline(count: int = 512) -> Counts:
    """Items through three stages, in four pipelines at once: what an item costs."""
    return await _measured(count, _piped)


async def blocks_queued(count: int = 4_096) -> float:
    """Blocks of memory that a task holds while it waits, its bytes included."""
    bench = Bench()
    await bench.orchestrator.start()
    try:
        caller = bench.open("StreamTasks")
        await _fill(bench, caller, 256)
        gc.collect()
        before = sys.getallocatedblocks()
        await _fill(bench, caller, count)
        gc.collect()
        return round((sys.getallocatedblocks() - before) / count, 2)
    finally:
        await bench.close()


async def _fill(bench: Bench, caller: Wire, count: int) -> None:
    """Submit, and wait until all are accepted."""
    for _ in range(count // BATCH_TASKS):
        bench.submit(caller, BATCH_TASKS)
    accepted = 0
    while accepted < count:
        accepted += len(tasks.StreamTasksResponse.FromString(await caller.receive()).accepted)


def main() -> None:
    """Print everything that is counted."""
    works = {
        "full load, a task": full_load(),
        "one outstanding, a task": one_outstanding(),
        "a vote of five": consensus(),
        "an item through three stages": pipeline(),
    }
    for name, counts in works.items():
        print(f"{name}:")
        for what, value in msgspec.structs.asdict(asyncio.run(counts)).items():
            print(f"  {what:<11}{value:>9.3f}")
    print(f"a task that waits holds {asyncio.run(blocks_queued()):.1f} blocks of memory")


if __name__ == "__main__":
    main()
