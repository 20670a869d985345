"""Agents in a network namespace, and what the kernel makes of a cable that is pulled, lossy or narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.episode import SETTINGS
from tests.faults.partition import TASKS, Partition
from tests.support.net_namespace import Cable, cable
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.timeout(300)  # A connection that lost bytes may be noticed late.


@pytest.fixture
def line() -> Iterator[Cable]:
    with cable() as laid:
        yield laid


@pytest.fixture
def partition(line: Cable, tmp_path: Path) -> Iterator[Partition]:
    store = f"sqlite:{tmp_path}/upbeat.db"
    with (
        ServerProcess(store, tmp_path, "--insecure", settings=SETTINGS, host=line.host) as server,
        Partition(server, tmp_path, far=server.address, prefix=line.prefix) as story,
    ):
        yield story


def test_what_an_agent_holds_is_done_elsewhere_while_its_cable_is_pulled(
    line: Cable, partition: Partition
) -> None:
    partition.begin()
    line.pull()
    partition.go_on_elsewhere()
    line.plug()
    partition.far_comes_back()
    assert partition.audit() == []


def test_an_agent_whose_packets_do_not_leave_loses_its_work(line: Cable, partition: Partition) -> None:
    partition.begin()
    line.drop(hook="output")
    partition.go_on_elsewhere()
    assert line.dropped() > 0
    line.stop_dropping()
    partition.far_comes_back()
    assert partition.audit() == []


def test_an_agent_that_gets_no_packets_is_not_heard_either(line: Cable, partition: Partition) -> None:
    # The kernel sends no more than its window without an acknowledgement, and beats wait behind it.
    partition.begin()
    line.drop(hook="input")
    partition.go_on_elsewhere()
    assert line.dropped() > 0
    line.stop_dropping()
    partition.far_comes_back()
    assert partition.audit() == []


def test_nothing_is_lost_over_a_narrow_cable_that_loses_packets(line: Cable, partition: Partition) -> None:
    line.lose(10)
    line.narrow("256kbit")
    partition.submit(10 * TASKS, far_ms=20)
    partition.wait_for_ends(10 * TASKS)
    assert line.dropped() > 0
    assert line.delayed() > 0
    assert partition.audit() == []
