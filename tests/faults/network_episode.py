"""An episode whose callers and agents reach the server over bad wires."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.faults.crowd import Crowd
from tests.faults.episode import LEASE_TIMEOUT_S, Episode, Report, Round
from tests.support.faulty_wire import FaultyWire
from tests.support.recorded_fleet import RecordedFleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NETWORK_FAULTS = (
    "partition of agents",
    "short partition of agents",
    "agents are not heard",
    "agents hear nothing",
    "agents are cut off",
    "slow and lossy wire to agents",
    "partition of callers",
    "answers to callers are lost",
    "callers are cut off",
    "slow and lossy wire to callers",
    "narrow wires",
    "kill server",
)
LAST_S = 1.5 * LEASE_TIMEOUT_S
"""How long what agents must notice lasts."""


class NetworkEpisode(Episode):
    """The same crowd and agents behind wires."""

    def __init__(self, folder: Path, seed: str, faults: tuple[str, ...] = NETWORK_FAULTS) -> None:
        super().__init__(folder, seed, faults)
        self._stack = ExitStack()
        self._agents, self._callers = (
            self._stack.enter_context(FaultyWire(self.server.address, f"{seed}/{name}"))
            for name in ("agents", "callers")
        )
        near = RecordedFleet(self.server.address, folder, ["near-a", "near-b"], slots=4)
        far = RecordedFleet(self._agents.address, folder, ["far-a", "far-b"])
        self.fleets = [near, far]
        self.crowd = Crowd(self._callers.address, seed)

    def run(self, rounds: int, told: Callable[[Round], None] = lambda _: None) -> Report:
        """The rounds, healing, the audit."""
        with self._stack:
            return super().run(rounds, told)

    def _meet(self, fault: str) -> None:
        """Let it happen for a while, then heal."""
        agents, callers = self._agents, self._callers
        last_s = LAST_S
        match fault:
            case "partition of agents":
                agents.hold()
            case "short partition of agents":
                agents.hold()
                last_s = 0.3
            case "agents are not heard":
                agents.lose(agents.to_server)
            case "agents hear nothing":
                agents.lose(agents.to_client)
            case "agents are cut off":
                agents.is_refusing = True
                agents.cut()
            case "slow and lossy wire to agents":
                self._worsen(agents)
            case "partition of callers":
                callers.hold()
                last_s = 0.5
            case "answers to callers are lost":
                callers.lose(callers.to_client)
                last_s = 0.5
            case "callers are cut off":
                callers.cut()
                last_s = 0.0
            case "slow and lossy wire to callers":
                self._worsen(callers)
            case "narrow wires":
                for wire in (agents, callers):
                    wire.to_server.bytes_per_s = wire.to_client.bytes_per_s = 50_000
            case _:
                super()._meet(fault)
        time.sleep(last_s)  # The fault itself.
        agents.heal()
        callers.heal()

    @staticmethod
    def _worsen(wire: FaultyWire) -> None:
        for direction in (wire.to_server, wire.to_client):
            direction.delay_s = 0.03
            direction.jitter_s = 0.05
            direction.stall_share = 0.05
