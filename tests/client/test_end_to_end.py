"""Agents and clients against the real server, in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from upbeat import (
    Agent,
    AgentFenced,
    Client,
    Context,
    DuplicateTask,
    Fail,
    InvalidField,
    Progress,
    Skill,
    SyncClient,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskNotFound,
    TaskState,
    TaskTimedOut,
    testing,
)

TIMEOUT_S = 30.0


@dataclass
class Doc:
    text: str
    words_max: int = 2**70


@dataclass
class Summary:
    words: list[str]
    limit: int


SUMMARIZE = Skill("summarize", Doc, Summary)
WAIT = Skill("wait", str, str)


class Gate:
    """Handlers wait here until the test opens it; it counts who came."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.came = asyncio.Event()
        self.left = asyncio.Event()
        self.may_pass = asyncio.Event()

    async def wait(self, name: str) -> str:
        self.started.append(name)
        self.came.set()
        try:
            await self.may_pass.wait()
        finally:
            self.ended.append(name)
            self.left.set()
        return name


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def server() -> AsyncIterator[testing.Server]:
    async with testing.server() as running:
        yield running


@pytest.fixture
async def up(server: testing.Server) -> AsyncIterator[Client]:
    async with Client(server.address) as client:
        yield client


def make_agent(gate: Gate, **options: Any) -> Agent:
    agent = Agent("w", **{"slots": 4, **options})

    @agent.on(SUMMARIZE)
    async def summarize(doc: Doc, ctx: Context) -> Summary:
        await ctx.progress(0.5, "half")
        await ctx.emit("piece")
        ctx.report_usage(input_tokens=5)
        return Summary(doc.text.split(), doc.words_max)

    @agent.on(WAIT)
    async def wait(name: str) -> str:
        return await gate.wait(name)

    @agent.on("fail")
    def fail(reason: str) -> None:
        raise Fail(reason, "because", retryable=False)

    @agent.on("thread")
    def thread(_: Any) -> str:
        return threading.current_thread().name

    return agent


@pytest.fixture
async def agent(server: testing.Server, gate: Gate) -> AsyncIterator[Agent]:
    agent = make_agent(gate)
    await agent.start(server.address)
    yield agent
    await agent.stop(now=True)


async def test_typed_work_goes_out_and_comes_back(up: Client, agent: Agent) -> None:
    assert await up.run(SUMMARIZE, Doc("a b"), timeout=TIMEOUT_S) == Summary(["a", "b"], 2**70)
    assert (await up.run("thread")).startswith("upbeat-worker-")


async def test_a_failed_task_says_why(up: Client, agent: Agent) -> None:
    with pytest.raises(TaskFailed, match="because") as raised:
        await up.run("fail", "NOPE")
    assert raised.value.reason == "NOPE"
    task = await up.get(raised.value.task_id)
    assert task.state is TaskState.FAILED
    assert task.attempts[0].outcome == "FAILED"
    with pytest.raises(TaskFinished):
        await up.cancel(task.task_id)


async def test_a_timeout_ends_the_task(up: Client) -> None:
    with pytest.raises(TaskTimedOut):
        await up.run("nobody-offers-this", timeout=0.05)


async def test_updates_tell_the_life_of_a_task(up: Client, agent: Agent, gate: Gate) -> None:
    handle = await up.submit(WAIT, "x", priority="high", labels={"team": "a"})
    seen: list[Any] = []
    async for update in handle.updates():
        seen.append(update)
        gate.may_pass.set()
    states = [each.state for each in seen if not isinstance(each, Progress)]
    assert states[-1] is TaskState.COMPLETED
    assert [task.revision for task in seen] == sorted(task.revision for task in seen)
    assert await handle.result() == "x"
    assert await up.task(handle.task_id, WAIT).result() == "x"
    task = await handle.get()
    assert (task.priority, task.labels, task.result(WAIT)) == ("HIGH", {"team": "a"}, "x")


async def test_cancelling_reaches_the_handler(up: Client, agent: Agent, gate: Gate) -> None:
    handle = await up.submit(WAIT, "x")
    await gate.came.wait()
    assert (await handle.cancel("enough")).state is TaskState.CANCELLED
    with pytest.raises(TaskCancelled):
        await handle.result()
    assert (await handle.cancel()).state is TaskState.CANCELLED
    await gate.left.wait()


async def test_a_cancelled_caller_cancels_its_task(up: Client, agent: Agent, gate: Gate) -> None:
    running = asyncio.create_task(up.run(WAIT, "x"))
    await gate.came.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async for event in up.watch('type = "wait" AND state = CANCELLED'):
        assert not isinstance(event, Progress)
        break


async def test_map_brings_every_value_home(up: Client, agent: Agent) -> None:
    docs = [Doc(f"word{number}") for number in range(300)]
    outputs = {done.index: done.output.words async for done in up.map(SUMMARIZE, docs, in_flight=50)}
    assert outputs == {number: [f"word{number}"] for number in range(300)}


