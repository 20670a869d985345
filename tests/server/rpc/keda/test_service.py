"""ExternalScaler over a real port, through the generated stub, as KEDA calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.support.runtime import PATIENCE_S, Worker, running, submit
from tests.support.served import Told, end_of, told_by
from upbeat_server.engine import reasons
from upbeat_server.rpc.door import Door
from upbeat_server.rpc.identity import Authenticator
from upbeat_server.rpc.keda import externalscaler_pb2, externalscaler_pb2_grpc
from upbeat_server.rpc.keda.service import ScalerService
from upbeat_server.rpc.server import build_server
from upbeat_server.rpc.tokens import parse_tokens
from upbeat_server.runtime.orchestrator import Orchestrator

pb: Any = externalscaler_pb2

VIEWER, AGENT, ELSEWHERE = "a-viewer-of-default", "an-agent-of-default", "a-viewer-of-elsewhere"
TOKENS = f"""[
    {{"name": "keda", "token": "{VIEWER}", "roles": ["viewer"]}},
    {{"name": "worker", "token": "{AGENT}", "roles": ["agent"]}},
    {{"name": "other", "token": "{ELSEWHERE}", "roles": ["viewer"], "namespaces": ["elsewhere"]}}
]"""


class Scaled:
    """An orchestrator, and KEDA's stub to its scaler."""

    def __init__(self, orchestrator: Orchestrator, stub: Any) -> None:
        self.orchestrator = orchestrator
        self.stub = stub

    async def value(self, **metadata: str) -> tuple[float, int]:
        """The metric, as fraction and as whole number."""
        request = pb.GetMetricsRequest(scaledObjectRef=ref(**metadata), metricName="upbeat-tasks")
        (value,) = (await self.stub.GetMetrics(request, timeout=PATIENCE_S)).metricValues
        assert value.metricName == "upbeat-tasks"
        return value.metricValueFloat, value.metricValue

    async def is_active(self, **metadata: str) -> bool:
        """Whether any replica is wanted."""
        answer: bool = (await self.stub.IsActive(ref(**metadata), timeout=PATIENCE_S)).result
        return answer


def ref(**metadata: str) -> Any:
    """A ScaledObject whose trigger says this; its type is ``echo`` if not said otherwise."""
    return pb.ScaledObjectRef(
        name="echoers", namespace="in-kubernetes", scalerMetadata={"types": "echo", **metadata}
    )


@asynccontextmanager
async def scaled(authenticator: Authenticator | None = None) -> AsyncIterator[Scaled]:
    """The scaler on a free port."""
    async with running() as orchestrator:
        server = build_server([ScalerService(orchestrator, look_s=0, pause_s=0)], Door(authenticator))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Scaled(orchestrator, externalscaler_pb2_grpc.ExternalScalerStub(channel))
        await server.stop(0)


async def word(stream: Any) -> bool:
    """The next word of a StreamIsActive."""
    answer: bool = (await asyncio.wait_for(stream.read(), PATIENCE_S)).result
    return answer


async def test_what_waits_and_runs_is_the_value_and_a_reason_to_be_active() -> None:
    async with scaled() as there:
        assert await there.value() == (0.0, 0)
        assert not await there.is_active()
        for _ in range(3):
            await submit(there.orchestrator)
        assert await there.value() == (3.0, 3)
        assert await there.is_active()
        worker = await Worker(there.orchestrator).connect()
        await worker.finish(await worker.lease())
        assert await there.value() == (2.0, 2)  # One of them runs.
        assert not await there.is_active(activationTasks="2")
        assert await there.is_active(activationTasks="1.5")


async def test_a_fleet_is_not_grown_for_a_type_that_is_paused_and_is_when_it_is_resumed() -> None:
    async with scaled() as there:
        stream = there.stub.StreamIsActive(ref())
        assert not await word(stream)
        await submit(there.orchestrator)
        assert await word(stream)
        await there.orchestrator.pause_type("default", "echo")
        assert not await word(stream)
        assert await there.value() == (0.0, 0)
        await there.orchestrator.resume_type("default", "echo")
        assert await word(stream)
        assert await there.value() == (1.0, 1)
        stream.cancel()


async def test_types_and_namespaces_that_nobody_uses_have_nothing_to_do() -> None:
    async with scaled() as there:
        await submit(there.orchestrator)
        for metadata in ({"types": "unknown"}, {"namespace": "unknown"}):
            assert await there.value(**metadata) == (0.0, 0)
            assert not await there.is_active(**metadata)
        assert there.orchestrator.names == ["default"]  # Looking opens nothing.


