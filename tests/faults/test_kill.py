"""SIGKILL to the server while living agents hold a lot of work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.audit import Caller, ended, problems, started_twice
from tests.support.gated_fleet import GatedFleet
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = 600
AHEAD = 900
"""More than the agents begin before the kill, and no more than are soon done."""


def test_a_killed_server_loses_nothing_and_starts_no_living_agents_work_twice(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:{tmp_path}/upbeat.db", tmp_path) as server:
        fleets = [GatedFleet(server.address, f"fleet-{number}", agents=6, slots=100) for number in range(2)]
        caller = Caller(server.address, "kill", ahead=AHEAD)
        try:
            caller.start()
            for fleet in fleets:
                fleet.wait_for_starts(RUNNING // 2)
            caller.wait_for(AHEAD + 300)
            server.kill()  # The caller is in the middle of a submission.
            server.start()
            caller.wait_for(len(caller.acknowledged) + 100)
            caller.stop()
            for fleet in fleets:
                fleet.go()
            tasks = ended(server.address, caller.acknowledged.values())
        finally:
            caller.stop()
            for fleet in fleets:
                fleet.close()
    starts = [start for fleet in fleets for start in fleet.starts]
    assert problems(tasks, caller.acknowledged) == []
    assert started_twice(starts) == {}
    assert {start.task_id for start in starts} == set(caller.acknowledged.values())
