"""OperationsService over a real port: retries, and what is done by filter."""

from __future__ import annotations

from typing import Any

import grpc

from tests.support.runtime import PATIENCE_S
from tests.support.served import Served, WireAgent, served, told_by
from upbeat.v1 import operations_service_pb2, task_pb2, task_service_pb2
from upbeat_server.rpc import operations_service, selection

pb: Any = operations_service_pb2
State = task_pb2.Task.State
FAIL_AT_ONCE: Any = {"retry": {"max_attempts": 1}}
WRONG = {"reason": "WRONG", "message": "no"}


async def failed(server: Served, count: int = 1, **spec: Any) -> list[str]:
    """Ids of tasks of type ``echo`` that an agent has failed, oldest first."""
    agent = await WireAgent(server, slots=count).connect()
    ids = [(await server.submit(**FAIL_AT_ONCE, **spec)).task.task_id for _ in range(count)]
    leases: list[str] = []
    while len(leases) < count:
        leases += [assignment.lease_id for assignment in (await agent.hear()).assignments]
    await agent.say(results=[{"lease_id": lease, "error": WRONG} for lease in leases])
    for task_id in ids:
        assert (await server.get(task_id, wait_s=int(PATIENCE_S))).state == State.STATE_FAILED
    await agent.say(goodbye={})
    agent.stream.cancel()
    return ids


async def retry(server: Served, task_id: str, request_id: str = "") -> Any:
    request = pb.RetryTaskRequest(task_id=task_id, request_id=request_id)
    return (await server.operations.RetryTask(request, timeout=PATIENCE_S)).task


async def bulk_retry(server: Served, **fields: Any) -> Any:
    return await server.operations.BulkRetryTasks(pb.BulkRetryTasksRequest(**fields), timeout=PATIENCE_S)


async def bulk_cancel(server: Served, **fields: Any) -> Any:
    return await server.operations.BulkCancelTasks(pb.BulkCancelTasksRequest(**fields), timeout=PATIENCE_S)


async def ids_of(server: Served, filter_text: str) -> list[str]:
    request = task_service_pb2.ListTasksRequest(filter=filter_text)
    return [task.task_id for task in (await server.tasks.ListTasks(request, timeout=PATIENCE_S)).tasks]


async def test_a_failed_task_runs_again_as_a_new_one_with_its_spec() -> None:
    async with served() as server:
        (old,) = await failed(server, input={"data": b"x"}, labels={"team": "a"}, priority=3, selector="true")
        task = await retry(server, old)
        assert task.task_id != old
        new = await server.get(task.task_id)
        assert (new.spec.input.data, new.spec.priority, new.spec.selector) == (b"x", 3, "true")
        assert dict(new.spec.labels) == {"team": "a", operations_service.RETRY_OF: old}
        agent = await WireAgent(server).connect()
        assignment = await agent.assignment()
        assert (assignment.task_id, assignment.input.data) == (task.task_id, b"x")
        assert (await server.get(old)).state == State.STATE_FAILED


async def test_asking_again_is_the_same_retry_and_another_request_id_another() -> None:
    async with served() as server:
        (old,) = await failed(server)
        first, again = (await retry(server, old)).task_id, (await retry(server, old)).task_id
        assert first == again
        assert (await retry(server, old, "once more")).task_id != first


async def test_a_cancelled_collaboration_is_retried_as_a_whole() -> None:
    async with served() as server:
        steps: Any = [{"type": "echo"}, {"type": "echo"}]
        spec: Any = {"collaboration": {"sequential": {"steps": steps}}}
        request: Any = {"spec": spec}
        submitted = await server.tasks.SubmitTask(
            task_service_pb2.SubmitTaskRequest(**request), timeout=PATIENCE_S
        )
        old = submitted.task.task_id
        (child,) = await ids_of(server, f"parent = {old}")
        told = await told_by(server.operations.RetryTask(pb.RetryTaskRequest(task_id=child)))
        assert (told.reason, told.metadata["root_task_id"]) == ("NOT_RETRYABLE", old)
        await server.tasks.CancelTask(task_service_pb2.CancelTaskRequest(task_id=old))
        new = (await retry(server, old)).task_id
        assert len(await ids_of(server, f"parent = {new}")) == 1


async def test_what_has_not_failed_is_not_retried() -> None:
    async with served() as server:
        queued = (await server.submit()).task.task_id
        told = await told_by(server.operations.RetryTask(pb.RetryTaskRequest(task_id=queued)))
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_RETRYABLE")
        assert told.metadata["state"] == "QUEUED"
        agent = await WireAgent(server).connect()
        await agent.finish((await agent.assignment()).lease_id)
        told = await told_by(server.operations.RetryTask(pb.RetryTaskRequest(task_id=queued)))
        assert told.metadata["state"] == "COMPLETED"


