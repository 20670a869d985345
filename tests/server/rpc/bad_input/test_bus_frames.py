"""Every bad publish and subscription is answered by itself; the good one beside it counts."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.server.rpc.bad_input.bus_frames import PUBLISHES, SUBSCRIBES
from tests.server.rpc.bad_input.case import FrameCase, agents_pb, bus_pb, hello
from tests.server.rpc.bad_input.whole_server import LEAKED, WholeServer
from tests.support.runtime import PATIENCE_S
from upbeat.v1.message_service_pb2_grpc import MessageServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="module")


def told(case: FrameCase, refusal: Any) -> None:
    """The refusal names reason and field, and nothing of the server."""
    assert refusal.reason == case.reason
    assert case.field in {"", *(violation.field for violation in refusal.violations)}
    assert refusal.message.isprintable()
    assert not LEAKED.search(refusal.message)


async def answers(stream: Any, field: str, count: int) -> list[Any]:
    """The next so many answers of a kind."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            frame = await stream.read()
            assert frame is not grpc.aio.EOF
            found += getattr(frame, field)
    return found


@pytest.mark.parametrize("case", PUBLISHES, ids=[case.name for case in PUBLISHES])
async def test_a_bad_publish_is_refused_and_the_good_one_beside_it_counts(
    case: FrameCase, server: WholeServer
) -> None:
    stream: Any = server.agents.Connect(timeout=PATIENCE_S)
    await stream.write(hello())
    good = {"topic": "news", "message_id": "good"}
    await stream.write(agents_pb.ConnectRequest(publishes=[case.frame, good]))
    acks = await answers(stream, "publish_acks", 2)
    (fine,) = [ack for ack in acks if not ack.HasField("refusal")]
    assert fine.message_id == "good"
    (refused,) = [ack for ack in acks if ack.HasField("refusal")]
    told(case, refused.refusal)
    stream.cancel()
    await server.is_unharmed()


@pytest.mark.parametrize("case", SUBSCRIBES, ids=[case.name for case in SUBSCRIBES])
async def test_a_bad_subscription_is_refused_and_the_good_one_beside_it_counts(
    case: FrameCase, server: WholeServer
) -> None:
    stream: Any = MessageServiceStub(server.channel).Subscribe(timeout=PATIENCE_S)
    await stream.write(bus_pb.SubscribeRequest(subscribes=[case.frame, {"topic": "good"}]))
    acks = await answers(stream, "subscribe_acks", 2)
    assert [ack.topic for ack in acks if not ack.HasField("refusal")] == ["good"]
    (refused,) = [ack for ack in acks if ack.HasField("refusal")]
    told(case, refused.refusal)
    stream.cancel()
    await server.is_unharmed()
