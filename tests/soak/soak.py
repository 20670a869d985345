"""One soak: a server, its load, its samples, and the verdict on each series."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.soak.agents import staff
from tests.soak.callers import Crowd, callers
from tests.soak.samples import FALLING, SERIES, Sampler, Samples
from tests.soak.tally import Tally
from tests.soak.verdict import Trend, trend
from tests.support.server_process import ServerProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path

FLEET_END_S = 20

SETTINGS: dict[str, object] = {
    "log.level": "warning",
    "service.drain_ms": 500,
    # All that is kept for a while is kept briefly, so that its end is seen within the run.
    "engine.retention.finished_ms": 20_000,
    "engine.retention.finished_tasks_max": 20_000,
    "engine.retention.purge_interval_ms": 2_000,
    "engine.graces.heartbeat_interval_ms": 1_000,
    "engine.graces.suspect_after_ms": 3_000,
    "engine.graces.lease_timeout_ms": 5_000,
    "engine.graces.disconnect_grace_ms": 1_500,
    "engine.graces.ack_timeout_ms": 2_000,
    "engine.graces.forget_agent_ms": 20_000,
    # Rings fill early, so that memory does not seem to grow while they do.
    "runtime.watches.ring_events_max": 4_096,
    "runtime.watches.ring_bytes_max": 4 << 20,
}


@dataclass(frozen=True)
class Plan:
    """How long and how much."""

    seconds: float
    every_s: float = 1.0
    tasks_per_s: float = 150.0
    callers: int = 2  # Times the share of each kind.
    agents: int = 16
    fleets: int = 2
    fleet_life_s: float = 20.0
    seed: str = "1"
    server: type[ServerProcess] = ServerProcess


@dataclass
class Outcome:
    """What came of it."""

    plan: Plan
    samples: Samples
    tally: Tally
    trends: list[Trend]

    @property
    def faults(self) -> list[str]:
        """Why it failed; empty if all levels off."""
        grown = [
            f"{each.name} {'fell' if each.name == FALLING else 'grew'} by {each.grown:,.0f} {each.unit}"
            f" over the second half; {each.tolerated:,.0f} are tolerated"
            for each in self.trends
            if not each.is_level
        ]
        errors = [f"{count} x {name}" for name, count in self.tally.errors.items()]
        idle = [] if self.samples.finished else ["no task was finished"]
        return [*grown, *errors, *idle]


def judge(samples: Samples) -> list[Trend]:
    """The trend of every series over the second half."""
    half = len(samples.seconds) // 2
    trends = []
    for series in SERIES:
        sign = -1.0 if series.name == FALLING else 1.0
        values = [sign * value for value in samples.values[series.name][half:]]
        trends.append(trend(series.name, series.unit, samples.seconds[half:], values, series.tolerance))
    return trends


async def soak(plan: Plan, folder: Path) -> Outcome:
    """Run it. The store and the server's log stay in the folder."""
    tally, http_port, store = Tally(), free_port(), folder / "soak.db"
    options = ("--http", f"127.0.0.1:{http_port}")
    with plan.server(f"sqlite:{store}", folder, *options, settings=SETTINGS) as server:
        sampler = Sampler(server.pid, http_port, store, tally)
        crowd = Crowd(server.address, Random(f"{plan.seed}/callers"), tally, plan.tasks_per_s)
        works = [
            staff(server.address, plan.agents, Random(f"{plan.seed}/agents"), tally),
            callers(crowd, plan.callers),
            *(_fleet(plan, server.address, number, folder, tally) for number in range(plan.fleets)),
            sampler.run(plan.every_s),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(plan.seconds), asyncio.TaskGroup() as group:
                for work in works:
                    group.create_task(work)
        if server.stop():
            tally.errors["the server did not stop in order"] += 1
    return Outcome(plan, sampler.samples, tally, judge(sampler.samples))


async def _fleet(plan: Plan, address: str, number: int, folder: Path, tally: Tally) -> None:
    """A process of SDK agents that is killed, or told to leave, and comes back under new names."""
    rng = Random(f"{plan.seed}/fleet-{number}")
    life = 0
    while True:
        life += 1
        command = [
            sys.executable,
            "-m",
            "tests.soak.fleet",
            address,
            f"fleet-{number}-{life}",
            "3",
            plan.seed,
        ]
        with (folder / f"fleet-{number}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=log, stderr=log)
        try:
            await asyncio.sleep(plan.fleet_life_s * rng.uniform(0.5, 1.5))
            if rng.random() < 0.3 and process.stdin is not None:
                process.stdin.close()
                async with asyncio.timeout(FLEET_END_S):
                    await process.wait()
                tally.count("fleets told to leave")
            else:
                process.kill()
                await process.wait()
                tally.count("fleets killed")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
