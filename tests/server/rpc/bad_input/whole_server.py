"""A whole server as an operator runs it, with its store in a file, its log in sight and an ordinary user.

After whatever a test sent, ``is_unharmed`` looks at what must hold always.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import structlog

from tests.server.rpc.bad_input.case import Case, Metadata, agents_pb, tasks_pb
from tests.support.runtime import PATIENCE_S, until
from tests.support.served import Told
from upbeat.v1.agent_service_pb2_grpc import AgentServiceStub
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub
from upbeat_server.app import App
from upbeat_server.config import Listen, LogSettings, ServiceSettings, Settings, StoreSettings
from upbeat_server.telemetry import logs

TRAILERS_BYTES_MAX = 8 << 10
"""What grpc-java and grpc's core take of a status by default."""
MESSAGE_CHARS_MAX = 512
LEAKED = re.compile(r"Traceback|\b\w*(?:Error|Exception)\(|object at 0x|<class |\bFile \"|\.py\b")
"""What a text for callers never holds: words of the language that the server is written in."""
ORDINARY = "ordinary.work"
NEWS = ("debug", "info")
CODES = frozenset(grpc.StatusCode) - {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DATA_LOSS,
}
"""The statuses that a call may end with."""

_bytes_as_they_are = (lambda message: message, lambda message: message)


class WholeServer:
    """The server, a channel to it, an ordinary agent that lives through everything."""

    def __init__(self, app: App, channel: grpc.aio.Channel, log: io.StringIO) -> None:
        self.app = app
        self.channel = channel
        self.tasks: Any = TaskServiceStub(channel)
        self.agents: Any = AgentServiceStub(channel)
        self.known: dict[str, str] = {}  # What generated messages may name, once there is something.
        self.metadata: Metadata = ()  # Of the ordinary agent and caller.
        self._log = log
        self._ordinary: Any = None

    async def start_ordinary_agent(self) -> None:
        """Connect the agent that does the ordinary work; anew after a test that took too long."""
        self._ordinary = self.agents.Connect(metadata=self.metadata)
        await self.say(hello={"agent_id": "ordinary", "capabilities": [ORDINARY], "slots": 4})
        assert (await self._ordinary.read()).HasField("welcome")

    async def say(self, **fields: Any) -> None:
        """The ordinary agent sends a frame."""
        await self._ordinary.write(agents_pb.ConnectRequest(**fields))

    async def does_ordinary_work(self) -> None:
        """A task goes in, is done and comes out."""
        if self._ordinary is None or self._ordinary.done():
            await self.start_ordinary_agent()
        spec = {"type": ORDINARY, "input": {"data": b"in"}}
        request = tasks_pb.SubmitTaskRequest(spec=spec)
        options: Any = {"metadata": self.metadata, "timeout": 2 * PATIENCE_S}
        task = (await self.tasks.SubmitTask(request, **options)).task
        frame = await self._ordinary.read()
        while not frame.assignments:
            frame = await self._ordinary.read()
        lease_id = frame.assignments[0].lease_id
        assert frame.assignments[0].task_id == task.task_id
        await self.say(
            attempt_acks=[{"lease_id": lease_id, "accepted": True}],
            results=[{"lease_id": lease_id, "output": {"data": b"out"}}],
        )
        wait = tasks_pb.GetTaskRequest(task_id=task.task_id, wait={"seconds": int(PATIENCE_S)})
        done = (await self.tasks.GetTask(wait, **options)).task
        assert (done.spec.input.data, done.output.data) == (b"in", b"out")

    async def is_unharmed(self) -> None:
        """Nothing is left over, no defect was logged or counted, and ordinary work goes on."""
        await self.does_ordinary_work()
        await until(lambda: not self.left_over())
        self.log_is_clean()
        assert self.defects() == []

    def defects(self) -> list[str]:
        """Calls that the server counted as ended with a status that no call may end with."""
        metrics = self.app._door.metrics
        assert metrics is not None
        return [
            f"{sample.labels['grpc_method']}: {sample.labels['grpc_code']}"
            for family in metrics.collect()
            for sample in family.samples
            if sample.value and sample.labels.get("grpc_code", "OK") not in {code.name for code in CODES}
        ]

    def left_over(self) -> dict[str, int]:
        """What there is besides the ordinary agent, by name."""
        orchestrator = self.app.orchestrator
        spaces = orchestrator._catalog.all()
        counts = {
            **orchestrator.open_streams,
            "inbox": orchestrator.inbox_items,
            "routes": sum(len(space.routes) for space in spaces),
            "waiters": sum(len(space.waiters) for space in spaces),
            "subscribers": sum(len(space.subscribers) for space in spaces),
            "calls": len(self.app._door._running),
            "health watches": self.app._health._watches,
        }
        expected = {"agent": 1, "routes": 1, "calls": 1}
        return {name: count for name, count in counts.items() if count != expected.get(name, 0)}

    def log_is_clean(self) -> None:
        """No event of the log since the last look tells of a defect."""
        errors = self.errors()
        assert errors == [], errors

    def errors(self) -> list[dict[str, Any]]:
        """What the log has besides news since the last look; each event is one line."""
        text = self._log.getvalue()
        self._log.seek(0)
        self._log.truncate()
        assert text.replace("\n", "").isprintable()
        events = [json.loads(line) for line in text.split("\n")[:-1]]
        return [event for event in events if event["level"] not in NEWS or "exception" in event]

    async def is_served_again(self) -> None:
        """Wait until the ordinary agent, whose stream ended, is welcome."""
        with suppress(grpc.aio.AioRpcError):
            while await self._ordinary.read() is not grpc.aio.EOF:
                pass
        async with asyncio.timeout(PATIENCE_S):
            while self._ordinary.done():
                with suppress(grpc.aio.AioRpcError):
                    await self.start_ordinary_agent()

    async def send(self, case: Case) -> tuple[list[bytes], grpc.aio.AioRpcError | None]:
        """Send the frames on one call; what is answered, and the error that it ends with."""
        answers, error = await self._send_once(case)
        while error is not None and is_made_up(error):
            answers, error = await self._send_once(case)
        return answers, error

    async def _send_once(self, case: Case) -> tuple[list[bytes], grpc.aio.AioRpcError | None]:
        call: Any = self.channel.stream_stream(f"/{case.method}", *_bytes_as_they_are)(
            timeout=PATIENCE_S, metadata=case.metadata or None
        )
        answers: list[bytes] = []
        try:
            # What is written behind the frame that ended the call goes nowhere; reading tells how it ended.
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                for frame in case.frames:
                    await call.write(frame)
                await call.done_writing()
            while (answer := await call.read()) is not grpc.aio.EOF:
                answers.append(answer)
        except grpc.aio.AioRpcError as error:
            return answers, error
        return answers, None


