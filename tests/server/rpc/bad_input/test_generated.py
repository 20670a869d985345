"""Messages that nobody thought of, on every call: a status of the contract each, and nothing is harmed."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.server.rpc.bad_input.case import (
    CONNECT,
    STREAM,
    SUBMIT,
    agents_pb,
    collaborations_pb,
    sample_pb,
    stats_pb,
    tasks_pb,
)
from tests.server.rpc.bad_input.corpus import CASES
from tests.server.rpc.bad_input.generated import (
    LEASE,
    TASK,
    TOKEN,
    WORK,
    budget,
    messages,
    mutated,
    resolve,
)
from tests.server.rpc.bad_input.whole_server import WholeServer, is_fit_for_callers
from tests.support.runtime import PATIENCE_S
from upbeat.v1 import task_spec_pb2
from upbeat_server.rpc.reflection import V1, V1ALPHA

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICES = (
    *(pb.DESCRIPTOR.services_by_name for pb in (tasks_pb, agents_pb, collaborations_pb, stats_pb, sample_pb)),
    *(pb.DESCRIPTOR.services_by_name for pb in (health_pb2, channelz_pb2)),
    {"V1": V1, "V1alpha": V1ALPHA},
)
METHODS: dict[str, MethodDescriptor] = {
    f"{service.full_name}/{method.name}": method
    for services in SERVICES
    for service in services.values()
    for method in service.methods
}
STREAMS = (CONNECT, STREAM)  # Sequences of their frames are in test_generated_streams.py.
WAITS_MS_MAX = 50
MODES = [field.name for field in task_spec_pb2.Collaboration.DESCRIPTOR.oneofs_by_name["mode"].fields]


def valid_bytes(method: str) -> tuple[bytes, ...]:
    """Messages of the corpus that are messages at least, to begin mutations with."""
    known = tuple(
        case.frames[0] for case in CASES if case.method == method and 0 < len(case.frames[0]) < 2_000
    )
    return (*known[:40], b"")


async def known_now(server: WholeServer) -> dict[str, str]:
    """What messages may name: a task that is there, a lease it might have, a page token."""
    if server.known:
        return server.known
    spec = {"type": WORK, "labels": {"a": "x"}}
    tasks = [
        (await server.tasks.SubmitTask(tasks_pb.SubmitTaskRequest(spec=spec))).task.task_id for _ in range(2)
    ]
    page = await server.tasks.ListTasks(tasks_pb.ListTasksRequest(page_size=1))
    server.known = {TASK: tasks[0], LEASE: f"{tasks[0]}0001", TOKEN: page.next_page_token}
    return server.known


async def send(server: WholeServer, method: str, data: bytes) -> None:
    """Send one message; whatever it is, the answer is a message or a fit status."""
    call: Any = server.channel.stream_stream(
        f"/{method}", request_serializer=None, response_deserializer=None
    )(timeout=PATIENCE_S)
    try:
        await call.write(data)
        await call.done_writing()
        if METHODS[method].server_streaming:
            await call.read()  # A watch never ends by itself.
            call.cancel()
            return
        assert await call.read() is not grpc.aio.EOF
        assert await call.read() is grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        is_fit_for_callers(error)


def bounded(message: Message) -> Message:
    """The message, without a wait that would only cost time."""
    if isinstance(message, tasks_pb.GetTaskRequest) and message.wait.seconds >= 0:
        message.wait.seconds = message.wait.seconds if message.wait.seconds > 600 else 0
        message.wait.nanos = min(message.wait.nanos, WAITS_MS_MAX * 1_000_000)
    return message


@pytest.mark.parametrize("method", [name for name in METHODS if name not in STREAMS])
@budget(5)
@given(data=st.data())
async def test_arbitrary_messages_get_a_status_of_the_contract(
    method: str, server: WholeServer, data: st.DataObject
) -> None:
    known = await known_now(server)
    for message in data.draw(st.lists(messages(METHODS[method].input_type), min_size=1, max_size=6)):
        await send(server, method, bounded(resolve(message, known)).SerializeToString())
    await server.is_unharmed()


@budget(40)
@given(data=st.data())
async def test_arbitrary_collaborations_get_a_status_of_the_contract(
    server: WholeServer, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(MODES))
    request = tasks_pb.SubmitTaskRequest()
    mode = getattr(request.spec.collaboration, name)
    mode.CopyFrom(data.draw(messages(mode.DESCRIPTOR)))
    await send(server, SUBMIT, request.SerializeToString())
    await server.is_unharmed()


@pytest.mark.parametrize("method", METHODS)
@budget(5)
@given(data=st.data())
async def test_mutated_messages_get_a_status_of_the_contract(
    method: str, server: WholeServer, data: st.DataObject
) -> None:
    for sent in data.draw(st.lists(mutated(valid_bytes(method)), min_size=1, max_size=6)):
        await send(server, method, sent)
    await server.is_unharmed()
