"""SIGKILL, to the server and to agents, in the middle of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.audit import Caller, ended, problems, started_twice
from tests.support.gated_fleet import GatedFleet
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = 1_200


def test_a_killed_server_loses_nothing_and_starts_no_living_agents_work_twice(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:{tmp_path}/upbeat.db", tmp_path) as server:
        fleets = [GatedFleet(server.address, f"fleet-{number}", agents=6, slots=100) for number in range(2)]
        caller = Caller(server.address, "kill")
        try:
            caller.start()
            for fleet in fleets:
                fleet.wait_for_starts(RUNNING // 2)
            caller.wait_for(RUNNING + 300)
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


def test_the_work_of_a_killed_agent_is_done_by_others_with_one_accepted_result_each(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:{tmp_path}/upbeat.db", tmp_path) as server:
        victim = GatedFleet(server.address, "victim", agents=1, slots=50)
        others = GatedFleet(server.address, "other", agents=2, slots=50)
        caller = Caller(server.address, "agent")
        try:
            caller.start()
            caller.wait_for(200)
            caller.stop()
            victim.wait_for_starts(50)
            others.wait_for_starts(100)
            victim.kill()
            others.go()
            tasks = ended(server.address, caller.acknowledged.values())
        finally:
            caller.stop()
            victim.kill()
            others.close()
    assert problems(tasks, caller.acknowledged) == []
    again = {start.task_id for start in victim.starts}
    assert len(again) == 50
    assert again <= {start.task_id for start in others.starts}
    assert set(started_twice([*victim.starts, *others.starts])) == again
