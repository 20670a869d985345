"""``kill -9`` of the server in the middle of nested collaborations.

They end as they would have without: the same outputs, tallies and states, byte for byte. What had ended
is not done again, and nothing outlives what it belongs to. ``make nested`` is the long form.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

import upbeat.testing
from tests.faults.families import Killed, orphans, outcomes, repeated, stored, stored_at_kill
from tests.support.facts import Fact, Worked
from tests.support.family_agents import family, make
from tests.support.recorded_fleet import RecordedFleet
from tests.support.server_process import ServerProcess
from upbeat import Client, TaskHandle
from upbeat_server.engine.model import FINISHED, TaskRecord, TaskState
from upbeat_server.rpc.ids import task_text

COLLABORATIONS = int(os.environ.get("NESTED_COLLABORATIONS", "40"))
KILLS = int(os.environ.get("NESTED_KILLS", "2"))
SEED = os.environ.get("NESTED_SEED", "1")
STARTS_EACH = 9
"""Pieces of work of a collaboration, fewer than on average: the kills come before all are begun."""
END_S = 30.0 + COLLABORATIONS


class FamilyFleet(RecordedFleet):
    """Agents in a process of their own."""

    module = "tests.support.family_agents"


def starts(facts: list[Fact]) -> list[Worked]:
    """What they began."""
    return [fact for fact in facts if isinstance(fact, Worked)]


def wait_for_starts(fleets: list[FamilyFleet], count: int) -> None:
    """Until so many pieces of work were begun. Raises TimeoutError."""
    fleets[0].wait_for(lambda _: sum(len(starts(fleet.facts())) for fleet in fleets) >= count)


async def submitted(up: Client) -> list[TaskHandle[Any]]:
    """All collaborations."""
    kind = family()
    calls = [
        up.submit(kind, {"number": number}, request_id=f"family-{number}", timeout=END_S)
        for number in range(COLLABORATIONS)
    ]
    return list(await asyncio.gather(*calls))


async def ended(handles: list[TaskHandle[Any]]) -> None:
    """All have, one way or another."""
    for handle in handles:
        try:
            await handle.result()
        except upbeat.CollaborationFailed:
            assert (await handle.get()).state == "FAILED"


@pytest.fixture
async def undisturbed() -> dict[str, str]:
    """What they come to where nothing happens."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(upbeat.testing.server())
        up = await stack.enter_async_context(Client(server.address))
        for number in range(4):
            agent = make(f"calm-{number}", 16)
            await agent.start(server.address)
            stack.push_async_callback(agent.stop)
        await ended(await submitted(up))
        return outcomes(server.address)


async def test_nested_collaborations_end_as_if_their_server_had_never_been_killed(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    path = tmp_path / "upbeat.db"
    rng = Random(f"{SEED}/kills")
    marks = sorted(rng.randint(1, STARTS_EACH * COLLABORATIONS) for _ in range(KILLS))
    kills: list[Killed] = []
    with ServerProcess(f"sqlite:{path}", tmp_path) as server:
        fleets = [
            FamilyFleet(server.address, tmp_path, [f"fleet{number}-{letter}" for letter in "ab"])
            for number in range(2)
        ]
        try:
            for fleet in fleets:
                fleet.start()
            async with Client(server.address) as up:
                handles = await submitted(up)
                for mark in marks:
                    wait_for_starts(fleets, mark)
                    server.kill()
                    at_ns = time.monotonic_ns()
                    kills.append(Killed(at_ns, stored_at_kill(path, tmp_path / f"kill-{len(kills)}")))
                    server.start()
                await ended(handles)
            found = outcomes(server.address)
            server.stop()
        finally:
            for fleet in fleets:
                fleet.close()
    assert found == undisturbed
    began = [start for fleet in fleets for start in starts(fleet.facts())]
    assert repeated(began, kills) == []
    for records in (*(killed.records for killed in kills), stored(path)):
        assert orphans(records) == []
    assert all(record.state in FINISHED for record in stored(path).values())
    # The kills met something: much had ended, and much had not.
    for killed in kills:
        assert any(record.state not in FINISHED for record in killed.records.values())
    assert any(killed.completed for killed in kills)
    states = {text.rpartition('"state": ')[2] for name, text in found.items() if "/" not in name}
    assert states == {'"STATE_COMPLETED"}', '"STATE_FAILED"}'}


def test_work_that_was_begun_again_is_found() -> None:
    start = Worked(key="default/1/step/0", task_id="0000000000000002", agent_id="a", at_ns=20)
    done = TaskRecord(2, TaskState.COMPLETED, 0, parent_id=1, member="step/0")
    before, after = (Killed(at_ns, {task_text(2): done}) for at_ns in (10, 30))
    assert repeated([start], [after]) == []
    assert repeated([start, start], [after]) == ["default/1/step/0 was begun 2 times"]
    words = "default/1/step/0 had completed before a kill and was begun after it"
    assert repeated([start], [before]) == [words]
    running = Killed(10, {task_text(2): msgspec.structs.replace(done, state=TaskState.RUNNING)})
    assert repeated([start], [running]) == []


def test_children_without_a_living_parent_are_found() -> None:
    parent = TaskRecord(1, TaskState.COMPLETED, 0, end_ms=100)
    child = TaskRecord(2, TaskState.COMPLETED, 0, end_ms=100, parent_id=1, member="step/0")

    def found(*records: TaskRecord) -> list[str]:
        return orphans({task_text(record.task_id): record for record in records})

    name, above = task_text(2), task_text(1)
    assert found(parent, child) == []
    outlives = [f"{name}, step/0, outlives its parent {above}"]
    assert found(parent, msgspec.structs.replace(child, end_ms=101)) == outlives
    assert found(parent, msgspec.structs.replace(child, state=TaskState.RUNNING, end_ms=0)) == outlives
    assert found(child) == [f"{name} has a parent that is not there"]
    twice = msgspec.structs.replace(child, task_id=3)
    assert found(parent, child, twice) == [f"{above} made step/0 2 times"]
