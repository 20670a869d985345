"""The table of a replay: latencies of every policy and measure, medians over fleets of several seeds.

``python -m tests.bench.replay TRACE [...] --load 0.8 --seeds 3``; also written to
``build/bench/replay.json``. A goal that is not met is shown, and fails nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.figures import percentile
from tests.bench.replay import baselines, fleet, scenes, trace
from tests.bench.replay.stage import Outcome, Play, Stage
from upbeat_server.engine.limits import ChoiceRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.replay.trace import Request

OUT = Path("build", "bench", "replay.json")
POLICIES = ("predictive", "least_loaded", "power_of_two", "round_robin", "random", "thompson", "pack")
BOUND, PULL, ORACLE = baselines.BASELINES
DEFAULT, CHURNED = POLICIES[0], f"{POLICIES[0]}, churn"
ROWS_MAX = 100_000
WARM_UP = 0.1
"""Share of the requests, the first ones, that is replayed and not counted."""
P99, MEAN, EXTRA = "p99_s", "mean_s", "extra_runs"

# By load: (figure, of what by what, at most).
GOALS: dict[float, tuple[tuple[str, str, str, float], ...]] = {
    0.8: (
        (P99, DEFAULT, BOUND, 0.70),
        (MEAN, DEFAULT, BOUND, 0.80),
        (P99, DEFAULT, PULL, 0.80),
        (P99, DEFAULT, ORACLE, 1.30),
    ),
    0.9: ((P99, DEFAULT, BOUND, 0.62), (P99, DEFAULT, ORACLE, 1.40)),
}


def figures(latencies_ms: Sequence[int], attempts: int = 0) -> dict[str, float]:
    """Latencies in seconds after the warm-up, and runs beyond one a request as a share of all."""
    seconds = [latency / 1_000 for latency in latencies_ms[int(WARM_UP * len(latencies_ms)) :]]
    return {
        "p50_s": percentile(seconds, 0.5),
        P99: percentile(seconds, 0.99),
        MEAN: sum(seconds) / len(seconds),
        EXTRA: max(0, attempts - len(latencies_ms)) / len(latencies_ms),
    }


def replayed(
    requests: list[Request], simulated: fleet.Fleet, policy: str, play: Play | None = None
) -> Outcome:
    """One replay through the engine."""
    return Stage(requests, simulated, ChoiceRules(policy=policy), play).run()


def one_seed(
    requests: list[Request], simulated: fleet.Fleet, policies: Sequence[str], churn: float
) -> dict[str, dict[str, float]]:
    """What everybody came to with one fleet."""
    found = {name: figures(measure(simulated)) for name, measure in baselines.BASELINES.items()}
    for policy in policies:
        outcome = replayed(requests, simulated, policy)
        found[policy] = figures(outcome.latencies, outcome.attempts)
        if churn:
            outcome = replayed(requests, simulated, policy, Play(churn_per_minute=churn))
            found[f"{policy}, churn"] = figures(outcome.latencies, outcome.attempts)
    return found


def medians(seeds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Each figure's median over the seeds."""
    return {
        name: {figure: round(median(seed[name][figure] for seed in seeds), 3) for figure in row}
        for name, row in seeds[0].items()
    }


def goals(load: float, rows: dict[str, dict[str, float]]) -> list[str]:
    """A line for each goal that concerns this load, and that of extra runs."""
    lines = []
    for figure, of, by, most in GOALS.get(load, ()):
        if of in rows and by in rows:
            ratio = rows[of][figure] / rows[by][figure]
            lines.append(f"{_met(ratio <= most)}: {figure} of {of} {ratio:.2f} x {by} (at most {most:.2f})")
    if DEFAULT in rows:
        extra = rows[DEFAULT][EXTRA]
        lines.append(f"{_met(extra <= 0.05)}: extra runs of {DEFAULT} {extra:.1%} (at most 5 %)")
    rivals = [name for name in rows if name.endswith(", churn") and name != CHURNED]
    if CHURNED in rows and rivals:
        best = min(rivals, key=lambda name: rows[name][P99])
        ahead = rows[CHURNED][P99] <= rows[best][P99]
        lines.append(f"{_met(ahead)}: with churn p99 of {DEFAULT} is not above that of {best}")
    return lines


