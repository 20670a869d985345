"""Network faults between agents, callers and the server, over a proxy that needs no rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.episode import SETTINGS
from tests.faults.network_episode import NetworkEpisode
from tests.faults.partition import TASKS, Partition
from tests.support import facts as f
from tests.support.faulty_wire import FaultyWire
from tests.support.server_process import ServerProcess

SHORT_ROUNDS = 8
"""Of the kinds of faults there are; ``make faults KIND=network`` has them all."""

pytestmark = pytest.mark.timeout(300)  # A connection that lost bytes may be noticed late.


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(f"sqlite:{tmp_path}/upbeat.db", tmp_path, settings=SETTINGS) as process:
        yield process


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[FaultyWire]:
    with FaultyWire(server.address) as faulty:
        yield faulty


def test_what_a_partitioned_agent_holds_is_done_elsewhere_and_its_late_results_are_stale(
    server: ServerProcess, wire: FaultyWire, tmp_path: Path
) -> None:
    with Partition(server, tmp_path, far=wire.address) as partition:
        partition.begin()
        wire.hold()
        partition.go_on_elsewhere()
        wire.heal()
        partition.far_comes_back()
        assert partition.audit() == []


def test_an_agent_that_is_not_heard_any_more_loses_its_work_though_it_hears_the_server(
    server: ServerProcess, wire: FaultyWire, tmp_path: Path
) -> None:
    with Partition(server, tmp_path, far=wire.address) as partition:
        partition.begin()
        wire.lose(wire.to_server)
        partition.go_on_elsewhere()
        wire.heal()
        partition.far_comes_back()
        assert partition.audit() == []


def test_work_for_an_agent_that_hears_nothing_goes_elsewhere_and_its_results_still_count(
    server: ServerProcess, wire: FaultyWire, tmp_path: Path
) -> None:
    with Partition(server, tmp_path, far=wire.address) as partition:
        partition.submit(TASKS, far_ms=300)
        partition.far.wait_for(lambda facts: _count(facts, f.Began) == TASKS)
        wire.lose(wire.to_client)
        # Its beats are heard: what it has begun stays with it, and is done.
        partition.wait_for_ends(TASKS)
        # What comes now is handed to it, never acknowledged, and handed to the other one.
        partition.submit(4, far_ms=0)
        partition.near.start()
        partition.wait_for_ends(TASKS + 4)
        assert {task.attempts[-1].agent_id for task in partition.tasks().values()} == {"far", "near"}
        wire.heal()
        # It has never heard that its results count; those that it says again still do.
        partition.far.wait_for(lambda facts: _count(facts, f.Judged) >= TASKS // 3)
        assert {fact.outcome for fact in partition.far.facts() if isinstance(fact, f.Judged)} == {"ACCEPTED"}
        assert partition.audit() == []


def test_nothing_is_lost_or_done_twice_over_wires_that_fail_in_many_ways(tmp_path: Path) -> None:
    episode = NetworkEpisode(tmp_path, "wires")
    report = episode.run(SHORT_ROUNDS)
    assert report.problems == []
    assert len({round_.fault for round_ in report.rounds}) == SHORT_ROUNDS
    assert report.counts["Unanswered"] > 0


def _count(facts: list[f.Fact], kind: type[f.Noted]) -> int:
    return sum(isinstance(fact, kind) for fact in facts)