def is_made_up(error: grpc.aio.AioRpcError) -> bool:
    """Whether grpc.aio has put a status of its own before the server's.

    It does when a write meets the end of its call. What the server said is then known by its metrics only.
    """
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"


def is_fit_for_callers(error: grpc.aio.AioRpcError) -> Told:
    """What a status says, once it is known to be one that a caller can take."""
    told = Told(error)
    assert told.code in CODES, (told.code, told.message)
    assert told.message.isprintable(), told.message
    assert len(told.message) <= MESSAGE_CHARS_MAX
    assert not LEAKED.search(told.message), told.message
    assert trailers_bytes(error) <= TRAILERS_BYTES_MAX, trailers_bytes(error)
    return told


def trailers_bytes(error: grpc.aio.AioRpcError) -> int:
    """What a status weighs as HTTP/2 counts it: names, values and 32 for each."""
    escaped = sum(
        3 if byte < 0x20 or byte > 0x7E or byte == 0x25 else 1 for byte in (error.details() or "").encode()
    )
    size = len("grpc-status") + 2 + 32 + len("grpc-message") + escaped + 32
    for name, value in error.trailing_metadata() or ():
        size += len(name) + 32 + (-(-len(value) // 3) * 4 if isinstance(value, bytes) else len(value))
    return size


@contextmanager
def captured_log() -> Iterator[io.StringIO]:
    """The log as an operator has it on a pipe; as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs._QUIET}
    stream = io.StringIO()
    logs.configure(LogSettings(level="debug", format="json"), stream)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in quiet.items():
            logging.getLogger(name).setLevel(before)
        structlog.reset_defaults()


@asynccontextmanager
async def whole_server(folder: Path, **groups: Any) -> AsyncIterator[WholeServer]:
    """A server with every service, its store in this folder; ``groups`` of settings replace mine."""
    settings: dict[str, Any] = {
        "listen": Listen(grpc="127.0.0.1:0", http=""),
        "store": StoreSettings(address=f"sqlite:{folder / 'upbeat.db'}"),
        "service": ServiceSettings(drain_ms=0, sample=True, channelz=True),
    }
    with captured_log() as log:
        app = App(Settings(**(settings | groups)))
        await app.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}") as channel:
                server = WholeServer(app, channel, log)
                yield server
        finally:
            await app.stop()
