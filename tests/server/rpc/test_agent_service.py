"""AgentService over a real port."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import grpc
import pytest

from tests.support.runtime import PATIENCE_S, settle, until
from tests.support.served import WireAgent, end_of, served, told_by
from tests.support.troubled_store import TroubledStore
from upbeat.v1 import agent_service_pb2, task_service_pb2
from upbeat_server.engine.events import AgentConnected, AgentFrame, AttemptEnded
from upbeat_server.engine.limits import Graces, Limits, Ordering
from upbeat_server.engine.model import NO_SESSION, Payload, TaskId, lease_of
from upbeat_server.rpc import agent_stream
from upbeat_server.runtime.bounds import RuntimeBounds, StreamBounds
from upbeat_server.store.store import OutcomeUnknown

pb: Any = agent_service_pb2  # Messages take dicts for messages, which their stubs do not know.

ACCEPTED, STALE, UNKNOWN, REJECTED = 1, 2, 3, 4


async def test_welcome_says_what_holds_here() -> None:
    limits = Limits(graces=Graces(heartbeat_interval_ms=1_500))
    async with served(limits=limits) as server:
        agent = await WireAgent(server, labels={"region": "eu"}, sdk_version="sdk 1").connect()
        welcome = agent.frame.welcome
        assert (welcome.heartbeat_interval.seconds, welcome.heartbeat_interval.nanos) == (1, 500_000_000)
        assert welcome.output_bytes_max == 1 << 20
        assert welcome.server_version == "upbeat test"
        assert not welcome.resumed
        known = (await server.agents.GetAgent(pb.GetAgentRequest(agent_id="worker"))).agent
        assert (known.state, known.slots, known.sdk_version) == (1, 1, "sdk 1")
        assert dict(known.labels) == {"region": "eu"}


async def test_an_assignment_has_everything_the_work_needs() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        task = (
            await server.submit(
                input={"content_type": "text/plain", "data": b"hello"},
                labels={"team": "a"},
                traceparent="00-1-2-03",
                attempt_timeout={"seconds": 30},
            )
        ).task
        assignment = await agent.assignment()
        assert assignment.task_id == task.task_id
        assert (assignment.attempt, assignment.type, assignment.input.data) == (1, "echo", b"hello")
        assert assignment.time_remaining.seconds == 30
        assert dict(assignment.labels) == {"team": "a"}
        assert assignment.traceparent == "00-1-2-03"
        assert assignment.idempotency_key == f"default/{task.task_id}"


async def test_a_selector_keeps_a_task_from_agents_it_does_not_match() -> None:
    async with served() as server:
        far = await WireAgent(server, "far", labels={"region": "us"}).connect()
        bare = await WireAgent(server, "bare").connect()
        near = await WireAgent(server, "near", labels={"region": "eu"}).connect()
        await server.submit(selector='labels.region == "eu"')
        await near.assignment()
        assert far.frame.assignments == bare.frame.assignments == []


async def test_a_rejected_assignment_goes_to_another_agent_and_charges_nothing() -> None:
    async with served() as server:
        picky = await WireAgent(server, "picky").connect()
        task_id = (await server.submit()).task.task_id
        lease_id = (await picky.assignment()).lease_id
        willing = await WireAgent(server, "willing").connect()
        await picky.say(attempt_acks=[{"lease_id": lease_id, "accepted": False, "reason": "not today"}])
        second = await willing.assignment()
        assert (second.task_id, second.attempt) == (task_id, 2)
        ack = await willing.finish(second.lease_id)
        assert ack.outcome == ACCEPTED


async def test_each_result_gets_the_answer_its_lease_deserves_and_the_stream_goes_on() -> None:
    async with served() as server:
        agent = await WireAgent(server, slots=2).connect()
        await server.submit(retry={"max_attempts": 1})
        lease_id = (await agent.assignment()).lease_id
        thief = await WireAgent(server, "thief").connect()
        assert (await thief.finish(lease_id)).outcome == STALE
        assert (await agent.finish(lease_id)).outcome == ACCEPTED
        assert (await agent.finish(lease_id, b"another body")).outcome == ACCEPTED
        assert (await agent.finish("f" * 20)).outcome == UNKNOWN
        garbled = await agent.finish("no lease at all")
        assert (garbled.outcome, garbled.lease_id) == (UNKNOWN, "no lease at all")
        task_id = (await server.submit(retry={"max_attempts": 1})).task.task_id
        large = await agent.finish((await agent.assignment()).lease_id, bytes((1 << 20) + 1))
        assert (large.outcome, large.error.reason) == (REJECTED, "OUTPUT_TOO_LARGE")
        task = await server.get(task_id)
        assert (task.state, task.error.reason) == (5, "OUTPUT_TOO_LARGE")


async def test_a_result_without_a_valid_body_is_rejected() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        bodies = [{}, {"error": {"reason": "two words"}}, {"output": {"content_type": "tést"}}]
        for body in bodies:
            await server.submit(retry={"max_attempts": 1})
            lease_id = (await agent.assignment()).lease_id
            await agent.say(results=[{"lease_id": lease_id, **body}])
            while not (frame := await agent.hear()).result_acks:
                pass
            agent.frame = frame
            ack = frame.result_acks[0]
            assert (ack.outcome, ack.error.reason) == (REJECTED, "INVALID_RESULT")


async def test_what_is_wrong_in_a_frame_is_told_and_the_rest_of_it_counts() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        task_id = (await server.submit()).task.task_id
        lease_id = (await agent.assignment()).lease_id
        await agent.say(
            heartbeat={"slots": 1_000_000_000},
            attempt_acks=[{"lease_id": "zz", "accepted": True}],
            progress=[
                {"lease_id": lease_id, "fraction": float("nan")},
                {"lease_id": lease_id, "fraction": 0.25, "message": "a quarter"},
                {"lease_id": lease_id, "chunk": bytes(70_000), "sequence": 1},
            ],
            delivery_acks=[{"delivery_id": "zz"}],
        )
        error = (await agent.hear()).error
        assert [violation.field for violation in error.violations] == [
            "heartbeat.slots",
            "attempt_acks[0].lease_id",
            "progress[0].fraction",
            "progress[2].chunk",
            "delivery_acks[0].delivery_id",
        ]
        assert (await server.get(task_id)).progress == 0.25


async def test_a_newer_stream_of_an_agent_fences_the_older() -> None:
    async with served() as server:
        old = await WireAgent(server).connect()
        new = await WireAgent(server).connect()
        told = await end_of(old.stream)
        assert (told.code, told.reason) == (grpc.StatusCode.ABORTED, "FENCED")
        await server.submit()
        assert (await new.finish((await new.assignment()).lease_id)).outcome == ACCEPTED


async def test_an_agent_that_lost_its_stream_resumes_with_its_lease() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        session_id = agent.frame.welcome.session_id
        task_id = (await server.submit()).task.task_id
        lease_id = (await agent.assignment()).lease_id
        agent.stream.cancel()
        again = await WireAgent(server, session_id=session_id, held_leases=[lease_id]).connect()
        assert again.frame.welcome.resumed
        assert list(again.frame.welcome.dropped_leases) == []
        assert (await again.finish(lease_id)).outcome == ACCEPTED
        assert (await server.get(task_id)).attempt_count == 1


async def test_a_goodbye_gives_the_work_back_at_once_and_ends_in_peace() -> None:
    async with served() as server:
        leaving = await WireAgent(server, "leaving").connect()
        task_id = (await server.submit()).task.task_id
        await leaving.assignment()
        staying = await WireAgent(server, "staying").connect()
        await leaving.say(goodbye={"reason": "lunch"})
        async with asyncio.timeout(PATIENCE_S):
            assert await leaving.stream.read() is grpc.aio.EOF
            assert await leaving.stream.code() is grpc.StatusCode.OK
        assert (await staying.assignment()).task_id == task_id


async def test_a_silent_agent_is_ended_and_its_work_goes_on_elsewhere() -> None:
    async with served() as server:
        silent = await WireAgent(server, "silent").connect()
        task_id = (await server.submit()).task.task_id
        lease_id = (await silent.assignment()).lease_id
        await silent.say(attempt_acks=[{"lease_id": lease_id, "accepted": True}])
        await settle()
        for _ in range(4):
            server.clock.move(10_000)
            server.orchestrator.wake()
            await settle(100)
        told = await end_of(silent.stream)
        assert (told.code, told.reason) == (grpc.StatusCode.ABORTED, "SILENT")
        other = await WireAgent(server, "other").connect()
        assert (await other.assignment()).task_id == task_id


async def test_an_unknown_outcome_of_a_commit_ends_the_stream_for_the_agent_to_come_back() -> None:
    store = TroubledStore()
    async with served(store) as server:
        agent = await WireAgent(server).connect()
        await server.submit()
        lease_id = (await agent.assignment()).lease_id
        store.fail(OutcomeUnknown("I/O error"))
        await agent.say(results=[{"lease_id": lease_id, "output": {"data": b"x"}}])
        told = await end_of(agent.stream)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        await until(lambda: server.orchestrator.names)
        again = await WireAgent(server, held_leases=[lease_id]).connect()
        assert (await again.finish(lease_id)).outcome == ACCEPTED


async def test_an_agent_that_does_not_read_is_given_up_and_delays_nobody() -> None:
    bounds = RuntimeBounds(streams=StreamBounds(agent_items_max=10))
    async with served(bounds=bounds) as server:
        session = await server.orchestrator.open_agent_session("default")
        slow = server.orchestrator._catalog.all()[0]
        assert slow.routes
        await session.open(_hello("slow", 100))  # Nobody takes from its outbox.
        ids = [int((await server.submit()).task.task_id, 16) for _ in range(20)]
        for task_id in ids:
            result = AttemptEnded(lease_of(TaskId(task_id), 1), Payload(data=b"done"))
            await session.report(AgentFrame(NO_SESSION, results=[result]), 100)
        await until(lambda: session.outbox.is_full)
        assert session.keep_or_close()
        async with asyncio.timeout(PATIENCE_S):
            ended = await session.closed
        assert ended is not None
        assert ended.reason == "SLOW_READER"
        session.leave()
        agent = await WireAgent(server).connect()
        await server.submit(priority=4)
        assert (await agent.finish((await agent.assignment()).lease_id)).outcome == ACCEPTED


def _hello(agent_id: str, slots: int) -> AgentConnected:
    return AgentConnected(0, agent_id, agent_id, ["echo"], {}, slots)


async def test_agents_are_listed_page_by_page_and_filtered() -> None:
    async with served() as server:
        for name in ("c", "a", "b"):
            await WireAgent(server, name, capabilities=["echo", f"only-{name}"]).connect()
        page = await server.agents.ListAgents(pb.ListAgentsRequest(page_size=2))
        assert [agent.agent_id for agent in page.agents] == ["a", "b"]
        token = page.next_page_token
        rest = await server.agents.ListAgents(pb.ListAgentsRequest(page_token=token))
        assert [agent.agent_id for agent in rest.agents] == ["c"]
        assert not rest.next_page_token
        only = await server.agents.ListAgents(pb.ListAgentsRequest(capability="only-b", states=[1]))
        assert [agent.agent_id for agent in only.agents] == ["b"]
        told = await told_by(server.agents.ListAgents(pb.ListAgentsRequest(page_token=token, states=[1])))
        assert told.reason == "INVALID_PAGE_TOKEN"


async def test_a_drained_agent_is_told_and_gets_nothing_new() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        drained = (await server.agents.DrainAgent(pb.DrainAgentRequest(agent_id="worker"))).agent
        assert drained.state == 3
        assert (await agent.hear()).drain.reason == "AGENT_DRAINED"
        task_id = (await server.submit()).task.task_id
        assert (await server.get(task_id)).state == 2


async def test_a_watch_of_agents_tells_who_comes_and_goes() -> None:
    async with served() as server:
        await WireAgent(server, "first").connect()
        watch = server.agents.WatchAgents(pb.WatchAgentsRequest(), timeout=60)
        snapshot = await watch.read()
        assert snapshot.snapshot_done
        assert [agent.agent_id for agent in snapshot.agents] == ["first"]
        second = await WireAgent(server, "second").connect()
        assert [agent.agent_id for agent in (await watch.read()).agents] == ["second"]
        await second.say(goodbye={})
        states: list[int] = []
        while 4 not in states:
            states += [agent.state for agent in (await watch.read()).agents]


async def test_a_paused_type_is_handed_out_when_it_is_resumed() -> None:
    async with served() as server:
        agent = await WireAgent(server, capabilities=["echo", "other"], slots=2).connect()
        for _ in range(2):  # The second time nothing changes.
            paused = await server.agents.PauseType(pb.PauseTypeRequest(type="echo"))
            assert list(paused.paused_types) == ["echo"]
        task_id = (await server.submit()).task.task_id
        explained = await server.tasks.ExplainTask(task_service_pb2.ExplainTaskRequest(task_id=task_id))
        assert [reason.kind for reason in explained.reasons] == [task_service_pb2.WaitReason.KIND_PAUSED]
        other = (await server.submit("other")).task.task_id
        assert [each.task_id for each in (await agent.hear()).assignments] == [other]
        for _ in range(2):
            resumed = await server.agents.ResumeType(pb.ResumeTypeRequest(type="echo"))
            assert list(resumed.paused_types) == []
        assert [each.task_id for each in (await agent.hear()).assignments] == [task_id]


async def test_the_number_of_paused_types_is_bounded() -> None:
    async with served(limits=Limits(ordering=Ordering(paused_types_max=1))) as server:
        await server.agents.PauseType(pb.PauseTypeRequest(type="echo"))
        told = await told_by(server.agents.PauseType(pb.PauseTypeRequest(type="other")))
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "PAUSED_TYPES_EXHAUSTED")


async def test_a_stream_that_never_says_hello_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_stream, "HELLO_WAIT_S", 0.0)
    async with served() as server:
        told = await end_of(server.agents.Connect(timeout=PATIENCE_S))
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HELLO_REQUIRED")


@pytest.mark.parametrize("word", ["goodbye", "none"])
async def test_a_session_that_ended_is_gone_without_the_collector(word: str) -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        await server.submit()
        await agent.finish((await agent.assignment()).lease_id)
        (session,) = server.orchestrator._catalog.all()[0].sessions.values()
        gone = weakref.ref(session)
        del session
        gc.collect()
        gc.disable()
        try:
            if word == "goodbye":
                await agent.say(goodbye={"reason": "done"})
                await agent.stream.done_writing()
                assert await agent.stream.read() is grpc.aio.EOF
            else:
                agent.stream.cancel()
            await until(lambda: gone() is None)
        finally:
            gc.enable()
