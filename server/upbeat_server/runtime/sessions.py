"""An agent's stream as the runtime knows it: from hello to its end.

The door reads frames and calls ``open`` and ``report``; the loop puts what the
engine orders into the outbox; the door's one writer takes it out. ``closed`` is
done when the stream is to end: with None after the peer's own end, else with the
refusal to end it with.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.events import AgentConnected, AgentFrame, SessionEnded
from upbeat_server.engine.model import NO_SESSION, Refusal, SessionId
from upbeat_server.runtime.bell import Bell
from upbeat_server.runtime.outbox import AgentOutbox
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from upbeat_server.engine.commands import Welcome
    from upbeat_server.runtime.bounds import RuntimeBounds
    from upbeat_server.runtime.inbox import Inbox
    from upbeat_server.runtime.namespace import Namespace

SLOW_AGENT = Refusal(
    reasons.SLOW_READER, "this stream was read too slowly and is given up: reconnect and resume"
)


class AgentSession:
    """One stream of one agent."""

    def __init__(self, namespace: Namespace, inbox: Inbox, bounds: RuntimeBounds, origin: int) -> None:
        self.namespace = namespace
        self.outbox = AgentOutbox(bounds.streams)
        self.closed: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self.session_id: SessionId = NO_SESSION
        self._inbox = inbox
        self._origin = origin
        self._welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames_max = bounds.loop.session_frames_max
        self._frames_waiting = 0
        self._frame_done = Bell()
        self._is_hello_told = False  # And not answered yet.
        self._is_over = False
        self._is_end_told = False
        namespace.routes[origin] = self

    async def open(self, hello: AgentConnected) -> None:
        """Say hello to the engine; returns when the welcome is in the outbox.

        Raises Refused when the engine, or the end of the namespace, refuses it.
        """
        hello.origin = self._origin
        await self._inbox.room()
        if not self.namespace.is_live:
            await self._refused_end()
        self._is_hello_told = True
        self._inbox.push(self.namespace, hello)
        await self._welcomed

    async def report(self, frame: AgentFrame, size: int) -> None:
        """Bring a frame of the agent; waits while too many of its frames wait already."""
        while self._frames_waiting >= self._frames_max and not self._is_over:
            await self._frame_done.wait()
        if self._inbox.is_full:
            await self._inbox.room()
        if self._is_over:
            return
        frame.session_id = self.session_id
        self._frames_waiting += 1
        items = 1 + len(frame.results) + len(frame.acks) + len(frame.progress)
        items += len(frame.publishes) + len(frame.subscribes) + len(frame.delivery_acks)
        self._inbox.push(self.namespace, frame, items, size, self._stepped)

    def peer_ended(self) -> None:
        """The peer sends nothing more: what its last frames cause is still written."""
        if self._is_over:
            return
        if self.session_id == NO_SESSION:
            self.close(None)
            return
        self._is_end_told = True
        self._inbox.push(self.namespace, SessionEnded(self.session_id), done=self.outbox.finish)

    def leave(self) -> None:
        """The stream is gone, however it ended. Idempotent and synchronous."""
        if self._is_over:
            return
        self._is_over = True
        namespace = self.namespace
        if not self._is_hello_told:  # Else the answer finds the way here, and what it opens is ended then.
            namespace.routes.pop(self._origin, None)
        if namespace.sessions.get(self.session_id) is self:
            del namespace.sessions[self.session_id]
            if not self._is_end_told:
                self._inbox.push(namespace, SessionEnded(self.session_id))
        self._frame_done.ring()
        self.close(None)

    def close(self, refusal: Refusal | None) -> None:
        """End the stream. The first reason holds."""
        if not self.closed.done():
            self.closed.set_result(refusal)

    def fail(self, refusal: Refusal) -> None:
        """The namespace is dropped, or the server stops."""
        if not self._welcomed.done():
            self._welcomed.set_exception(Refused(refusal))
            self._welcomed.exception()  # Whoever awaits it sees it; nobody has to.
        self.close(refusal)

    def welcomed(self, welcome: Welcome) -> None:
        """The engine opened the session; if its stream is gone already, it ends at once."""
        self._is_hello_told = False
        if self._is_over:
            self.namespace.routes.pop(self._origin, None)
            self._inbox.push(self.namespace, SessionEnded(welcome.session_id))
            return
        self.session_id = welcome.session_id
        self.namespace.sessions[welcome.session_id] = self
        self.outbox.welcome(welcome)
        if not self._welcomed.done():
            self._welcomed.set_result(None)

    def hello_refused(self, refusal: Refusal) -> None:
        """The engine did not open the session."""
        self._is_hello_told = False
        if self._is_over:
            self.namespace.routes.pop(self._origin, None)
        if not self._welcomed.done():
            self._welcomed.set_exception(Refused(refusal))

    def keep_or_close(self) -> bool:
        """End the stream if its outbox is full; whether it was."""
        if not self.outbox.is_full:
            return False
        self.close(SLOW_AGENT)
        return True

    def _stepped(self) -> None:
        self._frames_waiting -= 1
        self._frame_done.ring()

    async def _refused_end(self) -> None:
        refusal = await self.closed
        if refusal is not None:
            raise Refused(refusal)
