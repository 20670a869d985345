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

from tests.bench.replay import baselines, fleet, scenes, trace
from tests.bench.replay.latencies import EXTRA, MEAN, P99, figures
from tests.bench.replay.stage import Stage
from upbeat_server.engine.limits import ChoiceRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.replay.trace import Request

OUT = Path("build", "bench", "replay.json")
POLICIES = (scenes.DEFAULT, "least_loaded", "power_of_two", "round_robin", "random", "thompson", "pack")
BOUND, PULL, ORACLE = baselines.BASELINES
DEFAULT = scenes.DEFAULT
ROWS_MAX = 100_000
CHURN_MAX = 2

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


def one_seed(
    requests: list[Request], simulated: fleet.Fleet, policies: Sequence[str]
) -> dict[str, dict[str, float]]:
    """What everybody came to with one fleet."""
    found = {name: figures(measure(simulated)) for name, measure in baselines.BASELINES.items()}
    for policy in policies:
        outcome = Stage(requests, simulated, ChoiceRules(policy=policy)).run()
        found[policy] = figures(outcome.latencies, outcome.attempts)
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
    return lines


def staged(
    requests: list[Request], shape: fleet.Shape, seeds: int, terms: scenes.Terms
) -> dict[str, dict[str, float]]:
    """The scenes of ``scenes.py``, medians over the seeds."""
    found = {}
    for name, scene in scenes.SCENES.items():
        rows = [scene(requests, shape, seed, terms) for seed in range(1, seeds + 1)]
        found[name] = {figure: round(median(row[figure] for row in rows), 3) for figure in rows[0]}
    return found


def sections(found: dict[str, dict[str, float]]) -> str:
    """A table of each scene, and its goals."""
    lines = []
    for name, row in found.items():
        if not row:
            lines += ["", f"{name}: not played with this fleet and these options"]
            continue
        lines += ["", f"| {name} | |", "|---|---:|"]
        lines += [f"| {figure} | {value:.1f} |" for figure, value in row.items()]
        lines.append("")
        for goal in scenes.GOALS[name]:
            lines.append(_judged(goal, row))
    return "\n".join(lines)


def _judged(goal: scenes.Goal, row: dict[str, float]) -> str:
    by = min(goal.by, key=row.__getitem__, default="")
    value, of = row[goal.figure], ""
    if by:
        value, of = value / max(row[by], 0.001), f" x {by}"
        if row[by] < goal.by_least:
            return f"not judged: {goal.figure} {value:.2f}{of}, which is below {goal.by_least:g}"
    return f"{_met(value <= goal.most)}: {goal.figure} {value:.2f}{of} (at most {goal.most:g})"


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def table(rows: dict[str, dict[str, float]]) -> str:
    """In Markdown."""
    lines = ["| policy | p50 s | p99 s | mean s | extra runs |", "|---|---:|---:|---:|---:|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['p50_s']:.1f} | {row[P99]:.1f} | {row[MEAN]:.1f} | {row[EXTRA]:.1%} |")
    return "\n".join(lines)


def mix(text: str) -> tuple[float, ...]:
    """Classes of the overload."""
    try:
        return scenes.mix_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
        "--churn",
        type=float,
        default=0.1,
        help="share of the agents that leave a minute in that scene; 0: no scene",
    )
    parser.add_argument(
        "--mix", type=mix, default=scenes.Terms().mix, help="classes of the overload, 5/15/65/15 by default"
    )
    parser.add_argument(
        "--brief", action="store_true", help="without churn, overload, flood and an agent that degrades"
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
    if not 0 <= options.churn <= CHURN_MAX:
        print(f"--churn is a share of the agents a minute, from 0 to {CHURN_MAX}", file=sys.stderr)
        return 2
    fleets = [fleet.Fleet(shape, requests, options.load, seed) for seed in range(1, options.seeds + 1)]
    seeds = [one_seed(requests, simulated, options.policies) for simulated in fleets]
    rows = medians(seeds)
    print(
        f"{len(requests):,} requests in {fleets[0].span_s / 60:.1f} min, load {options.load:g}, medians of "
        f"{options.seeds}: {shape.agents} agents x {shape.slots} slots\n"
    )
    print(table(rows), "", *goals(options.load, rows), sep="\n")
    terms = scenes.Terms(options.load, options.churn, options.mix)
    found = {} if options.brief else staged(requests, shape, options.seeds, terms)
    print(sections(found))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    written = {"load": options.load, "medians": rows, "seeds": seeds, "scenes": found}
    OUT.write_text(json.dumps(written, indent=1))
    print(f"\nwritten to {OUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
