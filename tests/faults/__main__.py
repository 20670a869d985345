"""Many rounds of faults, with a report.

``python -m tests.faults [--rounds N] [--seed S] [--kind mixed|network|kills]`` runs episodes of 25 rounds
each; every one has a store of its own and an audit at its end. Prints a line for every round and
totals. Exits with 1 if an audit found something; the files of such an episode are kept. The same seed
draws the same faults and orders; what meets what is up to the machine. ``--backlog TASKS`` measures a
restart with so many tasks instead.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.backlog import ready_s
from tests.faults.episode import DISCONNECT_GRACE_S, FAULTS, Episode, Report, Round
from tests.faults.network_episode import NetworkEpisode

EPISODE_ROUNDS = 25


def told(round_: Round) -> None:
    """A line for a round."""
    ready = f", ready in {round_.ready_s:.1f} s" if round_.ready_s else ""
    print(f"  {round_.number + 1:3}  {round_.fault}: {round_.acknowledged:,} acknowledged{ready}", flush=True)


def percentile(values: list[float], share: float) -> float:
    """A value that so large a share is not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def episode(kind: str, folder: Path, seed: str) -> Episode:
    """An episode with the faults of a kind."""
    if kind == "network":
        return NetworkEpisode(folder, seed)
    return Episode(folder, seed, FAULTS if kind == "mixed" else ("kill server",))


def summary(reports: list[Report]) -> None:
    """Totals of all episodes."""
    totals: dict[str, int] = {}
    for report in reports:
        for name, count in report.counts.items():
            totals[name] = totals.get(name, 0) + count
    rounds = [round_ for report in reports for round_ in report.rounds]
    ready = [round_.ready_s for round_ in rounds if round_.ready_s]
    again = [delay for report in reports for delay in report.reassigned_s]
    print(f"{len(rounds)} rounds, {sum(report.kills for report in reports)} kills of the server")
    print(", ".join(f"{count:,} {name}" for name, count in totals.items()))
    if ready:
        print(f"ready again: median {statistics.median(ready):.1f} s, longest {max(ready):.1f} s")
    if again:
        print(
            f"work of killed agents handed out again: p50 {statistics.median(again):.2f} s, "
            f"p99 {percentile(again, 0.99):.2f} s (grace {DISCONNECT_GRACE_S:g} s, {len(again)} attempts)"
        )
    print(f"{sum(len(report.problems) for report in reports)} problems")


def main() -> int:
    """Run, report, answer the exit code."""
    parser = argparse.ArgumentParser(prog="tests.faults")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kind", choices=["mixed", "network", "kills"], default="mixed")
    parser.add_argument("--backlog", type=int, default=0, help="measure a restart with so many tasks instead")
    options = parser.parse_args()
    if options.backlog:
        with tempfile.TemporaryDirectory(prefix="upbeat-faults-") as place:
            print(f"ready with {options.backlog:,} tasks in {ready_s(Path(place), options.backlog):.1f} s")
        return 0
    reports: list[Report] = []
    left = options.rounds
    while left > 0:
        seed = f"{options.seed}.{len(reports)}"
        folder = Path(tempfile.mkdtemp(prefix="upbeat-faults-"))
        began = time.monotonic()
        print(f"episode {seed}", flush=True)
        report = episode(options.kind, folder, seed).run(min(left, EPISODE_ROUNDS), told)
        reports.append(report)
        left -= len(report.rounds)
        print(f"  audit after {time.monotonic() - began:.0f} s: {len(report.problems)} problems", flush=True)
        if report.problems:
            print("\n".join(f"    {problem}" for problem in report.problems), f"    {folder}", sep="\n")
        else:
            shutil.rmtree(folder)
    summary(reports)
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
