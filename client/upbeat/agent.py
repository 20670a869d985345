"""The agent: handlers for types of tasks, and the life of the worker that runs them.

Async handlers run on the loop that awaits `serve` (or that of `run`), sync ones
in threads. The stream to the server lives on the I/O thread: a handler that
blocks delays neither heartbeats nor anything else of the process.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

from upbeat.channel import Tls, address_or_default, namespace_or_default, target_of
from upbeat.errors import UpbeatError
from upbeat.floor import Floor, Workplace
from upbeat.io_thread import Crossing, io_thread
from upbeat.link import Link
from upbeat.session import Identity, Session
from upbeat.skill import In, Out, Skill, as_skill, checked_type
from upbeat.version import SDK_VERSION
from upbeat.work import Registration, Work
from upbeat.worker_threads import WorkerThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future


log = logging.getLogger("upbeat.agent")

_NAME = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")
_SUFFIX_CHARACTERS = 8
SLOTS_MAX = 10_000


class Agent:
    """A named worker with slots.

    `agent_id` None is the name plus a random part, so that replicas of one
    deployment do not fence each other; give a stable one only where one process
    at a time uses it. Server, namespace, token and TLS are by default what the
    environment says, as for `Client`. `labels` are what tasks' selectors look at; `offer` adds
    capabilities besides the types of the handlers.
    """

    def __init__(
        self,
        name: str,
        *,
        slots: int = 1,
        labels: Mapping[str, str] | None = None,
        agent_id: str | None = None,
        token: str | None = None,
        tls: Tls | bool | None = None,
        namespace: str = "",
    ) -> None:
        suffix = uuid.uuid4().hex[:_SUFFIX_CHARACTERS]
        self.agent_id = f"{name[:119]}-{suffix}" if agent_id is None else agent_id
        for what, value in (("name", name), ("agent_id", self.agent_id)):
            if not _NAME.fullmatch(value):
                raise ValueError(f"{what} {value!r}: 1 to 128 characters of [A-Za-z0-9_.:/@-] are expected")
        if not 1 <= slots <= SLOTS_MAX:
            raise ValueError(f"slots={slots}: from 1 to {SLOTS_MAX:,} is expected")
        self.name = name
        self.slots = slots
        self.labels = dict(labels or {})
        self.namespace = namespace
        self._token = token
        self._tls = tls
        self._capabilities: list[str] = []
        self._works: dict[str, Work] = {}
        self._link: Link | None = None
        self._running: Future[None] | None = None

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, agent_id={self.agent_id!r})"

    @overload
    def on(self, skill: Skill[In, Out]) -> Registration[In, Out]: ...

    @overload
    def on(self, skill: str) -> Registration[Any, Any]: ...

    def on(self, skill: Skill[Any, Any] | str) -> Registration[Any, Any]:
        """Decorate the handler of a skill or a bare type.

        It takes the input and, if it has a second parameter, a `Context`. Async
        functions run on the loop, others in threads; several at once, up to the
        slots. What it returns is the output; what it raises fails the attempt
        (`Fail` chooses the reason). Handlers are added before the agent starts.
        """
        return Registration(as_skill(skill), self._add)

    def _add(self, work: Work) -> None:
        if self._link is not None:
            raise RuntimeError("add handlers before the agent starts")
        if work.skill.name in self._works:
            raise ValueError(f"{self.name} has a handler for {work.skill.name!r} already")
        self._works[work.skill.name] = work

    def run(self, address: str | None = None, *, drain_timeout: float = 30.0) -> None:
        """Serve until SIGTERM or SIGINT, which drain; a second one gives back what runs.

        Blocks. Raises AgentFenced, Unauthenticated, PermissionDenied,
        InvalidField, ... when the server will not have this agent.
        """
        asyncio.run(self._run(address, drain_timeout))

    async def _run(self, address: str | None, drain_timeout: float) -> None:
        with self._signals():
            await self.serve(address, drain_timeout=drain_timeout)

    async def serve(self, address: str | None = None, *, drain_timeout: float = 30.0) -> None:
        """Serve until the agent is stopped or drained; connects again whenever it must.

        `drain_timeout` is how many seconds running attempts get to end when the
        agent leaves. Cancelling stops at once: what runs is given back. Raises
        what `run` raises.
        """
        running = asyncio.wrap_future(self._begin(address, drain_timeout))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            self._post(Link.leave_now)
            await asyncio.wait([running])
            raise
        finally:
            self._link = self._running = None

    async def start(self, address: str | None = None, *, drain_timeout: float = 30.0) -> None:
        """Start, and return once the server has welcomed the agent; end it with `stop`.

        Waits while the server cannot be reached. Raises what `run` raises.
        """
        running = asyncio.wrap_future(self._begin(address, drain_timeout))
        running.add_done_callback(_seen)  # `stop` tells it again.
        assert self._link is not None  # noqa: S101 - set by _begin
        opened = asyncio.ensure_future(io_thread().call(self._opened(self._link)))
        try:
            await asyncio.wait([running, opened], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.stop(now=True)
            raise
        finally:
            opened.cancel()
        if running.done():
            self._link = self._running = None
            await running

    @staticmethod
    async def _opened(link: Link) -> None:
        await link.opened.wait()

    async def stop(self, *, now: bool = False) -> None:
        """Drain and leave; `now` gives back what runs. Returns when the agent has left.

        Idempotent. Raises what ended the agent, if that was not this.
        """
        running = self._running
        if running is None:
            return
        self._post(Link.leave_now if now else lambda link: link.leave("stopped"))
        try:
            await asyncio.shield(asyncio.wrap_future(running))
        finally:
            self._link = self._running = None

    def drain(self) -> None:
        """Take nothing new, finish what runs, leave; returns at once, from any thread."""
        self._post(lambda link: link.leave("stopped"))

    def offer(self, capability: str) -> None:
        """Offer a further capability, from now on or from the start on."""
        self._change_capability(checked_type(capability), is_removed=False)

    def withdraw(self, capability: str) -> None:
        """Offer a capability no longer; what runs is not touched."""
        self._change_capability(capability, is_removed=True)

    def _change_capability(self, capability: str, *, is_removed: bool) -> None:
        if not is_removed and capability not in self._capabilities:
            self._capabilities.append(capability)
        elif is_removed and capability in self._capabilities:
            self._capabilities.remove(capability)
        self._post(lambda link: link.change_capability(capability, is_removed=is_removed))

    def _post(self, call: Callable[[Link], None]) -> None:
        link = self._link
        if link is not None:
            io_thread().crossing.post(call, link)

    def _begin(self, address: str | None, drain_timeout: float) -> Future[None]:
        if self._link is not None:
            raise RuntimeError("the agent runs already")
        if not self._works:
            raise ValueError(f"{self.name} has no handlers: decorate functions with @agent.on(...)")
        identity = Identity(
            agent_id=self.agent_id,
            name=self.name,
            namespace=namespace_or_default(self.namespace),
            labels=self.labels,
            slots=self.slots,
            sdk_version=SDK_VERSION,
        )
        io = io_thread()
        session = Session(identity, [*self._works, *self._capabilities])
        threads = WorkerThreads(self.slots)
        place = Workplace(self._works, Crossing(asyncio.get_running_loop()), threads)
        target = target_of(address_or_default(address), self._tls)
        self._link = link = Link(
            session, Floor(session, place, io.crossing), target, self._token, drain_timeout
        )

        async def life() -> None:
            try:
                await link.run()
            except UpbeatError as error:
                log.error("%s has ended: %s", self.agent_id, error)  # noqa: TRY400 - a refusal, not a defect
                raise
            finally:
                threads.stop()

        self._running = running = io.start_call(life())
        return running

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain, even while a handler blocks the loop; the second time they hurry."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        times = 0

        def told(number: int, _: object) -> None:
            nonlocal times
            times += 1
            log.info("%s: %s", signal.Signals(number).name, "draining" if times == 1 else "leaving now")
            self._post((lambda link: link.leave("stopped")) if times == 1 else Link.leave_now)
            if times > 2:
                raise KeyboardInterrupt

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _seen(future: asyncio.Future[None]) -> None:
    """An error that is told elsewhere is not one that nobody saw."""
    if not future.cancelled():
        future.exception()
