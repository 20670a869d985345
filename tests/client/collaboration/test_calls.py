"""What a client asks of the server for a collaboration, and what it makes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

import upbeat
from tests.support.fake_server import Conversation, FakeServer, Refusal, fake_server
from upbeat import Client, NoConsensus, Skill, StepFailed, SyncClient, codec
from upbeat.errors import ItemsClosed, NotGradable
from upbeat.v1 import collaboration_service_pb2, payload_pb2, task_pb2, task_service_pb2

Response = task_service_pb2.StreamTasksResponse


@dataclass
class Doc:
    text: str


@dataclass
class Label:
    label: str


CLASSIFY = Skill("classify", Doc, Label)
SOLVE = Skill("solve", str, int)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
async def up(server: FakeServer) -> AsyncIterator[Client]:
    async with Client(server.address, namespace="n1", patience=20) as client:
        yield client


async def submitted(server: FakeServer) -> tuple[Conversation, Any]:
    """The stream, and the one request on it."""
    stream = await server.conversation("StreamTasks")
    await stream.say(Response(window=10))
    (request,) = (await stream.hear_until(lambda frame: frame.requests)).requests
    return stream, request


async def finish(
    stream: Conversation, request: Any, output: Any = None, error: str = "", **details: str
) -> None:
    """Tell the client how its task `t1` ended."""
    end = task_service_pb2.TaskFinished(request_id=request.request_id, task_id="t1", attempt_count=0)
    end.state = task_pb2.Task.STATE_FAILED if error else task_pb2.Task.STATE_COMPLETED
    if error:
        end.error.reason = error
        end.error.details.update(details)
    else:
        end.output.CopyFrom(codec.encode(output))
    await stream.say(Response(finished=[end]))


def voted(error: str = "") -> task_pb2.Task:
    """The vote as GetTask answers it."""
    task = task_pb2.Task(
        task_id="t1", state=task_pb2.Task.STATE_FAILED if error else task_pb2.Task.STATE_COMPLETED
    )
    task.collaboration_result.mode = "consensus"
    entry = task.collaboration_result.tally.add(ballots=2, weight=2.0)
    entry.value.CopyFrom(payload_pb2.Payload(content_type=codec.JSON, data=b'"spam"'))
    if error:
        task.error.reason = error
    else:
        task.collaboration_result.winning_value.CopyFrom(entry.value)
        task.output.CopyFrom(codec.encode({"label": "spam"}))
    return task


def answer_with(server: FakeServer, task: task_pb2.Task) -> None:
    server.answers["GetTask"] = lambda _: task_service_pb2.GetTaskResponse(task=task)


async def test_a_consensus_is_submitted_waited_for_and_told_as_a_verdict(
    server: FakeServer, up: Client
) -> None:
    answer_with(server, voted())
    running = asyncio.create_task(
        up.consensus(CLASSIFY, Doc("x"), voters=5, vote="/label", timeout=7, priority="high", request_id="r1")
    )
    stream, request = await submitted(server)
    assert request.request_id == "r1"
    assert request.spec.collaboration.consensus.voters == 5
    assert request.spec.collaboration.consensus.vote == "/label"
    assert request.spec.input.data == b'{"text":"x"}'
    assert request.spec.total_timeout.ToSeconds() == 7
    assert request.spec.priority == 3
    await finish(stream, request, {"label": "spam"})
    verdict = await running
    assert (verdict.value, verdict.output, verdict.is_unanimous) == ("spam", Label("spam"), True)


async def test_a_vote_that_came_to_nothing_raises_with_its_tally(server: FakeServer, up: Client) -> None:
    answer_with(server, voted("NO_CONSENSUS"))
    running = asyncio.create_task(up.consensus("classify", {"text": "x"}))
    stream, request = await submitted(server)
    await finish(stream, request, error="NO_CONSENSUS")
    with pytest.raises(NoConsensus) as caught:
        await running
    assert [(entry.value, entry.ballots) for entry in caught.value.tally] == [("spam", 2)]


async def test_a_race_answers_the_output_of_the_winner(server: FakeServer, up: Client) -> None:
    running = asyncio.create_task(up.race(SOLVE, "2+2", candidates=3, launch="hedged", total_timeout=9))
    stream, request = await submitted(server)
    race = request.spec.collaboration.competitive
    assert ([step.type for step in race.candidates], race.count) == (["solve"], 3)
    assert request.spec.total_timeout.ToSeconds() == 9
    await finish(stream, request, 4)
    assert await running == 4


async def test_different_candidates_race_as_a_list(server: FakeServer, up: Client) -> None:
    running = asyncio.create_task(up.race([SOLVE, Skill("guess", str, int)], "2+2"))
    stream, request = await submitted(server)
    assert [step.type for step in request.spec.collaboration.competitive.candidates] == ["solve", "guess"]
    await finish(stream, request, 4)
    assert await running == 4


async def test_a_parallel_maps_items_within_one_task(server: FakeServer, up: Client) -> None:
    running = asyncio.create_task(up.parallel(SOLVE, max_concurrency=2).map(["a", "b"], labels={"k": "v"}))
    stream, request = await submitted(server)
    assert request.spec.input.data == b'["a","b"]'
    assert request.spec.collaboration.parallel.HasField("map_over")
    assert request.spec.labels["k"] == "v"
    await finish(stream, request, [1, 2])
    assert await running == [1, 2]


async def test_what_a_client_makes_runs_and_is_a_step_too(server: FakeServer, up: Client) -> None:
    made = up.sequence("draft", up.parallel("a", "b"), up.custom("auction", "c"))
    running = asyncio.create_task(made.run("topic", timeout=3))
    stream, request = await submitted(server)
    _, second, third = request.spec.collaboration.sequential.steps
    assert [step.type for step in second.collaboration.parallel.steps] == ["a", "b"]
    assert third.collaboration.custom.name == "auction"
    await finish(stream, request, "done")
    assert await running == "done"


async def test_a_failed_collaboration_tells_what_it_came_to(server: FakeServer, up: Client) -> None:
    task = voted("STEP_FAILED")
    task.collaboration_result.partial.add(task_id="c1", name="draft")
    answer_with(server, task)
    handle = asyncio.create_task(up.submit(upbeat.sequence("draft", "review"), "x"))
    stream, request = await submitted(server)
    await stream.say(
        Response(accepted=[task_service_pb2.TaskAccepted(request_id=request.request_id, task_id="t1")])
    )
    result = asyncio.create_task((await handle).result())
    await finish(stream, request, error="STEP_FAILED", step="step/1")
    with pytest.raises(StepFailed) as caught:
        await result
    assert caught.value.step == "step/1"
    assert caught.value.collaboration is not None
    assert [child.name for child in caught.value.collaboration.partial] == ["draft"]


async def test_a_failure_is_told_even_where_no_more_can_be_learned_of_it(
    server: FakeServer, up: Client
) -> None:
    def purged(_: Any) -> Any:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")

    server.answers["GetTask"] = purged
    running = asyncio.create_task(up.run(upbeat.sequence("draft", "review"), "x"))
    stream, request = await submitted(server)
    await finish(stream, request, error="STEP_FAILED")
    with pytest.raises(StepFailed) as caught:
        await running
    assert caught.value.collaboration is None


async def test_map_takes_collaborations_as_it_takes_skills(server: FakeServer, up: Client) -> None:
    async def mapped() -> list[int]:
        return [done.output async for done in up.map(upbeat.race(SOLVE), ["a", "b"], in_flight=1)]

    running = asyncio.create_task(mapped())
    stream, request = await submitted(server)
    await finish(stream, request, 1)
    (request,) = (await stream.hear_until(lambda frame: frame.requests)).requests
    assert request.spec.collaboration.HasField("competitive")
    await finish(stream, request, 2)
    assert await running == [1, 2]


async def test_children_are_listed_by_their_parent(server: FakeServer, up: Client) -> None:
    child = task_pb2.Task(
        task_id="c1", parent_task_id="t1", member="step/0", state=task_pb2.Task.STATE_RUNNING
    )
    child.spec.name = "draft"
    server.answers["ListTasks"] = lambda _: task_service_pb2.ListTasksResponse(tasks=[child])
    (found,) = [each async for each in up.task("t1").children(full=True)]
    assert (found.task_id, found.parent_task_id, found.member, found.name) == ("c1", "t1", "step/0", "draft")
    (request,) = server.requests["ListTasks"]
    assert (request.filter, request.view) == ('parent = "t1"', task_pb2.TASK_VIEW_FULL)


async def test_a_task_is_graded(server: FakeServer, up: Client) -> None:
    server.answers["GradeTask"] = lambda _: collaboration_service_pb2.GradeTaskResponse(
        agent_id="a1", graded_count=3, correct_count=2
    )
    assert await up.grade(up.task("t1"), correct=True) == upbeat.Grade("a1", 3, 2)
    assert await up.grade("t2", correct=False) == upbeat.Grade("a1", 3, 2)
    asked = [(each.namespace, each.task_id, each.correct) for each in server.requests["GradeTask"]]
    assert asked == [("n1", "t1", True), ("n1", "t2", False)]


async def test_what_cannot_be_graded_says_so(server: FakeServer, up: Client) -> None:
    def refuse(_: Any) -> Any:
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "NOT_GRADABLE")

    server.answers["GradeTask"] = refuse
    with pytest.raises(NotGradable):
        await up.grade("t1", correct=True)


async def test_items_are_appended_and_closed_by_hand(server: FakeServer, up: Client) -> None:
    server.answers["AppendItems"] = lambda request: collaboration_service_pb2.AppendItemsResponse(
        item_count=len(request.items)
    )
    server.answers["CloseItems"] = lambda _: collaboration_service_pb2.CloseItemsResponse(item_count=2)
    assert await up.append_items("t1", [Doc("a"), "b"]) == 2
    assert await up.append_items("t1", [1], first_index=0) == 1
    assert await up.close_items(up.task("t1")) == 2
    first, second = server.requests["AppendItems"]
    assert [item.data for item in first.items] == [b'{"text":"a"}', b"b"]
    assert (first.HasField("first_index"), second.HasField("first_index")) == (False, True)


async def test_a_closed_pipeline_takes_nothing(server: FakeServer, up: Client) -> None:
    def refuse(_: Any) -> Any:
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "ITEMS_CLOSED")

    server.answers["AppendItems"] = refuse
    with pytest.raises(ItemsClosed):
        await up.append_items("t1", [1])


async def test_programs_without_asyncio_vote_and_grade_too(server: FakeServer) -> None:
    answer_with(server, voted())
    server.answers["GradeTask"] = lambda _: collaboration_service_pb2.GradeTaskResponse(agent_id="a1")

    def program() -> tuple[Any, upbeat.Grade]:
        with SyncClient(server.address) as up:
            verdict = up.consensus(upbeat.consensus(CLASSIFY, vote="/label"), Doc("x"))
            return verdict.value, up.grade(verdict.task_id, correct=True)

    running = asyncio.create_task(asyncio.to_thread(program))
    stream, request = await submitted(server)
    await stream.say(
        Response(accepted=[task_service_pb2.TaskAccepted(request_id=request.request_id, task_id="t1")])
    )
    await finish(stream, request, {"label": "spam"})
    assert await running == ("spam", upbeat.Grade("a1", 0, 0))
