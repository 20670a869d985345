"""The worst that a client can send: the status each gets, and that the server goes on.

A case is a name, what to send, and the code, reason and field that the answer must
have. After each case a task still goes through the same server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import grpc
import pytest

from tests.support.runtime import PATIENCE_S
from tests.support.served import Served, Told, WireAgent, end_of, served, told_by
from upbeat.v1 import agent_service_pb2, task_service_pb2

pb: Any = task_service_pb2  # Messages take dicts for messages, which their stubs do not know.
agents_pb: Any = agent_service_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNMET = grpc.StatusCode.FAILED_PRECONDITION

Send: TypeAlias = Callable[[Served], Awaitable[Told]]


class Case(NamedTuple):
    """One bad input."""

    name: str
    send: Send
    code: grpc.StatusCode
    reason: str
    field: str = ""


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def nested(levels: int) -> bytes:
    """A spec whose JSON input is nested this deep."""
    value = b""
    for _ in range(levels):
        value = field(6, field(1, value))
    return field(2, field(1, b"echo") + field(2, field(3, value)))


def spec(**fields: Any) -> Send:
    """Submit a spec."""
    return request(spec={"type": "echo", **fields})


def request(**fields: Any) -> Send:
    return lambda server: told_by(server.tasks.SubmitTask(pb.SubmitTaskRequest(**fields), timeout=PATIENCE_S))


def unary(method: str, data: bytes) -> Send:
    return lambda server: told_by(server.raw_unary(method, data))


def task_call(method: str, message: Any) -> Send:
    return lambda server: told_by(getattr(server.tasks, method)(message, timeout=PATIENCE_S))


def watch(**fields: Any) -> Send:
    return lambda server: end_of(server.tasks.WatchTasks(pb.WatchTasksRequest(**fields), timeout=PATIENCE_S))


def agent_call(method: str, message: Any) -> Send:
    return lambda server: told_by(getattr(server.agents, method)(message, timeout=PATIENCE_S))


def frames(method: str, *messages: bytes) -> Send:
    """Open a stream, send the frames, and see how it ends."""

    async def send(server: Served) -> Told:
        stream = server.raw_stream(method)
        for message in messages:
            await stream.write(message)
        return await end_of(stream)

    return send


def connect(*messages: Any) -> Send:
    return frames("AgentService/Connect", *(message.SerializeToString() for message in messages))


def hello(**fields: Any) -> Any:
    wanted = {"agent_id": "bad", "capabilities": ["echo"], "slots": 1, **fields}
    return agents_pb.ConnectRequest(hello=wanted)


SUBMIT, BATCH = "TaskService/SubmitTask", "TaskService/BatchSubmitTasks"
GET = pb.GetTaskRequest(task_id="0" * 15 + "1")

CASES = [
    # Bytes that are no message.
    Case("truncated", unary(SUBMIT, b"\x12\x10\x0a"), INVALID, "MALFORMED_MESSAGE"),
    Case("invalid UTF-8", unary(SUBMIT, field(2, field(1, b"\xff\xfe"))), INVALID, "MALFORMED_MESSAGE"),
    Case("varint of eleven bytes", unary(SUBMIT, b"\x80" * 11 + b"\x01"), INVALID, "MALFORMED_MESSAGE"),
    Case("field 0", unary(SUBMIT, b"\x02\x00"), INVALID, "MALFORMED_MESSAGE"),
    Case("group without end", unary(SUBMIT, b"\x0b"), INVALID, "MALFORMED_MESSAGE"),
    Case("nested 101 levels", unary(SUBMIT, nested(101)), INVALID, "MALFORMED_MESSAGE"),
    Case("nested 20,000 levels", unary(SUBMIT, nested(20_000)), INVALID, "MALFORMED_MESSAGE"),
    Case("524,288 empty requests", unary(BATCH, b"\x12\x00" * 524_288), INVALID, "INVALID_FIELD", "requests"),
    Case(
        "200,000 equal map keys",
        unary(SUBMIT, field(2, field(1, b"echo") + field(8, field(1, b"k")) * 200_000)),
        INVALID,
        "INVALID_FIELD",
        "labels",
    ),
    Case("9 MiB", spec(input={"data": bytes(9 << 20)}), EXHAUSTED, ""),
    Case("garbage on a stream", frames("TaskService/StreamTasks", b"\xff" * 9), INVALID, "MALFORMED_MESSAGE"),
    Case("garbage of an agent", frames("AgentService/Connect", b"\x0a\xff"), INVALID, "MALFORMED_MESSAGE"),
    # Specs.
    Case("no spec", request(), INVALID, "INVALID_FIELD", "spec"),
    Case("empty spec", request(spec={}), INVALID, "INVALID_FIELD", "spec.type"),
    Case("type with a line break", spec(type="a\nb"), INVALID, "INVALID_FIELD", "spec.type"),
    Case("type with an escape", spec(type="a\x1b[2J"), INVALID, "INVALID_FIELD", "spec.type"),
    Case("type with NUL", spec(type="a\0"), INVALID, "INVALID_FIELD", "spec.type"),
    Case("type turned around", spec(type="a\u202eb"), INVALID, "INVALID_FIELD", "spec.type"),
    Case("type that climbs", spec(type="a/../../b"), INVALID, "INVALID_FIELD", "spec.type"),
    Case("type of 10 KB", spec(type="a" * 10_240), INVALID, "INVALID_FIELD", "spec.type"),
    Case("2 MiB of input", spec(input={"data": bytes(2 << 20)}), INVALID, "TASK_TOO_LARGE", "spec.input"),
    Case("priority -1", spec(priority=-1), INVALID, "INVALID_FIELD", "spec.priority"),
    Case("priority 2^31-1", spec(priority=2**31 - 1), INVALID, "INVALID_FIELD", "spec.priority"),
    Case(
        "negative timeout",
        spec(attempt_timeout={"seconds": -1}),
        INVALID,
        "INVALID_FIELD",
        "spec.attempt_timeout",
    ),
    Case(
        "timeout of 292 years",
        spec(total_timeout={"seconds": 292 * 31_536_000}),
        INVALID,
        "INVALID_FIELD",
        "spec.total_timeout",
    ),
    Case("hint that is no number", spec(size_hint=float("nan")), INVALID, "INVALID_FIELD", "spec.size_hint"),
    Case(
        "weight that is no number",
        spec(fairness_weight=float("nan")),
        INVALID,
        "INVALID_FIELD",
        "spec.fairness_weight",
    ),
    Case(
        "40 labels",
        spec(labels={f"k{n}": "" for n in range(40)}),
        INVALID,
        "INVALID_FIELD",
        "spec.labels",
    ),
    Case("label of 300 bytes", spec(labels={"k": "x" * 300}), INVALID, "INVALID_FIELD", "spec.labels.k"),
    Case(
        "selector without end", spec(selector="labels.a == ("), INVALID, "INVALID_SELECTOR", "spec.selector"
    ),
    Case("selector of 2 KB", spec(selector="true&&" * 400), INVALID, "INVALID_SELECTOR", "spec.selector"),
    Case(
        "selector that loops in loops",
        spec(selector="[1,2].all(a, [1,2].all(b, [1,2].all(c, true)))"),
        INVALID,
        "INVALID_SELECTOR",
        "spec.selector",
    ),
    Case(
        "limits",
        spec(limits=[{"key": "llm"}]),
        INVALID,
        "UNSUPPORTED_FIELD",
        "spec.limits",
    ),
    Case(
        "collaboration",
        request(spec={"collaboration": {"parallel": {"steps": [{"type": "echo"}]}}}),
        INVALID,
        "UNSUPPORTED_FIELD",
        "spec.collaboration",
    ),
    Case(
        "request_id with a line break",
        request(spec={"type": "echo"}, request_id="a\nb"),
        INVALID,
        "INVALID_FIELD",
        "request_id",
    ),
    Case(
        "namespace with a line break",
        request(namespace="a\nb", spec={"type": "echo"}),
        INVALID,
        "INVALID_FIELD",
        "namespace",
    ),
    Case(
        "empty batch", task_call("BatchSubmitTasks", pb.BatchSubmitTasksRequest()), INVALID, "INVALID_FIELD"
    ),
    # Looking and cancelling.
    Case("unknown task", task_call("GetTask", GET), NOT_FOUND, "TASK_NOT_FOUND"),
    Case(
        "task_id that is none",
        task_call("GetTask", pb.GetTaskRequest(task_id="../etc")),
        INVALID,
        "INVALID_FIELD",
        "task_id",
    ),
    Case(
        "negative wait",
        task_call("GetTask", pb.GetTaskRequest(task_id=GET.task_id, wait={"seconds": -5})),
        INVALID,
        "INVALID_FIELD",
        "wait",
    ),
    Case(
        "page_size -1",
        task_call("ListTasks", pb.ListTasksRequest(page_size=-1)),
        INVALID,
        "INVALID_FIELD",
        "page_size",
    ),
    Case(
        "forged page token",
        task_call("ListTasks", pb.ListTasksRequest(page_token="AAAA")),
        INVALID,
        "INVALID_PAGE_TOKEN",
        "page_token",
    ),
    Case(
        "filter that is none",
        task_call("ListTasks", pb.ListTasksRequest(filter="state > 1; DROP TABLE tasks")),
        INVALID,
        "INVALID_FIELD",
        "filter",
    ),
    Case(
        "cancelling nothing",
        task_call("CancelTask", pb.CancelTaskRequest(task_id=GET.task_id)),
        NOT_FOUND,
        "TASK_NOT_FOUND",
    ),
    Case("watching the future", watch(revision=1_000), grpc.StatusCode.OUT_OF_RANGE, "REVISION_OUT_OF_RANGE"),
    Case("watching a bad filter", watch(filter="state"), INVALID, "INVALID_FIELD", "filter"),
    Case("watching nothing", watch(task_id=GET.task_id), NOT_FOUND, "TASK_NOT_FOUND"),
    # Agents.
    Case("no hello", connect(agents_pb.ConnectRequest(heartbeat={})), UNMET, "HELLO_REQUIRED"),
    Case(
        "result before hello",
        connect(agents_pb.ConnectRequest(results=[{"lease_id": "0" * 20}])),
        UNMET,
        "HELLO_REQUIRED",
    ),
    Case("hello twice", connect(hello(), hello()), INVALID, "HELLO_REPEATED"),
    Case("10^9 slots", connect(hello(slots=10**9)), INVALID, "INVALID_FIELD", "hello.slots"),
    Case("negative slots", connect(hello(slots=-1)), INVALID, "INVALID_FIELD", "hello.slots"),
    Case("agent_id that climbs", connect(hello(agent_id="../x")), INVALID, "INVALID_FIELD", "hello.agent_id"),
    Case(
        "agent_id of 10 KB", connect(hello(agent_id="x" * 10_240)), INVALID, "INVALID_FIELD", "hello.agent_id"
    ),
    Case("no capability", connect(hello(capabilities=[])), INVALID, "INVALID_FIELD", "hello.capabilities"),
    Case(
        "held lease that is none",
        connect(hello(held_leases=["0" * 20])),
        INVALID,
        "INVALID_FIELD",
        "hello.held_leases[0]",
    ),
    Case(
        "unknown agent",
        agent_call("GetAgent", agents_pb.GetAgentRequest(agent_id="nobody")),
        NOT_FOUND,
        "AGENT_NOT_FOUND",
    ),
    Case(
        "negative page of agents",
        agent_call("ListAgents", agents_pb.ListAgentsRequest(page_size=-1)),
        INVALID,
        "INVALID_FIELD",
        "page_size",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_bad_input_gets_its_status_and_the_server_goes_on(case: Case) -> None:
    async with served() as server:
        told = await case.send(server)
        assert (told.code, told.reason) == (case.code, case.reason), told.message
        if case.reason:
            assert told.domain == "upbeat"
        if case.field:
            assert case.field in told.fields
        assert told.message.isprintable()
        agent = await WireAgent(server).connect()
        await server.submit()
        ack = await agent.finish((await agent.assignment()).lease_id)
        assert ack.outcome == agents_pb.ResultAck.OUTCOME_ACCEPTED


async def test_every_bad_field_is_named_at_once() -> None:
    async with served() as server:
        told = await request(
            spec={
                "type": "a b",
                "priority": 77,
                "size_hint": -1,
                "queue_timeout": {"seconds": -1},
                "retry": {"max_attempts": 1_000, "multiplier": 0.5},
                "side_effects": 9,
            },
            request_id="é",
        )(server)
        assert set(told.fields) == {
            "request_id",
            "spec.type",
            "spec.priority",
            "spec.size_hint",
            "spec.queue_timeout",
            "spec.retry.max_attempts",
            "spec.retry.multiplier",
            "spec.side_effects",
        }


async def test_others_are_served_while_somebody_sends_half_a_million_empty_messages() -> None:
    async with served() as server:
        bad: list[Any] = [told_by(server.raw_unary(BATCH, b"\x12\x00" * 524_288)) for _ in range(5)]
        good: list[Any] = [server.submit() for _ in range(20)]
        answers = await asyncio.gather(*bad, *good)
        assert all(told.code is INVALID for told in answers[:5])
