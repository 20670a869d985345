"""What is wrong around a message: its frame, its compression, its headers, its path."""

from __future__ import annotations

import gzip
from typing import NamedTuple

import pytest

from tests.server.rpc.bad_input.case import Code, tasks_pb
from tests.server.rpc.bad_input.raw_call import call, message
from tests.server.rpc.bad_input.whole_server import WholeServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBMIT = b"/upbeat.v1.TaskService/SubmitTask"
STREAM = b"/upbeat.v1.TaskService/StreamTasks"
GOOD = message(tasks_pb.SubmitTaskRequest(spec={"type": "bad.work"}).SerializeToString())
BOMB = message(gzip.compress(bytes(64 << 20)), 1)
GZIP = (b"grpc-encoding", b"gzip")
OK, TOO_MUCH, NO_SUCH = (code.value[0] for code in (Code.OK, Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED))


class Sent(NamedTuple):
    """A call, and the status that ends it."""

    name: str
    path: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    code: int


SENT = [
    Sent("length of 1 GiB", SUBMIT, message(b"x", size=1 << 30), (), TOO_MUCH),
    Sent("length of 4 GiB on a stream", STREAM, message(b"x", size=2**32 - 1), (), TOO_MUCH),
    Sent("64 MiB in 64 KiB", SUBMIT, BOMB, (GZIP,), TOO_MUCH),
    Sent("64 MiB in 64 KiB on a stream", STREAM, BOMB, (GZIP,), TOO_MUCH),
    Sent("token of odd bytes", SUBMIT, GOOD, ((b"authorization", b"Bearer \xff\xfe\x80"),), OK),
    Sent("token with an escape", SUBMIT, GOOD, ((b"authorization", b"Bearer \x01\x1b[2J"),), OK),
    Sent("two messages where one is due", SUBMIT, GOOD * 2, (), OK),
    Sent("an endless deadline", SUBMIT, GOOD, ((b"grpc-timeout", b"99999999999H"),), OK),
    Sent("a type that is no gRPC", SUBMIT, GOOD, ((b"content-type", b"text/plain"),), OK),
    Sent("a status that a caller claims", SUBMIT, GOOD, ((b"grpc-status", b"0"),), OK),
    Sent("a path in words", "/upbeat.v1.TaskService/é".encode(), GOOD, (), NO_SUCH),
    Sent("a path without a slash", b"SubmitTask", GOOD, (), NO_SUCH),
]


@pytest.mark.parametrize("sent", SENT, ids=[sent.name for sent in SENT])
async def test_what_surrounds_a_message_harms_nobody(sent: Sent, server: WholeServer) -> None:
    answer = await call(server.app.grpc_port, sent.path, sent.body, *sent.headers)
    assert answer.get("grpc-status") == str(sent.code), answer
    assert answer.get("grpc-message", "").isprintable()
    await server.is_unharmed()


async def test_a_path_that_is_no_text_ends_streams_and_not_the_server(server: WholeServer) -> None:
    await server.does_ordinary_work()
    await call(server.app.grpc_port, b"/upbeat.v1.TaskService/\xff", GOOD)
    await server.is_served_again()
    assert "grpc_broke" in [event["event"] for event in server.errors()]
    await server.is_unharmed()
