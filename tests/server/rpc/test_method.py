"""The door: what a call meets before and after its servicer."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from hyperframe.frame import WindowUpdateFrame
from prometheus_client import CollectorRegistry

from tests.abuse.raw import RawConnection
from tests.support.scripted import ScriptedServicer, failure_of, info_of, reason_of, served
from upbeat.v1 import task_pb2, task_service_pb2
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub
from upbeat_server.engine import reasons
from upbeat_server.rpc.door import Door, snake_case
from upbeat_server.rpc.identity import GRANTS, Identity, Role
from upbeat_server.rpc.method import Call, PeerGone, PlainStatus, Stream
from upbeat_server.rpc.server import build_server
from upbeat_server.runtime.refused import SERVER_DRAINING, Refused, invalid
from upbeat_server.telemetry.calls import CallMetrics

PATIENCE_S = 20


class KnownCaller:
    """An authenticator that knows everybody as one."""

    def __init__(self, *roles: Role, namespaces: tuple[str, ...] = ("default",)) -> None:
        granted = frozenset(grant for role in roles for grant in GRANTS[role])
        self.identity = Identity("ci", granted, frozenset(namespaces))
        self.seen: list[str | None] = []

    def identify(self, authorization: str | None) -> Identity:
        self.seen.append(authorization)
        return self.identity


async def answer_task(request: Any, call: Call) -> Any:
    return task_service_pb2.GetTaskResponse(task=task_pb2.Task(task_id=request.task_id))


async def test_a_request_is_decoded_and_its_answer_encoded() -> None:
    async with served(ScriptedServicer(get_task=answer_task)) as channel:
        response = await TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest(task_id="7"))
    assert response.task.task_id == "7"


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"\x02\x00", "field 0"),
        (b"\x0a\x05ab", "truncated"),
        (b"\x0a\x01\xff", "invalid UTF-8"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "a varint of eleven bytes"),
        (b"\x7b", "an open group"),
        (b"\x7b" * 101 + b"\x7c" * 101, "101 levels"),
        (b"\x7b" * 30_000 + b"\x7c" * 30_000, "30,000 levels"),
    ],
)
async def test_bytes_that_are_no_message_are_refused_by_name(message: bytes, what: str) -> None:
    async with served(ScriptedServicer()) as channel:
        error = await failure_of(channel.unary_unary("/upbeat.v1.TaskService/GetTask")(message))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, what
    assert reason_of(error) == reasons.MALFORMED_MESSAGE


async def test_a_request_that_carries_no_payload_may_not_be_large() -> None:
    async with served(ScriptedServicer()) as channel:
        request = task_service_pb2.GetTaskRequest(task_id="x" * (65 << 10))
        error = await failure_of(TaskServiceStub(channel).GetTask(request))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(error) == reasons.MESSAGE_TOO_LARGE


async def test_grpc_itself_refuses_what_is_larger_than_any_message_may_be() -> None:
    async with served(ScriptedServicer()) as channel:
        call = channel.unary_unary("/upbeat.v1.TaskService/SubmitTask")(b"\x0a" * (9 << 20))
        error = await failure_of(call)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_message_that_grows_when_it_is_unpacked_is_refused() -> None:
    async with served(ScriptedServicer()) as channel:
        call = channel.unary_unary("/upbeat.v1.TaskService/SubmitTask")
        bomb = b"\x00" * (100 << 20)
        error = await failure_of(call(bomb, compression=grpc.Compression.Gzip, timeout=PATIENCE_S))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_half_a_million_empty_messages_are_refused_before_they_become_objects() -> None:
    async with served(ScriptedServicer()) as channel:
        call = channel.unary_unary("/upbeat.v1.TaskService/BatchSubmitTasks")(b"\x12\x00" * 524_288)
        error = await failure_of(call)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error) == reasons.INVALID_FIELD


async def test_a_refusal_becomes_a_status_with_its_details() -> None:
    async def refuse(request: Any, call: Call) -> Any:
        raise invalid("task_id", "is not an id")

    async with served(ScriptedServicer(get_task=refuse)) as channel:
        error = await failure_of(TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(error).domain == "upbeat"
    assert "task_id" in (error.details() or "")


async def test_the_text_of_an_exception_stays_in_the_server() -> None:
    async def fail(request: Any, call: Call) -> Any:
        raise KeyError("secret")

    async with served(ScriptedServicer(get_task=fail)) as channel:
        error = await failure_of(TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest()))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error)
    assert info_of(error).metadata["incident"]


async def test_a_future_that_somebody_cancelled_does_not_leave_the_caller_waiting() -> None:
    async def wait_for_nothing(request: Any, call: Call) -> Any:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with served(ScriptedServicer(get_task=wait_for_nothing)) as channel:
        call = TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest(), timeout=PATIENCE_S)
        error = await failure_of(call)
    assert error.code() is grpc.StatusCode.INTERNAL


async def test_a_status_of_a_standard_protocol_passes_as_it_is() -> None:
    async def not_there(request: Any, call: Call) -> Any:
        raise PlainStatus(grpc.StatusCode.NOT_FOUND, "nothing of that name")

    async with served(ScriptedServicer(get_task=not_there)) as channel:
        error = await failure_of(TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest()))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert reason_of(error) == ""


async def test_a_caller_that_leaves_cancels_its_servicer() -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, call: Call) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    async with served(ScriptedServicer(get_task=wait)) as channel:
        call = TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest())
        await asyncio.wait_for(began.wait(), PATIENCE_S)
        call.cancel()
        await asyncio.wait_for(left.wait(), PATIENCE_S)


async def test_a_servicer_knows_how_long_the_caller_waits() -> None:
    remaining: list[float | None] = []

    async def look(request: Any, call: Call) -> Any:
        remaining.append(call.remaining_s())
        return task_service_pb2.GetTaskResponse()

    async with served(ScriptedServicer(get_task=look)) as channel:
        stub = TaskServiceStub(channel)
        await stub.GetTask(task_service_pb2.GetTaskRequest(), timeout=100)
        await stub.GetTask(task_service_pb2.GetTaskRequest())
    assert remaining[0] is not None
    assert 0 < remaining[0] <= 105  # The wire rounds a timeout up by about 1 %.
    assert remaining[1] is None


@pytest.mark.parametrize("wanted", ["", "default"])
async def test_no_namespace_means_the_default_one(wanted: str) -> None:
    async def echo(request: Any, call: Call) -> Any:
        return task_service_pb2.GetTaskResponse(
            task=task_pb2.Task(namespace=call.namespace(request.namespace))
        )

    door = Door(KnownCaller(Role.VIEWER))
    async with served(ScriptedServicer(get_task=echo), door) as channel:
        response = await TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest(namespace=wanted))
    assert response.task.namespace == "default"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("other", reasons.ROLE_INSUFFICIENT),
        ("../etc", reasons.INVALID_FIELD),
        ("a\nb", reasons.INVALID_FIELD),
        ("x" * 64, reasons.INVALID_FIELD),
        ("default ", reasons.INVALID_FIELD),
        ("\u202edefault", reasons.INVALID_FIELD),
    ],
)
async def test_a_namespace_is_checked_against_its_alphabet_and_the_token(wanted: str, reason: str) -> None:
    async def enter(request: Any, call: Call) -> Any:
        call.namespace(request.namespace)

    door = Door(KnownCaller(Role.VIEWER))
    async with served(ScriptedServicer(get_task=enter), door) as channel:
        call = TaskServiceStub(channel).GetTask(task_service_pb2.GetTaskRequest(namespace=wanted))
        assert reason_of(await failure_of(call)) == reason


async def test_a_role_that_is_missing_is_refused_before_the_message_is_looked_at() -> None:
    door = Door(KnownCaller(Role.AGENT))
    servicer = ScriptedServicer(roles={"get_task": Role.VIEWER})
    async with served(servicer, door) as channel:
        error = await failure_of(channel.unary_unary("/upbeat.v1.TaskService/GetTask")(b"\x02"))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(error) == reasons.ROLE_INSUFFICIENT


async def test_the_authorization_of_a_call_reaches_the_authenticator() -> None:
    caller = KnownCaller(Role.VIEWER)
    async with served(ScriptedServicer(get_task=answer_task), Door(caller)) as channel:
        stub = TaskServiceStub(channel)
        await stub.GetTask(task_service_pb2.GetTaskRequest(), metadata=(("authorization", "Bearer abc"),))
        await stub.GetTask(task_service_pb2.GetTaskRequest())
    assert caller.seen == ["Bearer abc", None]


async def test_while_draining_only_short_looks_are_let_in() -> None:
    async def watch(request: Any, stream: Stream) -> None:
        raise AssertionError("a new watch while draining")

    door = Door()
    servicer = ScriptedServicer(
        roles={"submit_task": Role.SUBMITTER}, get_task=answer_task, watch_tasks=watch
    )
    door.draining = True
    async with served(servicer, door) as channel:
        stub = TaskServiceStub(channel)
        await stub.GetTask(task_service_pb2.GetTaskRequest())
        submitted = await failure_of(stub.SubmitTask(task_service_pb2.SubmitTaskRequest()))
        watched = await failure_of(stub.WatchTasks(task_service_pb2.WatchTasksRequest()).read())
    assert submitted.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(submitted) == reason_of(watched) == reasons.DRAINING


async def test_closing_the_door_ends_the_calls_that_nothing_else_ends() -> None:
    began = asyncio.Event()

    async def wait(request: Any, call: Call) -> Any:
        began.set()
        await asyncio.Event().wait()

    door = Door()
    async with served(ScriptedServicer(get_task=wait), door) as channel:
        stub = TaskServiceStub(channel)
        waiting = asyncio.create_task(failure_of(stub.GetTask(task_service_pb2.GetTaskRequest())))
        await asyncio.wait_for(began.wait(), PATIENCE_S)
        door.close()
        error = await asyncio.wait_for(waiting, PATIENCE_S)
        later = await failure_of(stub.GetTask(task_service_pb2.GetTaskRequest()))
    assert error.code() is later.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(error) == reason_of(later) == SERVER_DRAINING.reason


async def test_a_stream_reads_writes_and_sees_the_end() -> None:
    async def echo(stream: Stream) -> None:
        while (frame := await stream.read()) is not None:
            await stream.write(task_service_pb2.StreamTasksResponse(window=len(frame.attach)))

    async with served(ScriptedServicer(stream_tasks=echo)) as channel:
        call = TaskServiceStub(channel).StreamTasks()
        await call.write(task_service_pb2.StreamTasksRequest(attach=["a", "b"]))
        assert (await call.read()).window == 2
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_a_first_write_that_is_cancelled_half_way_does_not_keep_the_status_from_the_caller() -> None:
    async def refuse_while_writing(stream: Stream) -> None:
        writing = asyncio.create_task(stream.write(task_service_pb2.StreamTasksResponse(window=1)))
        await asyncio.sleep(0)  # It has begun.
        writing.cancel()
        raise invalid("requests", "too many")

    async with served(ScriptedServicer(stream_tasks=refuse_while_writing)) as channel:
        call = TaskServiceStub(channel).StreamTasks(timeout=PATIENCE_S)
        assert reason_of(await failure_of(call.read())) == reasons.INVALID_FIELD


async def test_a_reader_that_is_stuck_ends_its_call_and_holds_nobody_up() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def write_on(request: Any, stream: Stream) -> None:
        try:
            while True:
                await stream.write(bytes(1 << 16))
        except Refused as error:
            ended.set_result(error.refusal.reason)
            raise

    registry = CollectorRegistry()
    registry.register(metrics := CallMetrics())
    door = Door(metrics=metrics, write_patience_s=0.1)
    server = build_server([ScriptedServicer(watch_tasks=write_on)], door)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection = await RawConnection.open(port, window=0)
    try:
        stream_id = await connection.begin("TaskService/WatchTasks")
        await connection.send_message(stream_id, b"", ends=True)
        assert await asyncio.wait_for(ended, PATIENCE_S) == reasons.SLOW_READER
        # Once it reads, it learns why.
        await connection.send(WindowUpdateFrame(0, 1 << 24), WindowUpdateFrame(stream_id, 1 << 24))
        await asyncio.wait_for(connection.wait_ended(stream_id), PATIENCE_S)
    finally:
        await connection.close()
        await server.stop(0)
    assert connection.seen["Headers"] == 2  # Those of the start and the status.
    labels = {
        "grpc_type": "server_stream",
        "grpc_service": "upbeat.v1.TaskService",
        "grpc_method": "WatchTasks",
        "grpc_code": "ABORTED",
    }
    assert registry.get_sample_value("grpc_server_handled_total", labels) == 1


async def test_garbage_within_a_stream_ends_it_with_its_reason() -> None:
    async def read_on(stream: Stream) -> None:
        while await stream.read() is not None:
            pass

    async with served(ScriptedServicer(stream_tasks=read_on)) as channel:
        call = channel.stream_stream("/upbeat.v1.TaskService/StreamTasks")()
        await call.write(task_service_pb2.StreamTasksRequest(attach=["a"]).SerializeToString())
        await call.write(b"\x02")
        assert reason_of(await failure_of(call.read())) == reasons.MALFORMED_MESSAGE


async def test_who_reads_or_writes_for_a_peer_that_left_learns_it_without_a_cancellation() -> None:
    learned: asyncio.Future[tuple[object, bool]] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def hold(stream: Stream) -> None:
        async def write_on() -> None:
            await ended.wait()
            read = await stream.read()
            try:
                await stream.write(b"")
            except PeerGone:
                learned.set_result((read, True))
            else:
                learned.set_result((read, False))

        tasks.append(asyncio.create_task(write_on()))
        await stream.write(b"")
        try:
            while await stream.read() is not None:
                pass
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_later(0.05, ended.set)

    async with served(ScriptedServicer(stream_tasks=hold)) as channel:
        call = TaskServiceStub(channel).StreamTasks()
        await call.read()
        call.cancel()
        assert await asyncio.wait_for(learned, PATIENCE_S) == (None, True)


async def test_calls_and_messages_are_counted_under_the_usual_names() -> None:
    async def count_to_two(request: Any, stream: Stream) -> None:
        await stream.write(b"")
        await stream.write(b"")
        raise Refused(SERVER_DRAINING)

    registry = CollectorRegistry()
    registry.register(metrics := CallMetrics())
    door = Door(metrics=metrics)
    async with served(ScriptedServicer(watch_tasks=count_to_two), door) as channel:
        call = TaskServiceStub(channel).WatchTasks(task_service_pb2.WatchTasksRequest())
        await call.read()
        await call.read()
        await failure_of(call.read())
    labels = {
        "grpc_type": "server_stream",
        "grpc_service": "upbeat.v1.TaskService",
        "grpc_method": "WatchTasks",
    }
    assert registry.get_sample_value("grpc_server_started_total", labels) == 1
    assert registry.get_sample_value("grpc_server_msg_received_total", labels) == 1
    assert registry.get_sample_value("grpc_server_msg_sent_total", labels) == 2
    handled = registry.get_sample_value("grpc_server_handled_total", labels | {"grpc_code": "UNAVAILABLE"})
    assert handled == 1
    assert registry.get_sample_value("grpc_server_handling_seconds_count", labels) == 1


def test_names_of_the_contract_become_names_of_python() -> None:
    assert snake_case("SubmitTask") == "submit_task"
    assert snake_case("BatchSubmitTasks") == "batch_submit_tasks"
    assert snake_case("Connect") == "connect"
