"""An episode: one store, a crowd and agents, faults drawn from a seed, and the audit at the end.

A round is one fault under load. After the rounds everything heals, every task must end, the watches
must have heard of it, and the checker compares what everybody was told with what is there.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import msgspec

from tests.faults.checker import check
from tests.faults.crowd import Crowd
from tests.faults.final import ENDED, FinalTask, answered, stored
from tests.support import facts as f
from tests.support.recorded_fleet import RecordedFleet
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.facts import Fact

LEASE_TIMEOUT_S = 1.2
DISCONNECT_GRACE_S = 0.5
SETTINGS: dict[str, object] = {
    "engine.graces.heartbeat_interval_ms": 300,
    "engine.graces.suspect_after_ms": 700,
    "engine.graces.lease_timeout_ms": int(LEASE_TIMEOUT_S * 1_000),
    "engine.graces.disconnect_grace_ms": int(DISCONNECT_GRACE_S * 1_000),
    "engine.graces.adoption_grace_ms": 2_000,
    "engine.graces.ack_timeout_ms": 1_000,
    "engine.bounds.queue_tasks_max": 400,
    "engine.bounds.lease_losses_max": 20,
}
FAULTS = (
    "kill server",
    "kill server",
    "kill server",
    "stop server",
    "kill agents",
    "kill agents and start others",
    "stop agents",
    "kill server and agents",
    "stop agents and kill server",
)
END_S = 60.0


class Round(msgspec.Struct, frozen=True):
    """What one round was."""

    number: int
    fault: str
    acknowledged: int  # So far.
    ready_s: float  # Until the server answered again; 0 where it was not killed.


class Report(msgspec.Struct):
    """What an episode came to."""

    seed: str
    rounds: list[Round] = []
    kills: int = 0  # Of the server.
    counts: dict[str, int] = {}  # Facts by kind, tasks by state.
    problems: list[str] = []
    reassigned_s: list[float] = []  # From the kill of an agent's process to the next lease of its work.


class Episode:
    """Runs in a folder of its own."""

    def __init__(self, folder: Path, seed: str, faults: tuple[str, ...] = FAULTS) -> None:
        self._rng = random.Random(seed)
        self._faults = faults
        self._deck: list[str] = []  # Every kind comes before one comes again.
        self._path = folder / "upbeat.db"
        self._tasks: dict[str, FinalTask] = {}  # As they were answered in the end.
        self._faults_ns: list[int] = []  # When each began.
        self._gone: list[tuple[int, frozenset[str]]] = []  # Agents that were killed for good, and when.
        self.report = Report(seed)
        self.server = ServerProcess(f"sqlite:{self._path}", folder, settings=SETTINGS)
        self.fleets = [
            RecordedFleet(self.server.address, folder, [f"fleet{number}-{letter}" for letter in "ab"])
            for number in range(2)
        ]
        self.crowd = Crowd(self.server.address, seed)

    def run(self, rounds: int, told: Callable[[Round], None] = lambda _: None) -> Report:
        """The rounds, healing, the audit."""
        self.server.start()
        try:
            for fleet in self.fleets:
                fleet.start()
            self.crowd.start()
            self.crowd.wait_for(50)
            for number in range(rounds):
                told(self._round(number))
            self._finish()
        finally:
            for fleet in self.fleets:
                fleet.close()
            self.server.kill()
        return self.report

    def _round(self, number: int) -> Round:
        if not self._deck:
            self._deck = self._rng.sample(self._faults, len(self._faults))
        fault = self._deck.pop()
        self._faults_ns.append(time.monotonic_ns())
        before = self.report.kills
        self._meet(fault)
        acknowledged = self.crowd.ledger.count(f.Acknowledged)
        self.crowd.wait_for(acknowledged + self._rng.randint(10, 60))
        ready_s = self.server.ready_s if self.report.kills > before else 0.0
        round_ = Round(number, fault, acknowledged, ready_s)
        self.report.rounds.append(round_)
        return round_

    def _meet(self, fault: str) -> None:
        """Let it happen, and end it."""
        fleet = self._rng.choice(self.fleets)
        others = [f"{fleet.agent_ids[0]}'{self._rng.randrange(1 << 16):x}"]
        match fault:
            case "kill server":
                self._kill_server()
            case "stop server":
                self._stop(self.server)
            case "kill agents":
                fleet.kill()
                fleet.start()
            case "kill agents and start others":
                fleet.kill()
                self._gone.append((fleet.kills[-1], frozenset(fleet.agent_ids)))
                fleet.start([name.replace("'", ".") for name in others])
            case "stop agents":
                self._stop(fleet)
            case "kill server and agents":
                fleet.kill()
                self._kill_server()
                fleet.start()
            case "stop agents and kill server":
                fleet.pause()
                self._kill_server()
                fleet.resume()
            case _:
                raise ValueError(f"there is no fault {fault!r}")

    def _kill_server(self) -> None:
        self.report.kills += 1
        self.server.kill()
        self.server.start()

    def _stop(self, victim: ServerProcess | RecordedFleet) -> None:
        """Stop it for longer, or not for as long, as leases and calls last."""
        victim.pause()
        time.sleep(self._rng.choice((0.3, 1.0, 1.5 * LEASE_TIMEOUT_S)))  # The fault itself.
        victim.resume()

    def _finish(self) -> None:
        """Heal, wait for the ends, stop, audit."""
        self.crowd.stop_callers()
        tasks = self._all_ended()
        self.crowd.catch_up(max(task.revision for task in tasks.values()))
        self.crowd.close()
        for fleet in self.fleets:
            fleet.close()
        self.server.stop()
        self._tasks = tasks
        self.report.problems = self.audit()
        self._count()

    def facts(self) -> list[Fact]:
        """What everybody noted."""
        return [*self.crowd.ledger.facts, *(fact for fleet in self.fleets for fact in fleet.facts())]

    def audit(self, *lies: Fact) -> list[str]:
        """What is wrong, once the rounds are over; with ``lies`` there should be something."""
        return check([*self.facts(), *lies], stored(self._path), self._tasks)

    def _count(self) -> None:
        facts, counts = self.facts(), self.report.counts
        self.report.reassigned_s = self._reassigned_s(facts)
        for name in (
            *(type(fact).__name__ for fact in facts),
            *(fact.outcome for fact in facts if isinstance(fact, f.Judged)),
            *(task.state for task in self._tasks.values()),
        ):
            counts[name] = counts.get(name, 0) + 1

    def _reassigned_s(self, facts: list[Fact]) -> list[float]:
        """How long it took until what killed agents worked on was handed to others, without another fault."""
        found = []
        reported = {fact.lease_id for fact in facts if isinstance(fact, f.Reported)}
        assigned = [fact for fact in facts if isinstance(fact, f.Assigned)]
        by_lease = {fact.lease_id: fact for fact in assigned}
        for killed_ns, agent_ids in self._gone:
            for held in assigned:
                is_held = held.agent_id in agent_ids and held.at_ns < killed_ns
                after = by_lease.get(f"{held.task_id}{held.attempt + 1:04x}")
                if not is_held or held.lease_id in reported or after is None:
                    continue
                if not any(killed_ns < fault_ns < after.at_ns for fault_ns in self._faults_ns):
                    found.append((after.at_ns - killed_ns) / 1e9)
        return found

    def _all_ended(self) -> dict[str, FinalTask]:
        until = time.monotonic() + END_S
        while True:
            tasks = answered(self.server.address)
            open_ = [task for task in tasks.values() if task.state not in ENDED]
            if not open_ or time.monotonic() > until:
                return tasks
            time.sleep(0.2)
