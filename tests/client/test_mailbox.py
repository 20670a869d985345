from __future__ import annotations

import asyncio
import threading

import pytest

from upbeat import mailbox
from upbeat.errors import ClientClosed
from upbeat.mailbox import Mailbox
from upbeat.v1.bus_pb2 import BusDelivery

PATIENCE_S = 20


def delivery(message_id: str, publisher: str = "p", delivery_id: str = "") -> BusDelivery:
    return BusDelivery(
        topic="t", publisher=publisher, message_id=message_id, delivery_id=delivery_id or message_id
    )


async def test_messages_come_in_the_order_in_which_they_were_put() -> None:
    box = Mailbox()
    reading = asyncio.create_task(box.next())
    await asyncio.sleep(0)
    for number in range(3):
        assert not box.put(delivery(f"m{number}"))
    assert [(await reading).message_id, *[(await box.next()).message_id for _ in range(2)]] == [
        "m0",
        "m1",
        "m2",
    ]


async def test_what_comes_again_is_dropped_and_what_was_acknowledged_is_to_be_so_again() -> None:
    box = Mailbox()
    box.put(delivery("m1"))
    assert not box.put(delivery("m1"))  # It waits.
    first = await box.next()
    assert not box.put(delivery("m1"))  # It is being handled.
    box.acknowledged(first)
    assert box.put(delivery("m1", delivery_id="other"))
    assert not box.put(delivery("m1", publisher="q"))
    assert (await box.next()).publisher == "q"


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    box = Mailbox()
    for _ in range(3):
        reading = asyncio.create_task(box.next())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    box.put(delivery("m1"))
    assert (await box.next()).message_id == "m1"


def test_a_thread_waits_for_so_long_and_no_longer() -> None:
    box = Mailbox()
    assert box.next_sync(0) is None
    putting = threading.Thread(target=box.put, args=(delivery("m1"),))
    putting.start()
    found = box.next_sync(PATIENCE_S)
    putting.join()
    assert found is not None
    assert found.message_id == "m1"


async def test_what_ends_it_is_raised_after_what_is_there_has_been_read() -> None:
    box = Mailbox()
    box.put(delivery("m1"))
    box.fail(ClientClosed("closed"))
    assert (await box.next()).message_id == "m1"
    for _ in range(2):
        with pytest.raises(ClientClosed):
            await box.next()
    with pytest.raises(ClientClosed):
        box.next_sync(None)


def test_who_reads_anew_gets_what_was_not_handled_again() -> None:
    box = Mailbox()
    box.put(delivery("m1"))
    box.put(delivery("m2"))
    done = box.next_sync(0)
    assert done is not None
    box.acknowledged(done)
    box.forget_unread()
    assert box.put(delivery("m1"))
    assert not box.put(delivery("m2"))
    found = box.next_sync(0)
    assert found is not None
    assert found.message_id == "m2"


def test_memory_of_messages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "KNOWN_MAX", 2)
    box = Mailbox()
    for number in range(3):
        box.acknowledged(delivery(f"m{number}"))
    assert [box.put(delivery(f"m{number}")) for number in (2, 1, 0)] == [True, True, False]
