"""How every peer's script loads its peer, counts and reports: a window of time, one at a time, one JSON line.

Standard library only: it runs in the environments of the peers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence

Handle = TypeVar("Handle")
Result = TypeVar("Result")

PAYLOAD_BYTES = 256
CONCURRENCY = 64
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Plan:
    """How long a script warms up, and for how many results at least; how long it counts; how it samples.

    It samples so many single tasks, or as many as there is time for.
    """

    warm_s: float
    warm_results: int
    window_s: float
    samples_max: int
    samples_s: float


FULL = Plan(warm_s=3.0, warm_results=1_000, window_s=8.0, samples_max=2_000, samples_s=10.0)
QUICK = Plan(warm_s=1.0, warm_results=500, window_s=3.0, samples_max=300, samples_s=3.0)


@dataclass(frozen=True)
class Arguments:
    """What a script is told: which peer of its package it measures, the plan, and which process it is."""

    peer: str
    plan: Plan
    role: str


def arguments() -> Arguments:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--role", default="submitter")
    read = parser.parse_args()
    return Arguments(read.peer, QUICK if read.quick else FULL, read.role)


def myself(script: str, peer: str, role: str) -> list[str]:
    """The command that runs a script of this folder in another role, in the same environment."""
    return [sys.executable, "-m", f"tests.bench.peers.{script}", peer, "--role", role]


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on uvloop where the environment of the peer has it, as upbeat's server does."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def texts() -> Iterator[str]:
    """Payloads of 256 characters, each another one, so that a wrong echo is noticed."""
    number = 0
    while True:
        yield f"{number:016d}".ljust(PAYLOAD_BYTES, "x")
        number += 1


def verify(got: object, sent: object) -> None:
    """Raise ValueError unless an echo is what was sent."""
    if got != sent:
        raise ValueError(f"an echo is not what was sent: {str(got)[:80]!r}")


def _stat(pid: int) -> list[str]:
    """The fields of a process after its name, or none when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return []


def children_by_parent() -> dict[int, list[int]]:
    """All processes of the machine."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    return children


def with_descendants(pids: Sequence[int]) -> list[int]:
    """Processes and all that they have started and that live."""
    children = children_by_parent()
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of processes and their descendants, those that have ended included."""
    # Fields 14 to 17 of the manual page: user, system, and both of children that were waited for.
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in with_descendants(pids)) / TICKS_PER_SECOND


class Meter:
    """CPU time by part of a peer: ``Meter(broker=[pid], worker=[pid])``; the submitter is this process."""

    def __init__(self, **pids_by_part: Sequence[int]) -> None:
        self._pids_by_part = pids_by_part

    def read(self) -> dict[str, float]:
        """CPU seconds until now, by part."""
        used = {part: cpu_seconds(pids) for part, pids in self._pids_by_part.items()}
        return {**used, "submitter": time.process_time()}


class Window:
    """Counts results from the end of the warm-up, which begins now, until its time is over."""

    def __init__(self, plan: Plan, meter: Meter) -> None:
        self._meter = meter
        self._window_s = plan.window_s
        self._opens_at = time.perf_counter() + plan.warm_s
        self._warm_results = plan.warm_results  # Those that are still to come back before it opens.
        self._opened_at = self._seconds = 0.0
        self._used: dict[str, float] = {}
        self._counted = 0
        self.is_over = False

    def add(self, results: int) -> None:
        """So many results have come back now."""
        now = time.perf_counter()
        if self.is_over:
            return
        if not self._opened_at:
            self._warm_results -= results
            if now < self._opens_at or self._warm_results > 0:
                return
            self._used = self._meter.read()
            self._opened_at = now
            return
        self._counted += results
        if now >= self._opened_at + self._window_s:
            self.is_over = True
            self._seconds = now - self._opened_at
            ends = self._meter.read()
            self._used = {part: ends[part] - began for part, began in self._used.items()}

    def rate(self) -> float:
        """Results a second. Raises RuntimeError when the window was not over."""
        if not self.is_over:
            raise RuntimeError("the window of the measurement was never over")
        return self._counted / self._seconds

    def facts(self) -> dict[str, float | str]:
        """Tasks and seconds counted, and how much of a core each part used meanwhile."""
        shares = {f"{part}_cpu_share": round(used / self._seconds, 2) for part, used in self._used.items()}
        return {"tasks": float(self._counted), "seconds": round(self._seconds, 2), **shares}


async def keep_full(lane: Callable[[Window], Awaitable[None]], lanes: int, window: Window) -> None:
    """Repeat ``lane`` (submit some, wait for them, ``window.add``) in so many lanes until it is over."""

    async def repeat() -> None:
        while not window.is_over:
            await lane(window)

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(repeat())


def keep_chunks(
    submit: Callable[[list[str]], Handle],
    collect: Callable[[Handle], list[str]],
    *,
    chunk: int,
    chunks: int,
    window: Window,
) -> None:
    """Keep ``chunks`` bulk calls of ``chunk`` tasks outstanding, the oldest collected first."""
    payloads = texts()
    waiting: deque[tuple[list[str], Handle]] = deque()
    while True:
        while len(waiting) < chunks and not window.is_over:
            sent = [next(payloads) for _ in range(chunk)]
            waiting.append((sent, submit(sent)))
        if not waiting:
            return
        sent, handle = waiting.popleft()
        verify(collect(handle), sent)
        window.add(chunk)


def one_at_a_time(echo: Callable[[str], object], plan: Plan) -> list[float]:
    """Seconds of each of many calls, one after the other."""
    samples: list[float] = []
    ends_at = time.perf_counter() + plan.samples_s
    for text in texts():
        began = time.perf_counter()
        verify(echo(text), text)
        samples.append(time.perf_counter() - began)
        if len(samples) == plan.samples_max or time.perf_counter() > ends_at:
            break
    return samples


async def one_at_a_time_async(echo: Callable[[str], Awaitable[object]], plan: Plan) -> list[float]:
    """Seconds of each of many awaited calls, one after the other."""
    samples: list[float] = []
    ends_at = time.perf_counter() + plan.samples_s
    for text in texts():
        began = time.perf_counter()
        verify(await echo(text), text)
        samples.append(time.perf_counter() - began)
        if len(samples) == plan.samples_max or time.perf_counter() > ends_at:
            break
    return samples


def percentile_ms(samples_s: list[float], share: float) -> float:
    """The sample at ``share`` (0 to 1) of all in order, in ms."""
    ordered = sorted(samples_s)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1_000, 3)


def report(window: Window, samples_s: list[float], facts: Mapping[str, float | str]) -> None:
    """Print the one line that the runner reads: a list of rows with measure, value, unit and facts."""
    single = {**facts, "samples": float(len(samples_s)), "outstanding": 1.0}
    rows = [
        {
            "measure": "throughput",
            "value": round(window.rate(), 1),
            "unit": "tasks/s",
            "facts": {**facts, **window.facts()},
        },
        {"measure": "p50", "value": percentile_ms(samples_s, 0.5), "unit": "ms", "facts": single},
        {"measure": "p99", "value": percentile_ms(samples_s, 0.99), "unit": "ms", "facts": single},
    ]
    sys.stdout.write(json.dumps(rows) + "\n")
    sys.stdout.flush()