async def test_only_what_the_agents_of_the_trigger_may_get_counts() -> None:
    async with scaled() as there:
        await submit(there.orchestrator)
        await submit(there.orchestrator, required_capabilities=("gpu",))
        assert await there.value() == (2.0, 2)
        assert await there.value(capabilities="gpu") == (2.0, 2)
        assert await there.value(capabilities="cpu") == (1.0, 1)


@pytest.mark.parametrize(("said", "size_float", "size"), [("", 1.0, 1), ("4", 4.0, 4), ("0.5", 0.5, 1)])
async def test_what_a_replica_takes_is_told_as_a_fraction_and_as_a_whole_number(
    said: str, size_float: float, size: int
) -> None:
    async with scaled() as there:
        metadata = {"targetTasksPerReplica": said} if said else {}
        (spec,) = (await there.stub.GetMetricSpec(ref(**metadata))).metricSpecs
        assert (spec.metricName, spec.targetSizeFloat, spec.targetSize) == ("upbeat-tasks", size_float, size)
        stream = there.stub.StreamMetricSpec(ref(**metadata))
        first = await asyncio.wait_for(stream.read(), PATIENCE_S)
        assert list(first.metricSpecs) == [spec]
        stream.cancel()


async def test_a_stream_is_told_at_once_and_at_every_change_and_nothing_else() -> None:
    async with scaled() as there:
        stream = there.stub.StreamIsActive(ref())
        assert not await word(stream)
        await submit(there.orchestrator)
        assert await word(stream)
        await submit(there.orchestrator)  # More of it is no news.
        worker = await Worker(there.orchestrator).connect()
        for _ in range(2):
            await worker.finish(await worker.lease())
        assert not await word(stream)
        await submit(there.orchestrator)
        assert await word(stream)
        assert there.orchestrator.open_streams["watch"] == 1
        stream.cancel()


async def test_streams_end_with_the_server() -> None:
    async with scaled() as there:
        streams = [there.stub.StreamIsActive(ref()), there.stub.StreamMetricSpec(ref())]
        for stream in streams:
            await asyncio.wait_for(stream.read(), PATIENCE_S)
        await there.orchestrator.stop()
        for stream in streams:
            assert (await end_of(stream)).reason == reasons.DRAINING
        assert there.orchestrator.open_streams["watch"] == 0
        assert (await end_of(there.stub.StreamIsActive(ref()))).reason == reasons.DRAINING


async def every_call(there: Scaled, **metadata: str) -> list[Told]:
    """What each of the five calls is refused with."""
    asked = ref(**metadata)
    metrics = pb.GetMetricsRequest(scaledObjectRef=asked, metricName="upbeat-tasks")
    return [
        await told_by(there.stub.IsActive(asked)),
        await told_by(there.stub.GetMetricSpec(asked)),
        await told_by(there.stub.GetMetrics(metrics)),
        await end_of(there.stub.StreamIsActive(asked)),
        await end_of(there.stub.StreamMetricSpec(asked)),
    ]


async def test_bad_metadata_is_told_by_every_call_with_the_key() -> None:
    async with scaled() as there:
        for told in await every_call(there, types="no type", target="4"):
            assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reasons.INVALID_FIELD)
            assert told.fields == ["scalerMetadata['target']", "scalerMetadata.types"]
        for told in await every_call(there, namespace="../.."):
            assert told.fields == ["namespace"]
        nothing = await told_by(there.stub.IsActive(pb.ScaledObjectRef()))
        assert nothing.fields == ["scalerMetadata.types"]


async def test_a_metric_of_another_name_is_refused() -> None:
    async with scaled() as there:
        told = await told_by(
            there.stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref(), metricName="s0-upbeat-tasks"))
        )
        assert told.fields == ["metricName"]
        assert "'upbeat-tasks'" in told.message


async def test_where_tokens_are_wanted_the_trigger_has_one_that_may_look() -> None:
    async with scaled(parse_tokens(TOKENS, "here")) as there:
        await submit(there.orchestrator)
        assert await there.value(token=VIEWER) == (1.0, 1)
        assert await there.value(tokenFromEnv=VIEWER) == (1.0, 1)
        known = (("authorization", f"Bearer {VIEWER}"),)
        assert (await there.stub.IsActive(ref(), metadata=known)).result


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", reasons.TOKEN_INVALID),
        ("nobody-knows-this-one", reasons.TOKEN_INVALID),
        (AGENT, reasons.ROLE_INSUFFICIENT),
        (ELSEWHERE, reasons.ROLE_INSUFFICIENT),
    ],
)
async def test_no_call_is_answered_without_a_token_that_may_look(token: str, reason: str) -> None:
    async with scaled(parse_tokens(TOKENS, "here")) as there:
        await submit(there.orchestrator)
        for told in await every_call(there, **({"tokenFromEnv": token} if token else {})):
            assert told.reason == reason
            assert token or "tokenFromEnv" in told.message
