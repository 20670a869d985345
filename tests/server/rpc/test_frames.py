"""Frames to an agent: what a child of a collaboration is given besides its input."""

from __future__ import annotations

from upbeat.v1 import agent_service_pb2
from upbeat_server.engine.limits import Limits
from upbeat_server.engine.model import ContextEntry, Payload, TaskSpec
from upbeat_server.rpc.frames import FrameWriter
from upbeat_server.rpc.ids import lease_text, task_text
from upbeat_server.runtime.bounds import PayloadBounds
from upbeat_server.runtime.outbox import Assignment, Cancellation, Parcel

WRITER = FrameWriter("shop", Limits(), PayloadBounds(), "upbeat/1")
CONTEXT = (ContextEntry("original", Payload("text/plain", b"x")), ContextEntry("previous", Payload("", b"y")))


def written(parcel: Parcel) -> agent_service_pb2.ConnectResponse:
    return agent_service_pb2.ConnectResponse.FromString(WRITER.write(parcel))


def test_a_child_gets_its_context_and_a_key_that_outlives_it() -> None:
    child = Assignment(9, 99, 1, TaskSpec("work", context=CONTEXT), 1_000, None, 0.0, 4, "step/2")
    (sent,) = written(Parcel(assignments=[child])).assignments
    assert (sent.task_id, sent.parent_task_id) == (task_text(9), task_text(4))
    assert sent.idempotency_key == f"shop/{task_text(4)}/step/2"
    assert [(entry.name, entry.payload.data) for entry in sent.context] == [
        ("original", b"x"),
        ("previous", b"y"),
    ]


def test_a_task_of_its_own_has_a_key_of_its_own() -> None:
    (sent,) = written(Parcel(assignments=[Assignment(9, 99, 1, TaskSpec("work"), 1, None, 0.0)])).assignments
    assert sent.idempotency_key == f"shop/{task_text(9)}"
    assert (sent.parent_task_id, list(sent.context)) == ("", [])


def test_a_cancellation_says_how_long_there_is_to_wind_up() -> None:
    cancels = [Cancellation(5, "SUPERSEDED", 1_500), Cancellation(6, "CANCELLED")]
    first, second = written(Parcel(cancels=cancels)).cancels
    assert (first.lease_id, first.reason) == (lease_text(5), "SUPERSEDED")
    assert first.grace.ToMilliseconds() == 1_500
    assert not second.HasField("grace")
