"""TaskService over a real port."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, struct_pb2

from tests.support.runtime import PATIENCE_S, until
from tests.support.served import Served, WireAgent, end_of, served, told_by
from tests.support.troubled_store import TroubledStore
from upbeat.v1 import task_pb2, task_service_pb2
from upbeat_server.runtime.bounds import RuntimeBounds, StreamBounds, WatchBounds
from upbeat_server.store.store import StoreUnavailable

pb: Any = task_service_pb2  # Messages take dicts for messages, which their stubs do not know.


async def read(stream: Any) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return await stream.read()


async def test_a_submitted_task_is_answered_without_its_input_and_with_its_defaults() -> None:
    async with served() as server:
        task = (await server.submit(input={"content_type": "text/plain", "data": b"hello"})).task
        assert (task.state, task.namespace, task.spec.priority) == (2, "default", 2)
        assert not task.spec.HasField("input")
        assert task.root_task_id == task.task_id
        full = await server.get(task.task_id)
        assert full.spec.input.data == b"hello"
        basic = await server.tasks.GetTask(pb.GetTaskRequest(task_id=task.task_id, view=1))
        assert not basic.task.spec.HasField("input")


async def test_json_becomes_bytes_once() -> None:
    async with served() as server:
        body = json_format.ParseDict({"n": 3, "ok": True, "list": [None, 0.5]}, struct_pb2.Value())
        task = (await server.submit(input={"json": body})).task
        full = await server.get(task.task_id)
        assert full.spec.input.data == b'{"list":[null,0.5],"n":3,"ok":true}'
        assert full.spec.input.content_type == "application/json"


async def test_a_repeat_answers_the_same_task_and_another_spec_is_refused() -> None:
    async with served() as server:
        first = await server.submit(request_id="r1", labels={"b": "2", "a": "1"})
        again = await server.submit(request_id="r1", labels={"a": "1", "b": "2"})
        assert first.task.task_id == again.task.task_id
        told = await told_by(server.submit("other", request_id="r1"))
        assert (told.code, told.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_a_repeat_may_come_from_another_span() -> None:
    async with served() as server:
        first = await server.submit(request_id="r1", traceparent=f"00-{'1' * 32}-{'2' * 16}-01")
        for traceparent in ("", f"00-{'3' * 32}-{'4' * 16}-00"):
            again = await server.submit(request_id="r1", traceparent=traceparent)
            assert first.task.task_id == again.task.task_id
        task = await server.get(first.task.task_id)
        assert task.spec.traceparent == f"00-{'1' * 32}-{'2' * 16}-01"


async def test_a_task_that_says_nothing_belongs_to_the_trace_of_its_call() -> None:
    beside = f"00-{'5' * 32}-{'6' * 16}-01"
    own = f"00-{'1' * 32}-{'2' * 16}-01"
    requests = [
        pb.SubmitTaskRequest(spec={"type": "echo"}),
        pb.SubmitTaskRequest(spec={"type": "echo", "traceparent": own}),
        pb.SubmitTaskRequest(),
    ]
    batch = pb.BatchSubmitTasksRequest(requests=requests)
    async with served() as server:
        for came, expected in ((beside, beside), ("00-1-2-03", "")):
            metadata = (("traceparent", came),)
            task = (await server.tasks.SubmitTask(requests[0], metadata=metadata)).task
            assert (await server.get(task.task_id)).spec.traceparent == expected
            first, second, third = (await server.tasks.BatchSubmitTasks(batch, metadata=metadata)).results
            assert (await server.get(first.task.task_id)).spec.traceparent == expected
            assert (await server.get(second.task.task_id)).spec.traceparent == own
            assert third.error.reason == "INVALID_FIELD"


async def test_a_batch_is_answered_in_order_each_on_its_own() -> None:
    async with served() as server:
        batch = pb.BatchSubmitTasksRequest(
            namespace="team",
            requests=[
                pb.SubmitTaskRequest(spec={"type": "one"}),
                pb.SubmitTaskRequest(spec={"type": "-"}),
                pb.SubmitTaskRequest(namespace="other", spec={"type": "two"}),
                pb.SubmitTaskRequest(namespace="team", spec={"type": "three"}),
            ],
        )
        results = (await server.tasks.BatchSubmitTasks(batch)).results
        assert [result.WhichOneof("result") for result in results] == ["task", "error", "error", "task"]
        assert results[1].error.violations[0].field == "spec.type"
        assert results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert results[2].error.reason == "NAMESPACE_MISMATCH"
        assert results[3].task.namespace == "team"


async def test_a_page_goes_on_where_the_last_one_ended() -> None:
    async with served() as server:
        tasks = [(await server.submit(labels={"n": str(n % 2)})).task.task_id for n in range(7)]
        for order, wanted in (("", tasks), ("create_time desc", tasks[::-1])):
            seen, token = [], ""
            while True:
                request = pb.ListTasksRequest(page_size=3, page_token=token, order_by=order)
                page = await server.tasks.ListTasks(request)
                seen += [task.task_id for task in page.tasks]
                token = page.next_page_token
                if not token:
                    break
            assert seen == wanted
        odd = await server.tasks.ListTasks(pb.ListTasksRequest(filter='labels.n = "1" AND state = QUEUED'))
        assert [task.task_id for task in odd.tasks] == tasks[1::2]


async def test_a_page_stays_under_its_bytes() -> None:
    async with served() as server:
        for _ in range(5):
            await server.submit(input={"data": bytes(1 << 20)})
        sizes, token = [], ""
        while True:
            page = await server.tasks.ListTasks(pb.ListTasksRequest(page_token=token, view=2))
            assert page.ByteSize() < 3 << 20
            sizes.append(len(page.tasks))
            token = page.next_page_token
            if not token:
                break
        assert sum(sizes) == 5


async def test_a_page_token_belongs_to_its_listing() -> None:
    async with served() as server:
        for _ in range(3):
            await server.submit()
        token = (await server.tasks.ListTasks(pb.ListTasksRequest(page_size=1))).next_page_token
        for request in (
            pb.ListTasksRequest(page_token=token, filter="state = QUEUED"),
            pb.ListTasksRequest(page_token=token, namespace="other"),
            pb.ListTasksRequest(page_token=token, order_by="create_time desc"),
            pb.ListTasksRequest(page_token=token[:-2] + "AA"),
            pb.ListTasksRequest(page_token="forged"),
        ):
            told = await told_by(server.tasks.ListTasks(request))
            assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")


async def test_cancelling_reaches_the_agent_and_frees_its_slot_when_it_answers() -> None:
    async with served() as server:
        agent = await WireAgent(server).connect()
        task_id = (await server.submit()).task.task_id
        lease_id = (await agent.assignment()).lease_id
        request = pb.CancelTaskRequest(task_id=task_id, message="changed my mind")
        cancelled = (await server.tasks.CancelTask(request)).task
        assert cancelled.state == task_pb2.Task.STATE_CANCELLED
        assert cancelled.error.message == "changed my mind"
        assert (await agent.hear()).cancels[0].lease_id == lease_id
        ack = await agent.finish(lease_id)
        assert ack.outcome == 2  # STALE
        assert (await server.get(task_id)).state == task_pb2.Task.STATE_CANCELLED


async def test_explain_says_why_a_task_waits_and_how_a_finished_one_ended() -> None:
    async with served() as server:
        task_id = (await server.submit("nobody-does-this")).task.task_id
        answer = await server.tasks.ExplainTask(pb.ExplainTaskRequest(task_id=task_id))
        assert answer.state == task_pb2.Task.STATE_QUEUED
        assert answer.reasons[0].kind == pb.WaitReason.KIND_NO_CAPABLE_AGENT
        await server.tasks.CancelTask(pb.CancelTaskRequest(task_id=task_id))
        answer = await server.tasks.ExplainTask(pb.ExplainTaskRequest(task_id=task_id))
        assert answer.state == task_pb2.Task.STATE_CANCELLED
        assert not answer.reasons


class Submitter:
    """A StreamTasks call."""

    def __init__(self, server: Served) -> None:
        self.stream = server.tasks.StreamTasks(timeout=60)
        self.accepted: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.finished: dict[str, Any] = {}
        self.window = 0

    async def say(self, **fields: Any) -> None:
        await self.stream.write(pb.StreamTasksRequest(**fields))

    async def submit(self, *request_ids: str, **spec: Any) -> None:
        spec.setdefault("type", "echo")
        await self.say(requests=[{"spec": spec, "request_id": request_id} for request_id in request_ids])

    async def until(self, kind: str, count: int) -> None:
        while len(getattr(self, kind)) < count:
            frame = await read(self.stream)
            self.window = frame.window or self.window
            self.accepted.update({item.request_id: item.task_id for item in frame.accepted})
            self.refused.update({item.request_id: item.error.reason for item in frame.refused})
            self.finished.update({item.request_id: item for item in frame.finished})


async def test_a_stream_submits_and_observes_and_ends_when_all_is_told() -> None:
    async with served() as server:
        agent = await WireAgent(server, slots=10).connect()
        caller = Submitter(server)
        await caller.submit("a", "b", "c")
        await caller.until("accepted", 3)
        assert caller.window > 0
        leases: list[str] = []
        while len(leases) < 3:
            leases += [item.lease_id for item in (await agent.hear()).assignments]
        await caller.stream.done_writing()
        await agent.say(
            results=[
                {"lease_id": leases[0], "output": {"data": b"fine"}},
                {"lease_id": leases[1], "error": {"reason": "BROKEN", "non_retryable": True}},
                {"lease_id": leases[2], "output": {"data": b"fine"}},
            ]
        )
        await caller.until("finished", 3)
        states = sorted(item.state for item in caller.finished.values())
        assert states == [4, 4, 5]
        failed = next(item for item in caller.finished.values() if item.state == 5)
        assert failed.error.reason == "BROKEN"
        assert await read(caller.stream) is grpc.aio.EOF


async def test_what_a_stream_missed_is_told_again_after_an_attach() -> None:
    async with served() as server:
        agent = await WireAgent(server, slots=2).connect()
        caller = Submitter(server)
        await caller.submit("done", "later")
        await caller.until("accepted", 2)
        leases: list[str] = []
        while len(leases) < 2:
            leases += [item.lease_id for item in (await agent.hear()).assignments]
        await agent.finish(leases[0])
        caller.stream.cancel()
        again = Submitter(server)
        await again.say(attach=["done", "later", "never"])
        await again.until("finished", 1)
        await again.until("refused", 1)
        assert again.refused == {"never": "TASK_NOT_FOUND"}
        await agent.finish(leases[1])
        await again.until("finished", 2)
        assert {item.output.data for item in again.finished.values()} == {b"done"}
        # Not acknowledged: a third stream is told again.
        third = Submitter(server)
        await third.say(attach=["done", "later"])
        await third.until("finished", 2)


async def test_the_window_bounds_a_stream_and_acknowledging_makes_room() -> None:
    bounds = RuntimeBounds(streams=StreamBounds(window=2))
    async with served(bounds=bounds) as server:
        agent = await WireAgent(server, slots=1).connect()
        caller = Submitter(server)
        await caller.submit("a", "b", "c")
        await caller.until("refused", 1)
        assert caller.window == 2
        assert caller.refused == {"c": "WINDOW_EXCEEDED"}
        await agent.finish((await agent.assignment()).lease_id)
        await caller.until("finished", 1)
        await caller.say(finished_acks=["a"])
        await caller.submit("c")
        await caller.until("accepted", 3)


async def test_a_stream_refuses_single_submissions_and_goes_on() -> None:
    async with served() as server:
        caller = Submitter(server)
        await caller.say(
            requests=[
                {"spec": {"type": "echo"}},
                {"spec": {"type": "echo", "priority": 9}, "request_id": "bad"},
                {"spec": {"type": "echo"}, "request_id": "good"},
                {"namespace": "other", "spec": {"type": "echo"}, "request_id": "elsewhere"},
            ]
        )
        await caller.until("accepted", 1)
        await caller.until("refused", 3)
        assert caller.refused == {
            "": "INVALID_FIELD",
            "bad": "INVALID_FIELD",
            "elsewhere": "NAMESPACE_MISMATCH",
        }
        await caller.say(namespace="other")
        told = await end_of(caller.stream)
        assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NAMESPACE_MISMATCH")


async def test_a_stream_goes_on_through_an_outage_of_the_store() -> None:
    store = TroubledStore()
    async with served(store) as server:
        caller = Submitter(server)
        await caller.submit("a")
        await caller.until("accepted", 1)
        store.fail(StoreUnavailable("disk full"))
        await caller.submit("b")
        await store.tried.wait()
        await until(lambda: not server.orchestrator.store_is_healthy)
        await caller.submit("c")
        await caller.until("refused", 1)
        assert caller.refused == {"c": "STORE_UNAVAILABLE"}
        store.heal()
        await caller.until("accepted", 2)
        await caller.submit("c")
        await caller.until("accepted", 3)


class Watcher:
    """A WatchTasks call."""

    def __init__(self, server: Served, **request: Any) -> None:
        self.stream = server.tasks.WatchTasks(pb.WatchTasksRequest(**request), timeout=60)
        self.events: list[tuple[str, Any]] = []
        self.revision = 0

    async def snapshot(self) -> list[Any]:
        tasks = []
        while True:
            frame = await read(self.stream)
            tasks += [event.task for event in frame.events]
            if frame.snapshot_done:
                self.revision = frame.revision
                return tasks
            assert frame.revision == 0

    async def until(self, count: int) -> list[tuple[str, Any]]:
        while len(self.events) < count:
            frame = await read(self.stream)
            assert frame.revision >= self.revision
            self.revision = frame.revision
            for event in frame.events:
                kind = event.WhichOneof("event")
                self.events.append((kind, getattr(event, kind)))
        return self.events


async def test_a_watched_task_is_told_from_its_beginning_to_its_end() -> None:
    async with served() as server:
        task_id = (await server.submit()).task.task_id
        watcher = Watcher(server, task_id=task_id, progress=True)
        assert [task.state for task in await watcher.snapshot()] == [2]
        agent = await WireAgent(server).connect()
        lease_id = (await agent.assignment()).lease_id
        said = {"lease_id": lease_id, "fraction": 0.5, "message": "half", "chunk": b"x", "sequence": 1}
        await agent.say(progress=[said])
        events = await watcher.until(2)
        assert events[1][1].chunk == b"x"
        assert (await server.get(task_id)).progress_message == "half"
        await agent.finish(lease_id)
        events = await watcher.until(3)
        assert [kind for kind, _ in events] == ["task", "progress", "task"]
        assert [task.state for kind, task in events if kind == "task"] == [3, 4]
        assert not events[2][1].HasField("output")
        assert await read(watcher.stream) is grpc.aio.EOF


async def test_a_task_that_has_ended_is_told_once() -> None:
    async with served() as server:
        task_id = (await server.submit()).task.task_id
        await server.tasks.CancelTask(pb.CancelTaskRequest(task_id=task_id))
        watcher = Watcher(server, task_id=task_id)
        assert [task.state for task in await watcher.snapshot()] == [6]
        assert await read(watcher.stream) is grpc.aio.EOF


async def test_a_filtered_watch_is_told_what_comes_and_what_leaves() -> None:
    async with served() as server:
        old = (await server.submit()).task.task_id
        await server.submit("other")
        watcher = Watcher(server, filter="state = QUEUED AND type = echo")
        assert [task.task_id for task in await watcher.snapshot()] == [old]
        await server.submit("other")
        new = (await server.submit()).task.task_id
        agent = await WireAgent(server).connect()
        lease_id = (await agent.assignment()).lease_id
        await agent.finish(lease_id)
        events = await watcher.until(3)
        assert [(kind, getattr(event, "task_id", event)) for kind, event in events[:3]] == [
            ("task", new),
            ("left", old),
            ("left", new),
        ]


async def test_a_watch_resumes_without_gap_or_duplicate_or_is_told_that_it_cannot() -> None:
    bounds = RuntimeBounds(watches=WatchBounds(ring_events_max=4))
    async with served(bounds=bounds) as server:
        watcher = Watcher(server)
        assert await watcher.snapshot() == []
        first = [(await server.submit()).task.task_id for _ in range(2)]
        await watcher.until(2)
        watcher.stream.cancel()
        second = [(await server.submit()).task.task_id for _ in range(3)]
        resumed = Watcher(server, revision=watcher.revision)
        events = await resumed.until(3)
        assert [task.task_id for _, task in events] == second
        assert first[0] not in [task.task_id for _, task in events]
        for _ in range(3):
            await server.submit()
        for revision in (watcher.revision, 1_000_000):
            told = await end_of(Watcher(server, revision=revision).stream)
            assert (told.code, told.reason) == (grpc.StatusCode.OUT_OF_RANGE, "REVISION_OUT_OF_RANGE")


async def test_a_watcher_that_does_not_read_is_ended_and_told_where_to_resume() -> None:
    bounds = RuntimeBounds(watches=WatchBounds(watch_events_max=10))
    async with served(bounds=bounds) as server:
        watch = await server.orchestrator.watch_tasks("default", None)
        requests = [pb.SubmitTaskRequest(spec={"type": "echo"}) for _ in range(20)]
        await server.tasks.BatchSubmitTasks(pb.BatchSubmitTasksRequest(requests=requests))
        with pytest.raises(Exception, match="SLOW_READER"):
            await watch.take(10, 1_000)
        assert await server.get((await server.submit()).task.task_id)


async def test_get_waits_for_the_end() -> None:
    async with served() as server:
        task_id = (await server.submit()).task.task_id
        waiting = asyncio.create_task(server.get(task_id, wait_s=60))
        agent = await WireAgent(server).connect()
        await agent.finish((await agent.assignment()).lease_id, b"result")
        task = await waiting
        assert (task.state, task.output.data) == (4, b"result")
        assert task.attempts[0].agent_id == "worker"
