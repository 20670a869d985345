"""StreamTasks as the client speaks it, against a server that says what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.support.fake_server import Conversation, FakeServer, Refusal, fake_server
from upbeat import (
    Client,
    ClientClosed,
    QueueFull,
    TaskCancelled,
    TaskFailed,
    TaskTimedOut,
    Unauthenticated,
    Unavailable,
)
from upbeat.errors import RequestIdReused
from upbeat.v1 import payload_pb2, refusal_pb2, task_pb2, task_service_pb2

Response = task_service_pb2.StreamTasksResponse


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
async def up(server: FakeServer) -> AsyncIterator[Client]:
    async with Client(server.address, namespace="n1", token="secret", patience=20) as client:
        yield client


async def opened(server: FakeServer, window: int = 100) -> Conversation:
    """A stream whose window has been granted; its first frame stays unread."""
    stream = await server.conversation("StreamTasks")
    await stream.say(Response(window=window))
    return stream


async def requests(stream: Conversation, count: int) -> list[Any]:
    """The next submissions, over as many frames as it takes."""
    found: list[Any] = []
    while len(found) < count:
        found += (await stream.hear_until(lambda frame: frame.requests)).requests
    return found


def accepted(request: Any, task_id: str = "t1") -> Response:
    return Response(accepted=[task_service_pb2.TaskAccepted(request_id=request.request_id, task_id=task_id)])


def finished(request_id: str, *, state: str = "COMPLETED", error: str = "", output: bytes = b"1") -> Response:
    end = task_service_pb2.TaskFinished(request_id=request_id, task_id="t1", attempt_count=2)
    end.state = task_pb2.Task.State.Value(f"STATE_{state}")
    if error:
        end.error.reason = error
        end.error.message = "because"
    else:
        end.output.CopyFrom(payload_pb2.Payload(content_type="application/json", data=output))
    return Response(finished=[end])


def refused(request: Any, reason: str, code: int, retry_ms: int = 0) -> Response:
    item = task_service_pb2.TaskRefused(request_id=request.request_id)
    item.error.reason, item.error.code, item.error.message = reason, code, "no"
    if retry_ms:
        item.error.retry_delay.FromMilliseconds(retry_ms)
    return Response(refused=[item])


async def test_run_submits_waits_and_acknowledges_the_end(server: FakeServer, up: Client) -> None:
    running = asyncio.create_task(up.run("echo", {"a": 1}, timeout=7))
    stream = await server.conversation("StreamTasks")
    first = await stream.hear()
    assert (first.namespace, list(first.requests)) == ("n1", [])
    assert stream.metadata["authorization"] == "Bearer secret"
    await stream.say(Response(window=10))
    (request,) = await requests(stream, 1)
    assert request.spec.total_timeout.ToSeconds() == 7
    assert request.namespace == ""
    await stream.say(accepted(request))
    await stream.say(finished(request.request_id, output=b'{"b":2}'))
    ack = await stream.hear()
    assert list(ack.finished_acks) == [request.request_id]
    assert await running == {"b": 2}


async def test_one_stream_carries_everything(server: FakeServer, up: Client) -> None:
    running = [asyncio.create_task(up.run("echo", n)) for n in range(20)]
    stream = await opened(server)
    for request in await requests(stream, 20):
        await stream.say(finished(request.request_id, output=request.spec.input.data))
    assert await asyncio.gather(*running) == list(range(20))
    assert not server.has_conversation("StreamTasks")


@pytest.mark.parametrize(
    ("state", "reason", "kind"),
    [
        ("FAILED", "NOPE", TaskFailed),
        ("FAILED", "TOTAL_TIMEOUT", TaskTimedOut),
        ("CANCELLED", "CANCELLED", TaskCancelled),
    ],
)
async def test_how_a_task_ended_is_raised(
    server: FakeServer, up: Client, state: str, reason: str, kind: type[Exception]
) -> None:
    running = asyncio.create_task(up.run("echo"))
    stream = await opened(server)
    (request,) = await requests(stream, 1)
    await stream.say(finished(request.request_id, state=state, error=reason))
    with pytest.raises(kind, match="because") as raised:
        await running
    assert raised.value.task_id == "t1"  # type: ignore[attr-defined]


async def test_no_more_is_sent_than_the_window_holds(server: FakeServer, up: Client) -> None:
    running = [asyncio.create_task(up.run("echo", n)) for n in range(5)]
    stream = await opened(server, window=2)
    first = await requests(stream, 2)
    assert len(first) == 2
    await stream.say(finished(first[0].request_id))
    frame = await stream.hear_until(lambda frame: frame.finished_acks)
    assert not frame.requests, "room that an ack frees counts from the next frame on"
    (third,) = await requests(stream, 1)
    for request in [first[1], third]:
        await stream.say(finished(request.request_id))
    for request in await requests(stream, 2):
        await stream.say(finished(request.request_id))
    assert await asyncio.gather(*running) == [1] * 5


async def test_after_a_broken_stream_unaccepted_ones_are_repeated_and_accepted_ones_attached(
    server: FakeServer, up: Client
) -> None:
    running = [asyncio.create_task(up.run("echo", n)) for n in range(2)]
    stream = await opened(server)
    known, unknown = await requests(stream, 2)
    await stream.say(accepted(known))
    await stream.end(Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING"))
    stream = await server.conversation("StreamTasks")
    first = await stream.hear()
    assert list(first.attach) == [known.request_id]
    await stream.say(Response(window=10))
    (again,) = await requests(stream, 1)
    assert again == unknown
    await stream.say(finished(known.request_id, output=b"1"))
    await stream.say(finished(unknown.request_id, output=b"2"))
    assert await asyncio.gather(*running) == [1, 2]


async def test_a_server_that_dies_and_comes_back_is_found_again(server: FakeServer, up: Client) -> None:
    running = asyncio.create_task(up.run("echo"))
    stream = await opened(server)
    (request,) = await requests(stream, 1)
    await server.stop()
    await server.start()
    stream = await opened(server)
    (again,) = await requests(stream, 1)
    assert again.request_id == request.request_id
    await stream.say(finished(again.request_id))
    assert await running == 1


async def test_a_refused_submission_raises_its_reason(server: FakeServer, up: Client) -> None:
    submitting = asyncio.create_task(up.submit("echo", request_id="r1"))
    stream = await opened(server)
    (request,) = await requests(stream, 1)
    assert request.request_id == "r1"
    await stream.say(refused(request, "QUEUE_FULL", 8, retry_ms=2_000))
    with pytest.raises(QueueFull) as raised:
        await submitting
    assert raised.value.retry_after == 2.0


async def test_a_submission_the_server_cannot_take_now_is_repeated(server: FakeServer, up: Client) -> None:
    running = asyncio.create_task(up.run("echo"))
    stream = await opened(server)
    (request,) = await requests(stream, 1)
    await stream.say(refused(request, "STORE_UNAVAILABLE", 14, retry_ms=1))
    assert await requests(stream, 1) == [request]
    await stream.say(refused(request, "WINDOW_EXCEEDED", 8))
    assert await requests(stream, 1) == [request]
    await stream.say(finished(request.request_id))
    assert await running == 1


async def test_a_stream_that_is_refused_for_good_fails_all(server: FakeServer, up: Client) -> None:
    server.refusals["StreamTasks"] = Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    with pytest.raises(Unauthenticated):
        await up.run("echo")
    server.refusals.clear()
    running = asyncio.create_task(up.run("echo"))
    stream = await opened(server)
    (request,) = await requests(stream, 1)
    await stream.say(finished(request.request_id))
    assert await running == 1, "the client goes on"


async def test_patience_with_an_unreachable_server_ends() -> None:
    async with Client("127.0.0.1:1", patience=0) as up:
        with pytest.raises(Unavailable):
            await up.run("echo")
        with pytest.raises(Unavailable):
            await up.get("t1")


async def test_a_cancelled_run_cancels_its_task(server: FakeServer, up: Client) -> None:
    server.answers["CancelTask"] = lambda request: task_service_pb2.CancelTaskResponse(
        task=task_pb2.Task(task_id=request.task_id)
    )
    running = asyncio.create_task(up.run("echo"))
    stream = await opened(server)
    (request,) = await requests(stream, 1)
    await stream.say(accepted(request, "t9"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await up.close()
    (cancel,) = server.requests["CancelTask"]
    assert (cancel.namespace, cancel.task_id) == ("n1", "t9")


async def test_closing_tells_whoever_waits(server: FakeServer, up: Client) -> None:
    running = asyncio.create_task(up.run("echo"))
    stream = await opened(server)
    await requests(stream, 1)
    await up.close()
    with pytest.raises(ClientClosed):
        await running
    with pytest.raises(ClientClosed):
        await up.run("echo")
    with pytest.raises(ClientClosed):
        await up.get("t1")


async def test_submissions_that_find_the_window_taken_go_by_batch(server: FakeServer, up: Client) -> None:
    def answer(batch: Any) -> Any:
        assert batch.namespace == "n1"
        results = [
            task_service_pb2.SubmitResult(task=task_pb2.Task(task_id=f"b-{request.request_id}"))
            if request.request_id != "bad"
            else task_service_pb2.SubmitResult(error=refusal_pb2.Refusal(code=3, reason="INVALID_FIELD"))
            for request in batch.requests
        ]
        return task_service_pb2.BatchSubmitTasksResponse(results=results)

    server.answers["BatchSubmitTasks"] = answer
    submitting = [asyncio.create_task(up.submit("echo", n, request_id=f"r{n}")) for n in range(6)]
    stream = await opened(server, window=4)
    for request in await requests(stream, 2):
        await stream.say(accepted(request, f"s-{request.request_id}"))
    handles = await asyncio.gather(*submitting)
    assert sorted(handle.task_id[0] for handle in handles) == ["b"] * 4 + ["s"] * 2
    overflowed = next(handle for handle in handles if handle.task_id.startswith("b"))
    waiting = asyncio.create_task(overflowed.result())
    frame = await stream.hear_until(lambda frame: frame.attach)
    assert list(frame.attach) == [overflowed.task_id.removeprefix("b-")]
    await stream.say(finished(frame.attach[0], output=b'"late"'))
    assert await waiting == "late"
    assert await overflowed.result() == "late", "asked for again, it is still known"


async def test_the_same_request_twice_at_once_is_for_the_server_to_judge(
    server: FakeServer, up: Client
) -> None:
    def answer(batch: Any) -> Any:
        results = [
            task_service_pb2.SubmitResult(task=task_pb2.Task(task_id="t1"))
            if request.spec.input.data == b"1"
            else task_service_pb2.SubmitResult(error=refusal_pb2.Refusal(code=6, reason="REQUEST_ID_REUSED"))
            for request in batch.requests
        ]
        return task_service_pb2.BatchSubmitTasksResponse(results=results)

    server.answers["BatchSubmitTasks"] = answer
    running = [asyncio.create_task(up.run("echo", value, request_id="r1")) for value in (1, 1, 2)]
    stream = await opened(server)
    (request,) = await requests(stream, 1)
    with pytest.raises(RequestIdReused):
        await running[2]
    await stream.say(accepted(request))
    await stream.say(finished("r1", output=b"7"))
    assert await running[0] == await running[1] == 7


async def test_map_yields_every_end_with_at_most_so_many_in_flight(server: FakeServer, up: Client) -> None:
    drawn: list[int] = []

    def values() -> Any:
        for n in range(7):
            drawn.append(n)
            yield n

    async def serve() -> None:
        stream = await opened(server)
        for _ in range(7):
            (request,) = (await stream.hear_until(lambda frame: frame.requests)).requests
            if request.spec.input.data == b"3":
                await stream.say(refused(request, "QUEUE_FULL", 8, retry_ms=1))
                (request,) = await requests(stream, 1)
            if request.spec.input.data == b"5":
                await stream.say(finished(request.request_id, state="FAILED", error="NOPE"))
            else:
                await stream.say(finished(request.request_id, output=request.spec.input.data))

    serving = asyncio.create_task(serve())
    outputs: dict[int, Any] = {}
    async for done in up.map("echo", values(), in_flight=1, priority="low"):
        assert len(drawn) - len(outputs) <= 2
        if done.input == 5:
            with pytest.raises(TaskFailed, match="NOPE"):
                _ = done.output
            outputs[done.index] = "failed"
        else:
            outputs[done.index] = done.output
    await serving
    assert outputs == {n: n if n != 5 else "failed" for n in range(7)}


async def test_leaving_a_map_early_cancels_what_is_left(server: FakeServer, up: Client) -> None:
    cancelled = asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer(request: Any) -> Any:
        loop.call_soon_threadsafe(cancelled.set)
        return task_service_pb2.CancelTaskResponse(task=task_pb2.Task(task_id=request.task_id))

    server.answers["CancelTask"] = answer
    flow = up.map("echo", range(100), in_flight=3)
    first = asyncio.create_task(anext(flow))
    stream = await opened(server)
    sent = await requests(stream, 3)
    for number, request in enumerate(sent):
        await stream.say(accepted(request, f"t{number}"))
    await stream.say(finished(sent[0].request_id))
    assert (await first).index == 0
    await flow.aclose()
    async with asyncio.timeout(20):
        await cancelled.wait()


async def test_a_failing_source_of_values_fails_the_map(server: FakeServer, up: Client) -> None:
    async def values() -> AsyncIterator[int]:
        yield 1
        raise OSError("the disk is gone")

    flow = up.map("echo", values())
    with pytest.raises(OSError, match="disk"):
        await anext(flow)
