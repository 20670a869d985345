"""What an agent's writer is given, and in which order."""

from __future__ import annotations

import asyncio

from upbeat_server.engine.commands import Welcome
from upbeat_server.engine.model import ContextEntry, Payload, Refusal, ResultOutcome, SessionId, TaskSpec
from upbeat_server.runtime.bounds import StreamBounds
from upbeat_server.runtime.outbox import AgentOutbox, Assignment, Cancellation


def assignment(lease_id: int, size: int = 10) -> Assignment:
    return Assignment(1, lease_id, 1, TaskSpec("echo", Payload("", bytes(size))), 1_000, None, 0.0)


async def test_what_gathers_goes_out_in_one_frame() -> None:
    outbox = AgentOutbox(StreamBounds())
    outbox.welcome(Welcome(1, SessionId(1), False, [], False))
    for lease_id in range(1, 6):
        outbox.assign(assignment(lease_id))
    outbox.answer(9, ResultOutcome.ACCEPTED)
    outbox.cancel(8, "CANCELLED")
    outbox.drain("DRAINING")
    outbox.error(Refusal("INVALID_FIELD", "odd"))
    parcel = await outbox.take()
    assert parcel is not None
    assert parcel.welcome is not None
    assert [item.lease_id for item in parcel.assignments] == [1, 2, 3, 4, 5]
    assert parcel.cancels == [Cancellation(8, "CANCELLED")]
    assert [answer.lease for answer in parcel.answers] == [9]
    assert parcel.drain == "DRAINING"
    assert parcel.error is not None


async def test_a_frame_is_bounded_in_items_and_in_bytes() -> None:
    outbox = AgentOutbox(StreamBounds(frame_items_max=3, frame_bytes_max=3_000))
    for lease_id in range(1, 6):
        outbox.assign(assignment(lease_id))
    for lease_id in range(6, 9):
        outbox.assign(assignment(lease_id, 2_000))
    outbox.finish()
    frames = []
    while (frame := await outbox.take()) is not None:
        frames.append([item.lease_id for item in frame.assignments])
    assert frames == [[1, 2, 3], [4, 5, 6], [7], [8]]


async def test_control_goes_before_assignments() -> None:
    outbox = AgentOutbox(StreamBounds(frame_items_max=2))
    for lease_id in range(1, 4):
        outbox.assign(assignment(lease_id))
    for lease_id in (11, 12):
        outbox.answer(lease_id, ResultOutcome.ACCEPTED)
    parcel = await outbox.take()
    assert parcel is not None
    assert [answer.lease for answer in parcel.answers] == [11, 12]
    assert len(parcel.assignments) == 1  # There is always room for one.


async def test_a_cancel_goes_after_its_own_assignment_or_instead_of_it() -> None:
    outbox = AgentOutbox(StreamBounds(frame_items_max=1))
    outbox.assign(assignment(1))
    outbox.assign(assignment(2))
    first = await outbox.take()
    outbox.cancel(1, "CANCELLED")
    outbox.cancel(2, "CANCELLED")
    second, third = await outbox.take(), await outbox.take()
    assert first is not None
    assert second is not None
    assert third is not None
    assert ([item.lease_id for item in first.assignments], first.cancels) == ([1], [])
    assert (second.assignments, second.cancels) == ([], [Cancellation(1, "CANCELLED")])
    assert (third.assignments, third.cancels) == ([], [Cancellation(2, "CANCELLED")])


async def test_a_writer_waits_for_something_and_ends_after_the_last() -> None:
    outbox = AgentOutbox(StreamBounds())
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.answer(1, ResultOutcome.STALE)
    outbox.finish()
    parcel = await taking
    assert parcel is not None
    assert await outbox.take() is None


async def test_it_is_full_of_answers_and_never_of_what_its_slots_bound() -> None:
    outbox = AgentOutbox(StreamBounds(agent_items_max=1))
    for lease_id in range(1, 6):
        outbox.assign(assignment(lease_id, 2_000))
        outbox.cancel(lease_id, "CANCELLED")
    outbox.answer(1, ResultOutcome.ACCEPTED)
    fullness = [outbox.is_full]
    outbox.answer(2, ResultOutcome.ACCEPTED)
    fullness.append(outbox.is_full)
    await outbox.take()
    fullness.append(outbox.is_full)
    assert fullness == [False, True, False]


async def test_context_counts_into_the_bytes_of_a_frame() -> None:
    outbox = AgentOutbox(StreamBounds(frame_bytes_max=3_000))
    context = (ContextEntry("original", Payload("", bytes(2_500))),)
    for lease_id in (1, 2):
        outbox.assign(Assignment(1, lease_id, 1, TaskSpec("echo", context=context), 1_000, None, 0.0))
    first, second = await outbox.take(), await outbox.take()
    assert first is not None
    assert second is not None
    assert [len(parcel.assignments) for parcel in (first, second)] == [1, 1]
