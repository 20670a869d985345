"""``python -m tests.bench.collaborations``: whether modes keep their time on real processes.

A pipeline has to take about as long as its slowest stage and not as all of them together; the losers of a
race have to hear of it at once. Prints a table, writes ``build/bench/collaborations.json``, and exits with
1 where a figure is beyond its limit. Server and agents are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import upbeat
from tests.bench.figures import Figure, latencies, table, write
from tests.bench.processes import agents_process, server
from upbeat import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from upbeat import Task

OUT = Path("build/bench/collaborations.json")
AGENTS, SLOTS = 8, 16
TIMED = "tests.bench.timed_agents"
STAGES = 3

SHARE_OF_SLOWEST_MAX = 1.25
CANCEL_MS_MAX = 100.0
LIMITS = {".of_slowest": SHARE_OF_SLOWEST_MAX, "cancel.p99": CANCEL_MS_MAX}
"""What a figure whose name ends so may be at most."""

WINNER_MS = (20, 60)
LOSER_MS = 30_000
RACES_AT_ONCE = 4


async def _through(up: Client, ms: list[int], items: int, **terms: Any) -> tuple[float, list[Task]]:
    """Items through stages; answers how long that took, and the children."""
    stages = upbeat.pipeline(*["timed"] * STAGES, max_concurrency=256, **terms)
    began = time.perf_counter()
    handle = await up.submit(stages.over([{"ms": ms}] * items), None)
    outputs = await handle.result()
    took = time.perf_counter() - began
    if len(outputs) != items:
        raise RuntimeError(f"{len(outputs)} of {items} items left the pipeline")
    return took, [child async for child in handle.children()]


async def equal_stages(up: Client, ms: int, items: int, concurrency: int) -> list[Figure]:
    """Stages that take the same time."""
    await _through(up, [1] * STAGES, 20)  # Everything is warm then.
    took, children = await _through(up, [ms] * STAGES, items, stage_concurrency=concurrency)
    name = f"pipeline.equal_{ms}ms"
    facts: dict[str, float | str] = {"items": float(items), "stage_concurrency": float(concurrency)}
    return [Figure(f"{name}.wall", round(took, 3), "s", facts), *ratios(name, took, children, concurrency)]


def ratios(name: str, took: float, children: Iterable[Task], concurrency: int) -> list[Figure]:
    """The wall time as a share of the slowest stage, and of all stages one after the other.

    A stage takes what its attempts took, the way to the agent and back included.
    """
    stages = [0.0] * STAGES
    for child in children:
        if child.start_time is not None and child.end_time is not None:
            ran = (child.end_time - child.start_time).total_seconds()
            stages[int(child.member.rpartition("/")[2])] += ran / concurrency
    return [
        Figure(f"{name}.of_slowest", round(took / max(stages), 3), "ratio", {"slowest_s": max(stages)}),
        Figure(f"{name}.of_sum", round(took / sum(stages), 3), "ratio", {"sum_s": sum(stages)}),
    ]


def ahead_max(children: Iterable[Task]) -> int:
    """The most items that were between their start in the first stage and their start in the second."""
    starts = []
    for child in children:
        stage = int(child.member.rpartition("/")[2])
        if stage < 2 and child.start_time is not None:
            # Of starts in the same millisecond that of the second stage made room for the other.
            starts.append((child.start_time, -stage, 1 if stage == 0 else -1))
    return max(accumulate(change for _, _, change in sorted(starts)))


async def slow_middle(up: Client, items: int, concurrency: int, buffer: int) -> list[Figure]:
    """A stage in the middle that takes ten times as long as the others: it holds back the first."""
    ms = [5, 50, 5]
    took, children = await _through(up, ms, items, stage_concurrency=concurrency, buffer=buffer)
    ahead = ahead_max(children)
    if ahead > concurrency + buffer:
        raise RuntimeError(f"{ahead} items were ahead of the slow stage, which is more than it can hold")
    facts: dict[str, float | str] = {"stage_concurrency": float(concurrency), "buffer": float(buffer)}
    figures = ratios("pipeline.slow_middle", took, children, concurrency)
    return [*figures, Figure("pipeline.slow_middle.ahead", float(ahead), "items", facts)]


async def races(up: Client, count: int, notes: Callable[[], list[str]]) -> list[Figure]:
    """Races of two; from when the winner's handler returns until the loser's is cancelled."""
    rng = Random("races")
    room = asyncio.Semaphore(RACES_AT_ONCE)
    wasted: list[float] = []

    async def run(winner: int, ms: int) -> str:
        async with room:
            order = [LOSER_MS, LOSER_MS]
            order[winner] = ms
            handle = await up.submit(upbeat.race("timed", candidates=2), {"ms": order})
            await handle.result()
            task = await handle.get()
            result = task.collaboration
            won = [child.member async for child in handle.children() if child.state == "COMPLETED"]
            if result is None or won != [f"candidate/{winner}"]:
                raise RuntimeError(f"{won} won where candidate/{winner} was the first")
            wasted.append(result.wasted_s)
            return handle.task_id

    races_run = [run(rng.randrange(2), rng.randint(*WINNER_MS)) for _ in range(count)]
    task_ids = set(await asyncio.gather(*races_run))
    ended, stopped = heard(notes(), task_ids)
    if ended.keys() != task_ids or stopped.keys() != task_ids:
        raise RuntimeError(f"of {count} losers {len(stopped)} were told to stop")
    delays = [(stopped[task_id] - ended[task_id]) / 1e9 for task_id in task_ids]
    figures = latencies("race.cancel", delays, races=float(count), at_once=float(RACES_AT_ONCE))
    mean_ms = sum(wasted) / len(wasted) * 1_000
    return [*figures, Figure("race.wasted", round(mean_ms, 1), "ms", {"winner_ms": f"{WINNER_MS}"})]


def heard(lines: Iterable[str], task_ids: set[str]) -> tuple[dict[str, int], dict[str, int]]:
    """When the winner of each race was through, and when its loser was stopped, in ns."""
    ended: dict[str, int] = {}
    stopped: dict[str, int] = {}
    for line in lines:
        what, task_id, _, at_ns = line.split()
        if task_id in task_ids:
            (ended if what == "ended" else stopped)[task_id] = int(at_ns)
    return ended, stopped


async def measured(address: str, notes: Callable[[], list[str]], scale: int) -> list[Figure]:
    """All figures."""
    async with Client(address) as up:
        figures = await equal_stages(up, 20, 100 // scale, 4)
        figures += await equal_stages(up, 50, 100 // scale, 4)
        figures += await slow_middle(up, 60 // scale, 2, 1)
        return figures + await races(up, 200 // scale, notes)


def beyond(figures: Iterable[Figure]) -> list[str]:
    """Figures beyond their limit."""
    return [
        f"{figure.name} is {figure.value:g} {figure.unit}; at most {limit:g} is expected"
        for figure in figures
        for ending, limit in LIMITS.items()
        if figure.name.endswith(ending) and figure.value > limit
    ]


def main() -> int:
    """Run; answers the exit code."""
    parser = argparse.ArgumentParser(prog="tests.bench.collaborations")
    parser.add_argument("--quick", action="store_true", help="a fifth of the work: for a first look")
    parser.add_argument("--store", choices=["durable", "memory"], default="durable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upbeat-bench-") as folder, server(options.store) as process:
        path = Path(folder) / "notes"
        with agents_process(TIMED, process.address, AGENTS, SLOTS, path):

            def notes() -> list[str]:
                return path.read_text().splitlines()

            figures = asyncio.run(measured(process.address, notes, 5 if options.quick else 1))
    write(figures, OUT)
    print(f"{table(figures)}\n\nwritten to {OUT}")
    missed = beyond(figures)
    print("\n".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