async def test_many_submissions_need_no_agent(up: Client) -> None:
    handles = await asyncio.gather(*(up.submit("later", n) for n in range(500)))
    assert len({handle.task_id for handle in handles}) == 500
    listed = [task.task_id async for task in up.list('type = "later"')]
    assert listed == sorted(handle.task_id for handle in handles)
    assert (await up.stats()).tasks_by_state["QUEUED"] == 500


async def test_the_same_request_is_the_same_task(up: Client) -> None:
    first = await up.submit("later", 1, request_id="r1", dedup_key="d1")
    assert (await up.submit("later", 1, request_id="r1", dedup_key="d1")).task_id == first.task_id
    with pytest.raises(DuplicateTask):
        await up.submit("later", 1, dedup_key="d1")


async def test_refusals_name_the_field(up: Client) -> None:
    with pytest.raises(InvalidField) as raised:
        await up.submit("later", labels={"k": "x" * 300})
    assert "labels" in raised.value.violations[0].field
    with pytest.raises(TaskNotFound):
        await up.get("00000000000000ff")


async def test_the_fleet_can_be_seen_and_drained(up: Client, agent: Agent) -> None:
    (seen,) = [each async for each in up.agents(capability="summarize")]
    assert (seen.agent_id, seen.name, seen.slots) == (agent.agent_id, "w", 4)
    assert (await up.explain((await up.submit("nobody")).task_id)).reasons
    await up.drain_agent(agent.agent_id)
    await agent.stop()


async def test_a_second_process_with_the_same_id_fences_the_first(server: testing.Server, gate: Gate) -> None:
    first, second = make_agent(gate, agent_id="w-1"), make_agent(gate, agent_id="w-1")
    serving = asyncio.create_task(first.serve(server.address))
    async with Client(server.address) as up:
        await up.run(SUMMARIZE, Doc("a"))
        await second.start(server.address)
        with pytest.raises(AgentFenced):
            await serving
        await up.run(SUMMARIZE, Doc("a"))
    await second.stop(now=True)


async def test_a_drained_agent_finishes_and_gives_the_rest_to_others(
    server: testing.Server, up: Client, gate: Gate
) -> None:
    agent = make_agent(gate, slots=1)
    await agent.start(server.address)
    first = await up.submit(WAIT, "first")
    await gate.came.wait()
    second = await up.submit(WAIT, "second")
    stopping = asyncio.create_task(agent.stop())
    gate.may_pass.set()
    assert await first.result() == "first"
    await stopping
    assert (await second.get()).state is TaskState.QUEUED
    other = make_agent(gate)
    await other.start(server.address)
    assert await second.result() == "second"
    await other.stop()


async def test_work_survives_a_restart_of_the_server(tmp_path: Path, gate: Gate) -> None:
    store = f"sqlite:{tmp_path}/tasks.db"
    async with testing.server(store=store) as server, Client(server.address) as up:
        agent = make_agent(gate)
        await agent.start(server.address)
        running = [asyncio.create_task(up.run(WAIT, f"n{number}")) for number in range(6)]
        while len(gate.started) < agent.slots:
            await gate.came.wait()
            gate.came.clear()
        await server.stop()
        # Some end while the server is away: their results are kept and sent again.
        gate.may_pass.set()
        while len(gate.ended) < agent.slots:
            await gate.left.wait()
            gate.left.clear()
        await server.start()
        assert await asyncio.gather(*running) == [f"n{number}" for number in range(6)]
        assert sorted(gate.started) == [f"n{number}" for number in range(6)], "each was started once"
        attempts = [task.attempt_count async for task in up.list('type = "wait"')]
        assert attempts == [1] * 6
        await agent.stop()


def test_programs_without_asyncio_have_a_client_too() -> None:
    agent = Agent("w")
    agent.on("double")(lambda n: 2 * n)
    with testing.server() as server, SyncClient(server.address) as up:
        loop = asyncio.new_event_loop()
        serving = threading.Thread(target=loop.run_until_complete, args=(agent.serve(server.address),))
        serving.start()
        assert up.run("double", 4, timeout=TIMEOUT_S) == 8
        handle = up.submit("double", 5)
        assert handle.result() == 10
        assert up.get(handle.task_id).state is TaskState.COMPLETED
        assert next(task.task_id for task in up.list(newest_first=True)) == handle.task_id
        queued = up.submit("nobody")
        with pytest.raises(TimeoutError):
            queued.result(timeout=0.01)
        assert up.cancel(queued.task_id).state is TaskState.CANCELLED
        assert up.stats().tasks_by_state["COMPLETED"] == 2
        agent.drain()
        serving.join()
        loop.close()


async def test_a_blocking_client_refuses_to_block_a_loop(server: testing.Server) -> None:
    with pytest.raises(RuntimeError, match=r"upbeat\.Client"):
        SyncClient(server.address).stats()