async def test_a_task_with_as_many_labels_as_it_may_have_is_retried_without_another() -> None:
    async with served() as server:
        labels = {f"label-{number}": "x" for number in range(32)}
        (old,) = await failed(server, labels=labels)
        new = await server.get((await retry(server, old)).task_id)
        assert dict(new.spec.labels) == labels


async def test_a_request_id_that_is_none_is_refused_before_anything_is_submitted() -> None:
    async with served() as server:
        (old,) = await failed(server)
        told = await told_by(server.operations.RetryTask(pb.RetryTaskRequest(task_id=old, request_id="x\n")))
        assert told.fields == ["request_id"]
        assert await ids_of(server, "state = QUEUED") == []


async def test_everything_unfinished_is_cancelled_in_one_call() -> None:
    async with served() as server:
        kept = (await server.submit(labels={"team": "b"})).task.task_id
        ids = [(await server.submit(labels={"team": "a"})).task.task_id for _ in range(5)]
        count = await bulk_cancel(server, filter="labels.team = a", dry_run=True)
        assert (count.matched, count.cancelled) == (5, 0)
        assert await ids_of(server, "state = CANCELLED") == []
        done = await bulk_cancel(server, filter="labels.team = a", message="not needed")
        assert (done.matched, done.cancelled, done.problem_count, done.next_page_token) == (5, 5, 0, "")
        assert await ids_of(server, "state = CANCELLED") == ids
        assert (await server.get(ids[0])).error.message == "not needed"
        assert (await server.get(kept)).state == State.STATE_QUEUED
        assert (await bulk_cancel(server, filter="labels.team = a")).matched == 0


async def test_a_limit_ends_a_call_and_its_token_goes_on() -> None:
    async with served() as server:
        for _ in range(5):
            await server.submit()
        first = await bulk_cancel(server, filter="type = echo", limit=3)
        assert (first.cancelled, bool(first.next_page_token)) == (3, True)
        rest = await bulk_cancel(server, filter="type = echo", limit=3, page_token=first.next_page_token)
        assert (rest.cancelled, rest.next_page_token) == (2, "")


async def test_children_end_with_their_collaboration_and_are_not_meant() -> None:
    async with served() as server:
        steps: Any = [{"type": "echo"}, {"type": "echo"}]
        spec: Any = {"collaboration": {"parallel": {"steps": steps}}}
        request: Any = {"spec": spec}
        submitted = await server.tasks.SubmitTask(task_service_pb2.SubmitTaskRequest(**request))
        done = await bulk_cancel(server, filter='parent = ""')
        assert (done.matched, done.cancelled) == (1, 1)
        assert len(await ids_of(server, f"parent = {submitted.task.task_id} AND state = CANCELLED")) == 2


async def test_all_failed_ones_are_retried_and_asking_again_makes_no_more() -> None:
    async with served() as server:
        old = await failed(server, 3)
        assert (await bulk_retry(server, filter="type = echo", dry_run=True)).matched == 3
        done = await bulk_retry(server, filter="type = echo")
        assert (done.matched, done.retried, done.problem_count) == (3, 3, 0)
        new = await ids_of(server, "state = QUEUED")
        assert [(await server.get(i)).spec.labels[operations_service.RETRY_OF] for i in new] == old
        again = await bulk_retry(server, filter="type = echo")
        assert (again.matched, again.retried) == (3, 3)
        assert await ids_of(server, "state = QUEUED") == new


async def test_one_that_cannot_be_retried_is_told_and_the_others_are() -> None:
    async with served() as server:
        (first,) = await failed(server, dedup_key="once")
        (second,) = await failed(server)
        await server.submit(dedup_key="once")
        done = await bulk_retry(server, filter="type = echo")
        assert (done.matched, done.retried, done.problem_count) == (2, 1, 1)
        assert done.problems[0].task_id == first
        assert done.problems[0].error.reason == "DUPLICATE_TASK"
        assert await ids_of(server, f'labels.{operations_service.RETRY_OF} = "{second}"')


async def test_many_are_walked_in_portions_and_large_ones_are_not_committed_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(selection, "PORTION", 2)
    monkeypatch.setattr(operations_service, "COMMIT_BYTES_MAX", 5)
    async with served() as server:
        await failed(server, 5, input={"data": b"four"})
        assert (await bulk_retry(server, filter="type = echo")).retried == 5
        assert (await bulk_cancel(server, filter="type = echo")).cancelled == 5


async def test_what_came_in_after_the_first_call_is_not_meant() -> None:
    async with served() as server:
        for _ in range(3):
            await server.submit()
        first = await bulk_cancel(server, filter="type = echo", limit=2)
        server.clock.move(1_000)
        await server.submit()  # So retries that fail at once are not found for ever.
        rest = await bulk_cancel(server, filter="type = echo", page_token=first.next_page_token)
        assert (first.cancelled, rest.cancelled, rest.next_page_token) == (2, 1, "")
