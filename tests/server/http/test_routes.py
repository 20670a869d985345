"""Every path of the API once, against a whole server, and each what its RPC answers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from tests.protos.contract import own_files
from tests.server.http.site import Site, reason_of, running
from tests.support.served import WireAgent


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as site:
        yield site


async def test_the_six_paths_that_were_there_first(site: Site) -> None:
    submitted = await site.told(
        "POST", "tasks", {"spec": {"type": "echo", "priority": "HIGH", "input": {"json": {"n": 1}}}}
    )
    task_id = submitted["task"]["taskId"]
    assert submitted["task"]["spec"]["priority"] == "PRIORITY_HIGH"

    got = await site.told("GET", f"tasks/{task_id}")
    assert got["task"]["state"] == "STATE_QUEUED"
    assert got["task"]["spec"]["input"] == {"contentType": "application/json", "json": {"n": 1}}

    listed = await site.told("GET", "tasks?filter=state=QUEUED&pageSize=5")
    assert [task["taskId"] for task in listed["tasks"]] == [task_id]
    assert "input" not in listed["tasks"][0]["spec"]

    cancelled = await site.told("DELETE", f"tasks/{task_id}?message=enough")
    assert cancelled["task"]["state"] == "STATE_CANCELLED"

    stats = await site.told("GET", "stats")
    assert stats["stats"]["tasksByState"]["CANCELLED"] == "1"

    sample = await site.told("POST", "test/submit-sample-task", {"message": "hello", "priority": "LOW"})
    assert sample["task"]["spec"]["type"] == "upbeat.sample"
    assert (await site.told("POST", "test/submit-sample-task"))["task"]["state"] == "STATE_QUEUED"


async def test_a_task_goes_its_whole_way(site: Site) -> None:
    agent = await WireAgent(site, "a/b:c").connect()  # type: ignore[arg-type]
    task_id = await site.submit(input={"json": [1, 2]})
    assignment = await agent.assignment()
    assert assignment.input.data == b"[1,2]"
    await agent.finish(assignment.lease_id, b"\x00done")

    done = (await site.told("GET", f"tasks/{task_id}?wait=10s"))["task"]
    assert (done["state"], done["output"]) == ("STATE_COMPLETED", {"data": "AGRvbmU="})
    graded = await site.told("POST", f"tasks/{task_id}:grade", {"correct": True})
    assert graded == {"agentId": "a/b:c", "gradedCount": "1", "correctCount": "1"}
    explained = await site.told("GET", f"tasks/{task_id}:explain")
    assert "a/b:c" in explained["choice"]

    agents = await site.told("GET", "agents?states=CONNECTED&capability=echo")
    assert [agent["agentId"] for agent in agents["agents"]] == ["a/b:c"]
    assert (await site.told("GET", "agents/a%2Fb%3Ac"))["agent"]["slots"] == 1
    attempts = await site.told("GET", "agents/a%2Fb%3Ac/attempts?limit=5")
    assert [attempt["taskId"] for attempt in attempts["attempts"]] == [task_id]
    drained = await site.told("POST", "agents/a%2Fb%3Ac:drain")
    assert drained["agent"]["state"] == "STATE_DRAINING"


async def test_tasks_are_submitted_and_ended_by_the_dozen(site: Site) -> None:
    results = (
        await site.told(
            "POST",
            "tasks:batch",
            {"requests": [{"spec": {"type": "a"}}, {"spec": {}}, {"spec": {"type": "b"}}]},
        )
    )["results"]
    assert [list(result) for result in results] == [["task"], ["error"], ["task"]]
    assert results[1]["error"]["reason"] == "INVALID_FIELD"

    dry = await site.told("POST", "tasks:cancel", {"filter": 'type = "a"', "dryRun": True})
    assert dry == {"matched": "1"}
    assert (await site.told("POST", "tasks:cancel", {"filter": 'type = "a"'}))["cancelled"] == "1"
    retried = await site.told("POST", "tasks:retry", {"filter": "state = CANCELLED"})
    assert (retried["matched"], retried["retried"]) == ("1", "1")
    again = await site.told("POST", f"tasks/{results[0]['task']['taskId']}:retry", {"requestId": "more"})
    assert again["task"]["spec"]["type"] == "a"


async def test_an_open_pipeline_takes_items_until_it_is_closed(site: Site) -> None:
    pipeline = {"stages": [{"type": "a"}], "open": True}
    task_id = (await site.told("POST", "tasks", {"spec": {"collaboration": {"pipeline": pipeline}}}))["task"][
        "taskId"
    ]
    appended = await site.told(
        "POST", f"tasks/{task_id}/items:append", {"items": [{"json": 1}, {"data": "aGk="}]}
    )
    assert appended == {"itemCount": "2"}
    assert await site.told("POST", f"tasks/{task_id}/items:close") == {"itemCount": "2"}


async def test_messages_are_published_and_dead_letters_looked_after(site: Site) -> None:
    published = await site.told(
        "POST", "topics/news%2Ftoday/messages", {"payload": {"json": "hi"}, "headers": {"a": "b"}}
    )
    assert published["messageId"]
    assert await site.told("GET", "dead-letters?topic=news/today") == {}
    assert await site.told("POST", "dead-letters:drop", {"topic": "news/today"}) == {}
    assert await site.told("POST", "dead-letters:redeliver", {"topic": "news/today"}) == {}


async def test_figures_go_back_in_time(site: Site) -> None:
    history = await site.told("GET", "stats/history?window=60s")
    assert history["step"]


async def test_a_type_is_paused_and_resumed(site: Site) -> None:
    assert await site.told("POST", "types/echo:pause") == {"pausedTypes": ["echo"]}
    assert await site.told("POST", "types/echo:resume") == {}


async def test_the_namespace_is_a_field_or_a_part_of_the_query(site: Site) -> None:
    await site.told("POST", "tasks?namespace=other", {"spec": {"type": "a"}})
    await site.told("POST", "tasks", {"namespace": "other", "spec": {"type": "b"}})
    assert len((await site.told("GET", "tasks?namespace=other"))["tasks"]) == 2
    assert await site.told("GET", "tasks") == {}


async def test_a_long_poll_ends_when_the_task_does(site: Site) -> None:
    task_id = await site.submit()
    agent = await WireAgent(site).connect()  # type: ignore[arg-type]
    await agent.finish((await agent.assignment()).lease_id)
    assert (await site.told("GET", f"tasks/{task_id}?wait=600s"))["task"]["state"] == "STATE_COMPLETED"


async def test_every_rpc_that_does_not_stream_in_is_described_and_served(site: Site) -> None:
    described = await site.told("GET", "/openapi.json")
    operations = {
        operation["operationId"]: (
            verb.upper(),
            path,
            "text/event-stream" in operation["responses"]["200"]["content"],
        )
        for path, verbs in described["paths"].items()
        for verb, operation in verbs.items()
    }
    assert operations.keys() == {
        method.name
        for file in own_files()
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.client_streaming
    }
    for name, (verb, path, streams) in operations.items():
        path = re.sub(r"\{\w+\}", "nobody", path)  # noqa: PLW2901 - the same path, filled in
        if streams:
            async with site.listening(f"{path}?namespace=-") as events:
                answer = events.answer
        else:
            answer = await site.ask(verb, f"{path}?namespace=-")
        # The namespace is looked at by the servicer: the call has reached it.
        assert (answer.status, reason_of(answer.tree["error"])) == (400, "INVALID_FIELD"), name
