"""Many runs over all processors, and what a failed one needs to fail."""

from __future__ import annotations

import itertools
import multiprocessing
from typing import TYPE_CHECKING, Self

from tests.simulation.mix import draw
from tests.simulation.world import Report, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

CHUNK = 8


def run_one(seed: int) -> Report:
    """One seed, in a process that makes many; a defect of the simulation itself is a violation."""
    try:
        return simulate(seed)
    except Exception as error:
        return Report(seed, draw(seed).describe(), [f"invariant 10: the simulation broke: {error!r}"])


class Campaign:
    """Reports of seeds, as they come."""

    def __init__(self, first: int, runs: int | None, jobs: int) -> None:
        self._seeds = itertools.count(first) if runs is None else iter(range(first, first + runs))
        self._jobs = jobs
        self._pool = multiprocessing.get_context("spawn").Pool(jobs) if jobs > 1 else None

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[Report]:
        if self._pool is None:
            yield from map(run_one, self._seeds)
            return
        # In portions: a pool would draw all of an endless range before it begins.
        while portion := list(itertools.islice(self._seeds, self._jobs * CHUNK * 8)):
            yield from self._pool.imap_unordered(run_one, portion, CHUNK)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()


def needed_faults(seed: int) -> list[str]:
    """The faults without which the seed does not fail: taken away one after the other."""
    without: set[str] = set()
    for fault in draw(seed).strengths:
        if simulate(seed, frozenset({*without, fault}), stops_early=True).violations:
            without.add(fault)
    return [fault for fault in draw(seed).strengths if fault not in without]