def staged(requests: list[Request], shape: fleet.Shape, seeds: int) -> dict[str, dict[str, float]]:
    """The scenes of ``scenes.py``, medians over the seeds."""
    found = {}
    for name, scene in scenes.SCENES.items():
        rows = [scene(requests, shape, seed) for seed in range(1, seeds + 1)]
        found[name] = {figure: round(median(row[figure] for row in rows), 3) for figure in rows[0]}
    return found


def sections(found: dict[str, dict[str, float]]) -> str:
    """A table of each scene, and its goals."""
    lines = []
    for name, row in found.items():
        lines += ["", f"| {name} | |", "|---|---:|"]
        lines += [f"| {figure} | {value:.1f} |" for figure, value in row.items()]
        lines.append("")
        for goal in scenes.GOALS[name]:
            value = row[goal.figure] / (max(row[goal.by], 0.001) if goal.by else 1.0)
            of = f" x {goal.by}" if goal.by else ""
            lines.append(f"{_met(value <= goal.most)}: {goal.figure} {value:.2f}{of} (at most {goal.most:g})")
    return "\n".join(lines)


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def table(rows: dict[str, dict[str, float]]) -> str:
    """In Markdown."""
    lines = ["| policy | p50 s | p99 s | mean s | extra runs |", "|---|---:|---:|---:|---:|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['p50_s']:.1f} | {row[P99]:.1f} | {row[MEAN]:.1f} | {row[EXTRA]:.1%} |")
    return "\n".join(lines)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.replay", description=trace.__doc__)
    parser.add_argument(
        "traces", nargs="+", type=Path, metavar="TRACE", help="a CSV file, or a folder of them"
    )
    parser.add_argument("--load", type=float, default=0.8, help="work that arrives by what the fleet can do")
    parser.add_argument("--seeds", type=int, default=3, help="fleets")
    parser.add_argument("--fleet", type=Path, help="a JSON file; see Shape in fleet.py")
    parser.add_argument(
        "--rows", type=int, default=ROWS_MAX, help="the first rows of the trace that are replayed"
    )
    parser.add_argument(
        "--churn", type=float, default=0.0, help="share of agents that leave and come back a minute"
    )
    parser.add_argument(
        "--brief", action="store_true", help="without overload, flood and an agent that degrades"
    )
    parser.add_argument("--policies", nargs="+", default=POLICIES, choices=POLICIES)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay and print; answers the exit code."""
    options = parsed(argv)
    absent = [str(path) for path in options.traces if not path.exists()]
    if absent:
        print(f"SKIPPED: there is no {', '.join(absent)}")
        return 0
    try:
        requests = trace.read(options.traces, options.rows)
        shape = fleet.read(options.fleet) if options.fleet else fleet.Shape()
    except (trace.TraceInvalid, fleet.FleetInvalid) as error:
        print(error, file=sys.stderr)
        return 2
    if not 0 < options.load < 10 or options.seeds < 1:
        print("--load is a share above 0 (and below 10), --seeds at least 1", file=sys.stderr)
        return 2
    seeds = [
        one_seed(requests, fleet.Fleet(shape, requests, options.load, seed), options.policies, options.churn)
        for seed in range(1, options.seeds + 1)
    ]
    rows = medians(seeds)
    fleets = f"{options.seeds} fleets of {shape.agents} agents"
    print(f"{len(requests):,} requests, load {options.load:g}, {fleets}\n")
    print(table(rows), "", *goals(options.load, rows), sep="\n")
    found = {} if options.brief or shape.agents <= scenes.DEGRADED else staged(requests, shape, options.seeds)
    print(sections(found))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    written = {"load": options.load, "medians": rows, "seeds": seeds, "scenes": found}
    OUT.write_text(json.dumps(written, indent=1))
    print(f"\nwritten to {OUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
