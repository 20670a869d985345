"""Who calls, and where: tokens that are none, roles that are missing, namespaces that are not given.

The answer comes before the message is looked at; one that is refused has no effect.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from tests.server.rpc.bad_input.case import (
    AGENTS,
    APPEND,
    BATCH,
    CANCEL,
    CLOSE,
    CONNECT,
    EXPLAIN,
    GET,
    GRADE,
    LIST,
    MESSAGES,
    NOBODY,
    STREAM,
    SUBMIT,
    WATCH,
    Case,
    Code,
    Metadata,
    agents_pb,
    case,
    hello,
    tasks_pb,
)
from tests.server.rpc.bad_input.operations import OPERATIONS
from tests.server.rpc.bad_input.test_completeness import METHODS
from tests.server.rpc.bad_input.whole_server import WholeServer, is_fit_for_callers, whole_server
from tests.support.runtime import PATIENCE_S
from upbeat_server.config import Auth

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROLES = ("viewer", "submitter", "agent", "admin")


def token(name: str) -> str:
    return f"token-of-the-{name}-0123456789"


def bearer(name: str) -> Metadata:
    """The metadata of somebody known."""
    return (("authorization", f"Bearer {token(name)}"),)


TOKENS = [{"name": role, "token": token(role), "roles": [role]} for role in ROLES]
TOKENS += [{"name": "stranger", "token": token("stranger"), "roles": ["admin"], "namespaces": ["elsewhere"]}]

NO_TOKENS: dict[str, Metadata] = {
    "none": (),
    "empty": (("authorization", ""),),
    "no token": (("authorization", "Bearer "),),
    "another scheme": (("authorization", f"Basic {token('admin')}"),),
    "no scheme": (("authorization", token("admin")),),
    "unknown": (("authorization", "Bearer nobody-knows-this-one"),),
    "of 4,000 characters": (("authorization", "Bearer " + "x" * 4_000),),
    "known and more": (("authorization", f"Bearer {token('admin')}x"),),
    "cut": (("authorization", f"Bearer {token('admin')[:-1]}"),),
    "in another header": (("x-authorization", f"Bearer {token('admin')}"),),
    "as bytes": (("authorization-bin", f"Bearer {token('admin')}".encode()),),
    "unknown before known": (("authorization", "Bearer nobody"), *bearer("admin")),
    "SQL": (("authorization", "Bearer ' OR '1'='1"),),
}
MAY_NOT: dict[str, tuple[str, ...]] = {
    SUBMIT: ("viewer", "agent"),
    BATCH: ("viewer", "agent"),
    STREAM: ("viewer", "agent"),
    CANCEL: ("viewer", "agent"),
    GET: ("agent",),
    LIST: ("agent",),
    WATCH: ("agent",),
    EXPLAIN: ("agent",),
    CONNECT: ("viewer", "submitter"),
    f"{AGENTS}ListAgents": ("agent",),
    f"{AGENTS}GetAgent": ("agent",),
    f"{AGENTS}WatchAgents": ("agent",),
    f"{AGENTS}DrainAgent": ("viewer", "submitter", "agent"),
    f"{AGENTS}PauseType": ("viewer", "submitter", "agent"),
    f"{AGENTS}ResumeType": ("viewer", "submitter", "agent"),
    APPEND: ("viewer", "agent"),
    CLOSE: ("viewer", "agent"),
    GRADE: ("viewer", "agent"),
    f"{MESSAGES}Publish": ("viewer", "agent"),
    f"{MESSAGES}Subscribe": ("viewer", "agent"),
    f"{MESSAGES}ListDeadLetters": ("agent",),
    f"{MESSAGES}DropDeadLetters": ("viewer", "submitter", "agent"),
    f"{MESSAGES}RedeliverDeadLetters": ("viewer", "submitter", "agent"),
    f"{AGENTS}ListAgentAttempts": ("agent",),
    f"{OPERATIONS}RetryTask": ("viewer", "agent"),
    f"{OPERATIONS}BulkCancelTasks": ("viewer", "submitter", "agent"),
    f"{OPERATIONS}BulkRetryTasks": ("viewer", "submitter", "agent"),
    "upbeat.v1.StatsService/GetHistory": ("agent",),
    "upbeat.v1.StatsService/GetStats": ("agent",),
    "upbeat.v1.StatsService/WatchStats": ("agent",),
    "upbeat.v1.SampleService/SubmitSampleTask": ("viewer", "agent"),
    "grpc.channelz.v1.Channelz/GetServers": ("viewer", "submitter", "agent"),
}
GOOD: dict[str, Any] = {"spec": {"type": "smuggled.work"}}
ELSEWHERE = [
    case(
        "submission",
        SUBMIT,
        tasks_pb.SubmitTaskRequest(namespace="elsewhere", **GOOD),
        Code.PERMISSION_DENIED,
    ),
    case(
        "batch",
        BATCH,
        tasks_pb.BatchSubmitTasksRequest(namespace="elsewhere", requests=[GOOD]),
        Code.PERMISSION_DENIED,
    ),
    case("stream", STREAM, tasks_pb.StreamTasksRequest(namespace="elsewhere"), Code.PERMISSION_DENIED),
    case("look", GET, tasks_pb.GetTaskRequest(namespace="elsewhere", task_id=NOBODY), Code.PERMISSION_DENIED),
    case("watch", WATCH, tasks_pb.WatchTasksRequest(namespace="elsewhere"), Code.PERMISSION_DENIED),
    case("agent", CONNECT, hello(namespace="elsewhere"), Code.PERMISSION_DENIED),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholeServer]:
    """A server that knows its callers."""
    auth = Auth(tokens=SecretStr(json.dumps(TOKENS)))
    async with whole_server(tmp_path_factory.mktemp("guarded"), auth=auth) as served:
        served.metadata = bearer("admin")
        await served.start_ordinary_agent()
        yield served


async def told(server: WholeServer, wanted: Case, metadata: Metadata) -> Any:
    """What a call with this metadata is refused with."""
    answers, error = await server.send(wanted._replace(metadata=metadata))
    assert answers == []
    assert error is not None
    await server.is_unharmed()
    return is_fit_for_callers(error)


@pytest.mark.parametrize("metadata", NO_TOKENS.values(), ids=NO_TOKENS)
async def test_who_shows_no_token_of_ours_is_nobody(metadata: Metadata, guarded: WholeServer) -> None:
    refusal = await told(guarded, case("", SUBMIT, b"\xff", Code.UNAUTHENTICATED), metadata)
    assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "TOKEN_INVALID")
    assert "token-of-the" not in refusal.message


@pytest.mark.parametrize(
    ("method", "role"), [(method, role) for method, roles in MAY_NOT.items() for role in roles]
)
async def test_a_role_that_is_missing_is_named(method: str, role: str, guarded: WholeServer) -> None:
    refusal = await told(guarded, case("", method, b"\xff", Code.PERMISSION_DENIED), bearer(role))
    assert (refusal.code, refusal.reason) == (Code.PERMISSION_DENIED, "ROLE_INSUFFICIENT")


@pytest.mark.parametrize("wanted", ELSEWHERE, ids=[row.name for row in ELSEWHERE])
async def test_a_namespace_that_was_not_given_is_closed(wanted: Case, guarded: WholeServer) -> None:
    role = "agent" if wanted.method == CONNECT else "submitter"
    refusal = await told(guarded, wanted, bearer(role))
    assert (refusal.code, refusal.reason) == (Code.PERMISSION_DENIED, "ROLE_INSUFFICIENT")
    assert refusal.metadata["namespace"] == "elsewhere"
    assert "elsewhere" not in guarded.app.orchestrator.names


async def test_an_inner_namespace_cannot_lead_out_of_the_outer_one(guarded: WholeServer) -> None:
    inner = [{**GOOD, "namespace": name} for name in ("elsewhere", "other", "a\nb")]
    batch = tasks_pb.BatchSubmitTasksRequest(namespace="default", requests=[*inner, GOOD])
    answer = await guarded.tasks.BatchSubmitTasks(batch, metadata=bearer("submitter"), timeout=PATIENCE_S)
    assert [result.error.reason for result in answer.results] == ["NAMESPACE_MISMATCH"] * 3 + [""]
    assert set(guarded.app.orchestrator.names) == {"default"}
    # The other way round: who may only be elsewhere reaches nothing here.
    batch = tasks_pb.BatchSubmitTasksRequest(namespace="", requests=[{**GOOD, "namespace": "elsewhere"}])
    refusal = await told(guarded, case("", BATCH, batch, Code.PERMISSION_DENIED), bearer("stranger"))
    assert refusal.reason == "ROLE_INSUFFICIENT"


async def test_metadata_of_any_bytes_is_no_business_of_ours(guarded: WholeServer) -> None:
    odd: Metadata = (("x-odd-bin", bytes(range(256))), ("x-odd", "~" * 500), *bearer("viewer"))
    request = agents_pb.ListAgentsRequest()
    answer = await guarded.agents.ListAgents(request, metadata=odd, timeout=PATIENCE_S)
    assert [agent.agent_id for agent in answer.agents] == ["ordinary"]
    await guarded.is_unharmed()


async def test_every_rpc_is_closed_to_some_role() -> None:
    assert set(METHODS) - set(MAY_NOT) == set()
