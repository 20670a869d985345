"""What callers can hold over HTTP: streams, calls, connections; and who gets an answer all the same."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.server.http.site import Site, reason_of, running
from tests.support.http_call import request
from upbeat_server.http import connection
from upbeat_server.http.gateway import CALLS_MAX, STREAMS_MAX

PATIENCE_S = 20
ALWAYS = ("/healthz", "/readyz", "/metrics", "/", "/openapi.json")
EVER = b"a" * 1_000


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as site:
        yield site


class Caller:
    """A raw connection, and what came back on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def of(cls, site: Site) -> AsyncIterator[Caller]:
        """A caller who has said nothing."""
        # A small limit, so that one who does not read stops the server soon.
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def say(self, said: bytes) -> Caller:
        """Send it."""
        self._writer.write(said)
        return self

    async def is_told(self, words: bytes) -> bool:
        """Whether this comes back, before an end."""
        async with asyncio.timeout(PATIENCE_S):
            heard = b""
            while words not in heard:
                piece = await self._reader.read(1)
                if not piece:
                    return False
                heard += piece
        return True

    async def ends(self) -> bool:
        """Whether the server ends the connection, however."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await self._reader.read(65_536):
                    pass
        except ConnectionResetError:
            return True
        return True

    async def is_cut_off(self) -> bool:
        """Whether the server ends the connection, though nothing is read from it."""
        hang_up = select.poll()
        hang_up.register(self._writer.get_extra_info("socket").fileno(), 0)
        return bool(await asyncio.to_thread(hang_up.poll, PATIENCE_S * 1_000))

    async def drips_until_the_end(self, drops: bytes) -> bool:
        """Whether the server ends a connection on which another byte is said again and again."""
        ended = asyncio.create_task(self.ends())
        for drop in drops:
            if ended.done():
                break
            self._writer.write(bytes([drop]))
            await asyncio.wait((ended,), timeout=0.01)
        return await ended


async def test_streams_beyond_the_limit_are_refused_and_all_else_is_answered(site: Site) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(STREAMS_MAX):
            events = await stack.enter_async_context(site.listening("agents:watch"))
            assert events.answer.status == 200
        answer = await site.ask("GET", "stats:watch")
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        error = answer.tree["error"]
        assert (error["status"], reason_of(error)) == ("RESOURCE_EXHAUSTED", "STREAMS_EXHAUSTED")
        assert str(STREAMS_MAX) in error["message"]
        assert "close pages and watches" in error["message"]
        assert [(await site.ask("GET", path)).status for path in ALWAYS] == [200] * len(ALWAYS)
        assert await site.submit()


async def test_calls_beyond_the_limit_are_refused_and_probes_are_answered(site: Site) -> None:
    task_id = await site.submit()
    waiting = request("GET", f"/api/v1/orchestration/tasks/{task_id}?wait=60s", None, {})
    async with AsyncExitStack() as stack:
        for _ in range(CALLS_MAX):
            (await stack.enter_async_context(Caller.of(site))).say(waiting)
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await site.ask("GET", "stats")).status == 200:
                pass
        assert (answer.status, reason_of(answer.tree["error"])) == (429, "SERVER_BUSY")
        assert [(await site.ask("GET", path)).status for path in ALWAYS] == [200] * len(ALWAYS)
    async with asyncio.timeout(PATIENCE_S):
        while (await site.ask("GET", "stats")).status != 200:
            pass


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ",
        request("GET", "/healthz", None, {}) + b"GET / HTTP/1.1\r\nx: ",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n",
    ],
    ids=["silent", "first head", "second head", "body that nobody reads"],
)
async def test_who_goes_on_too_slowly_is_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.2)
    async with Caller.of(site) as caller:
        caller.say(begun)
        assert await caller.drips_until_the_end(EVER if begun else b"")


async def test_a_slow_body_that_is_read_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upbeat_server.http.body.ARRIVAL_S", 0.1)
    headers = {"content-type": "application/json", "content-length": "100"}
    async with Caller.of(site) as caller:
        caller.say(request("POST", "/api/v1/orchestration/tasks", None, headers))
        assert await caller.is_told(b"408")


async def test_who_takes_no_answer_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    async with Caller.of(site) as caller:
        caller.say(
            request("GET", "/openapi.json", None, {}) * 200
        )  # More than the buffers of the system hold.
        assert await caller.is_cut_off()


async def test_what_is_not_http_is_refused_in_the_shape_of_every_error(site: Site) -> None:
    async with Caller.of(site) as caller:
        caller.say(b"HELO there\r\n\r\n")
        assert await caller.is_told(b'{"error":{"code":400,"status":"INVALID_ARGUMENT"')
        assert await caller.ends()


async def test_a_body_that_stops_being_http_ends_the_connection(site: Site) -> None:
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    async with Caller.of(site) as caller:
        caller.say(request("POST", "/api/v1/orchestration/tasks", None, headers) + b"1\r\n{\r\nno length\r\n")
        assert await caller.ends()
    assert await site.submit()


async def test_a_new_caller_takes_the_place_of_the_one_that_waits_longest(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 3)
    probe = request("GET", "/healthz", None, {})
    async with (
        site.listening("agents:watch") as events,
        Caller.of(site) as first,
        Caller.of(site) as second,
    ):
        await events.message()
        assert await first.say(probe).is_told(b"ok")
        assert await second.say(probe).is_told(b"ok")
        async with Caller.of(site) as third:
            assert await first.ends()
            assert await third.say(probe).is_told(b"ok")
            assert await second.say(probe).is_told(b"ok")
        await site.app.stop()
        assert (await events.message()).name == "error"
