"""Members of a real collaboration talk while a third of their agents lose the connection again and again.

Server and agents are processes of their own, the agents of that third behind a wire that is cut, and in
the middle the server is killed. ``make talk`` is the long form, with 10,000 messages.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import grpc

import upbeat
from tests.support.facts import Heard
from tests.support.faulty_wire import FaultyWire
from tests.support.recorded_fleet import RecordedFleet
from tests.support.runtime import until
from tests.support.server_process import ServerProcess
from tests.support.talking_agents import meant_for, sayings
from upbeat import Client
from upbeat.v1 import bus_pb2, message_service_pb2, message_service_pb2_grpc

MEMBERS = 20
FAR = MEMBERS // 3
MESSAGES = int(os.environ.get("GROUP_MESSAGES", "600"))
CUTS = int(os.environ.get("GROUP_CUTS", "4"))
KILLS = int(os.environ.get("GROUP_KILLS", "1"))
EACH = MESSAGES // MEMBERS
DELIVERIES = sum(
    len(numbers) for member in range(MEMBERS) for numbers in meant_for(member, MEMBERS, EACH).values()
)
END_S = 90.0 + MESSAGES / 50


class TalkingFleet(RecordedFleet):
    """Agents in a process of their own."""

    module = "tests.support.talking_agents"


@contextmanager
def fleets(server: ServerProcess, wire: FaultyWire, folder: Path) -> Iterator[list[TalkingFleet]]:
    """An agent for each member, a third of them behind the wire."""
    both = [
        TalkingFleet(server.address, folder, [f"near-{number}" for number in range(MEMBERS - FAR)]),
        TalkingFleet(wire.address, folder, [f"far-{number}" for number in range(FAR)]),
    ]
    try:
        for fleet in both:
            fleet.start()
        yield both
    finally:
        for fleet in both:
            fleet.close()


def heard(both: list[TalkingFleet]) -> list[Heard]:
    """What all members were handed so far."""
    return [fact for fleet in both for fact in fleet.facts() if isinstance(fact, Heard)]


def dead_letters(address: str, topic: str) -> list[bus_pb2.DeadLetter]:
    """What was given up of a topic."""
    with grpc.insecure_channel(address) as channel:
        stub = message_service_pb2_grpc.MessageServiceStub(channel)
        request = message_service_pb2.ListDeadLettersRequest(topic=topic)
        return list(stub.ListDeadLetters(request, timeout=60, wait_for_ready=True).dead_letters)


async def test_members_hear_everything_once_and_in_order_whatever_becomes_of_their_connections(
    tmp_path: Path,
) -> None:
    rng = Random("faults of a talk")
    marks = sorted(
        [(rng.randrange(DELIVERIES * 9 // 10), "cut") for _ in range(CUTS)]
        + [(rng.randrange(DELIVERIES // 4, DELIVERIES * 3 // 4), "kill") for _ in range(KILLS)]
    )
    with (
        ServerProcess(f"sqlite:{tmp_path}/upbeat.db", tmp_path) as server,
        FaultyWire(server.address) as wire,
        fleets(server, wire, tmp_path) as both,
    ):
        async with Client(server.address) as up:
            everybody = upbeat.parallel(*["talk"] * MEMBERS, max_concurrency=MEMBERS)
            handle = await up.submit(everybody, {"members": MEMBERS, "messages": EACH}, timeout=END_S)
            for mark, fault in marks:
                both[0].wait_for(lambda _, mark=mark: len(heard(both)) >= mark, END_S)  # type: ignore[misc]
                if fault == "cut":
                    wire.cut()
                else:
                    server.kill()
                    server.start()
            outputs = await handle.result()
        given_up = dead_letters(server.address, f"group/{handle.task_id}")
        facts = heard(both)
    assert wire.connections > 1  # The cuts met something.
    # Everything that was published and kept was heard, each publisher in its order.
    for member, output in enumerate(outputs):
        assert {int(publisher): numbers for publisher, numbers in output.items()} == meant_for(
            member, MEMBERS, EACH
        )
    # Nothing that was heard, and so acknowledged, was handed out again.
    counts = Counter((fact.by, fact.publisher, fact.number) for fact in facts)
    assert max(counts.values()) == 1
    assert len(counts) == DELIVERIES
    assert given_up == []


async def test_what_a_member_never_acknowledges_becomes_a_dead_letter_that_outlives_the_group(
    tmp_path: Path,
) -> None:
    settings = {
        "engine.delivery.redelivery_ms": 200,
        "engine.delivery.redelivery_max_ms": 200,
        "engine.delivery.attempts_max": 3,
    }
    with (
        ServerProcess(f"sqlite:{tmp_path}/upbeat.db", tmp_path, settings=settings) as server,
        FaultyWire(server.address) as wire,
        fleets(server, wire, tmp_path),
    ):
        async with Client(server.address) as up:
            handle = await up.submit(upbeat.parallel("listen", "listen"), None)
            topic = f"group/{handle.task_id}"
            await until(lambda: bool(dead_letters(server.address, topic)))
            await handle.cancel()
            children = {child.member: child.task_id async for child in handle.children()}
        (letter,) = dead_letters(server.address, topic)
    assert (letter.subscriber, letter.publisher) == (children["step/1"], children["step/0"])
    assert (letter.message_id, letter.payload.data, dict(letter.headers)) == (
        "thing",
        b"a thing",
        {"kind": "test"},
    )
    assert (letter.delivery_attempts, letter.reason) == (3, "ATTEMPTS_EXHAUSTED")


def test_what_members_say_is_known_beforehand() -> None:
    said = [sayings(member, MEMBERS, EACH) for member in range(MEMBERS)]
    to_all = sum(to is None for every in said for to in every)
    assert MEMBERS * EACH + to_all * (MEMBERS - 2) == DELIVERIES
    assert all(member not in every for member, every in enumerate(said))
