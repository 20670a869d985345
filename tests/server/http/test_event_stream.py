"""Server-sent events: resuming, silence, errors, callers who leave, and the end of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.server.http.site import Site, fields_of, reason_of, running
from tests.support.http_call import Events
from tests.support.served import WireAgent
from upbeat.v1 import task_service_pb2
from upbeat_server.http.errors import error_of_refusal
from upbeat_server.http.event_stream import EventStream
from upbeat_server.http.message_writer import writer_of
from upbeat_server.runtime.refused import SERVER_DRAINING

PATIENCE_S = 20


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as site:
        yield site


async def changes(events: Events) -> AsyncIterator[tuple[str, Any]]:
    """Ids and tasks of a watch."""
    while True:
        event = await events.message()
        for change in event.tree.get("events", ()):
            yield event.id, change.get("task")


async def test_a_watch_sends_a_snapshot_then_changes_with_what_to_resume_from(site: Site) -> None:
    first = await site.submit()
    async with site.listening("tasks:watch") as events:
        assert events.answer.headers["content-type"] == "text/event-stream"
        assert events.answer.headers["cache-control"] == "no-store"
        snapshot = await events.message()
        assert (snapshot.id, snapshot.tree["events"][0]["task"]["taskId"]) == ("", first)
        done = await events.message()
        assert done.tree["snapshotDone"] is True
        second = await site.submit()
        change = await events.message()
        assert change.tree["events"][0]["task"]["taskId"] == second
        assert change.id == change.tree["revision"]
        assert int(change.id) > int(done.id)


async def test_a_watch_resumes_from_the_last_event_whatever_its_query_says(site: Site) -> None:
    ids = [await site.submit() for _ in range(3)]
    revision = (await site.told("GET", f"tasks/{ids[0]}"))["task"]["revision"]
    async with site.listening("tasks:watch?revision=999", Last_Event_ID=revision) as events:
        seen = [task["taskId"] async for _, task in take(changes(events), 2)]
    assert seen == ids[1:]


async def take(source: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    """The first of them."""
    for _ in range(count):
        yield await anext(source)


async def test_what_is_wrong_before_the_first_event_is_an_ordinary_error(site: Site) -> None:
    error = await site.refused("GET", "tasks:watch?revision=1&taskId=xyz")
    assert error["code"] == 400
    for header in ("abc", "5x"):
        error = await site.refused("GET", "tasks:watch", Last_Event_ID=header)
        assert fields_of(error) == ["revision"]
    error = await site.refused("GET", "tasks:watch?revision=99999")
    assert (error["code"], error["status"]) == (400, "OUT_OF_RANGE")


async def test_a_silent_stream_is_opened_and_kept_alive(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upbeat_server.http.endpoint.KEEP_ALIVE_S", 0.01)
    task_id = await site.submit()
    revision = (await site.told("GET", f"tasks/{task_id}"))["task"]["revision"]
    async with site.listening(f"tasks:watch?revision={revision}") as events:
        comments = [await events.next() for _ in range(3)]
    assert [comment and comment.comment for comment in comments] == ["open", "keep-alive", "keep-alive"]


async def test_the_watch_of_one_task_ends_with_it(site: Site) -> None:
    agent = await WireAgent(site).connect()  # type: ignore[arg-type]
    task_id = await site.submit()
    async with site.listening(f"tasks:watch?taskId={task_id}&view=FULL") as events:
        assignment = await agent.assignment()
        await agent.finish(assignment.lease_id, b"done")
        states = []
        while (event := await events.next()) is not None:
            states += [
                change["task"]["state"] for change in (event.tree.get("events", ()) if event.data else ())
            ]
    assert states[-1] == "STATE_COMPLETED"


async def test_agents_and_figures_can_be_watched(site: Site) -> None:
    async with site.listening("agents:watch") as agents, site.listening("stats:watch?interval=0.1s") as stats:
        assert (await agents.message()).tree == {"snapshotDone": True}
        await WireAgent(site).connect()  # type: ignore[arg-type]
        assert (await agents.message()).tree["agents"][0]["agentId"] == "worker"
        assert (await stats.message()).tree["stats"]["serverVersion"]
        assert (await stats.message()).tree["stats"]["serverVersion"]


async def test_a_caller_who_leaves_ends_the_stream_at_once(site: Site) -> None:
    streams = site.app.orchestrator.open_streams
    async with site.listening("tasks:watch") as events:
        await events.message()
        assert site.app.orchestrator.open_streams["watch"] == streams["watch"] + 1
    async with asyncio.timeout(PATIENCE_S):
        while site.app.orchestrator.open_streams["watch"]:
            await site.told("GET", "stats")


async def test_a_server_that_stops_says_so_to_its_streams() -> None:
    async with (
        running() as site,
        site.listening("tasks:watch") as events,
        site.listening("stats:watch") as stats,
    ):
        await events.message()
        await stats.message()
        stopping = asyncio.create_task(site.app.stop())
        for stream in (events, stats):
            while (event := await stream.message()).name != "error":
                pass
            assert reason_of(event.tree["error"]) == "DRAINING"
            assert await stream.next() is None
        await stopping


async def test_json_over_several_lines_stays_one_event() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    response: Any = task_service_pb2.WatchTasksResponse(revision=7)
    output = response.events.add().task.output
    output.content_type, output.data = "application/json", b'{\n"a":\r\n1}'
    stream = EventStream(send, response.DESCRIPTOR, writer_of(response.DESCRIPTOR, {}))
    await stream.send(response.SerializeToString())
    await stream.end(error_of_refusal(SERVER_DRAINING))
    assert b"".join(sent).split(b"\n\n")[0].split(b"\n")[0] == b"id: 7"
    assert all(
        line.split(b": ")[0] in (b"id", b"data", b"event") for line in b"".join(sent).split(b"\n") if line
    )
