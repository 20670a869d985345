"""``make sim SEED=n RUNS=m``: many runs, or one of them again, word by word.

    python -m tests.simulation --seed 1 --runs 10000      # seeds 1 to 10,000
    python -m tests.simulation --seed 4711                # one seed, with its trace
    python -m tests.simulation --steps 100000000          # until so many steps were made

A seed that fails is printed with its mix and with the faults that it does not need.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.simulation.campaign import Campaign, needed_faults
from tests.simulation.rare import missing
from tests.simulation.world import simulate

REPORT = Path("build/simulation/latest.json")


def main(argv: list[str] | None = None) -> int:
    """Run it; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds")
    parser.add_argument("--steps", type=int, default=0, help="go on until so many engine steps were made")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--trace", action="store_true", help="print every event of the one seed")
    options = parser.parse_args(argv)
    if options.runs == 1 and not options.steps:
        return replay(options.seed, with_trace=options.trace)
    return campaign(options.seed, options.runs, options.steps, options.jobs)


def replay(seed: int, *, with_trace: bool) -> int:
    """One seed, twice, to show that it is the same."""
    report = simulate(seed, keeps_lines=with_trace)
    again = simulate(seed)
    if with_trace:
        print(*report.lines, sep="\n")
    print(f"seed {seed}: {report.mix}")
    print(f"{report.steps:,} steps, {report.virtual_s:,.0f} virtual seconds, trace {report.trace}")
    if again.trace != report.trace:
        print(f"NOT DETERMINISTIC: the second time the trace was {again.trace}")
    for line in report.violations:
        print(f"  {line}")
    if report.violations:
        print(f"  needs: {' '.join(needed_faults(seed)) or 'no fault at all'}")
    return 1 if report.violations or again.trace != report.trace else 0


def campaign(first: int, runs: int, steps: int, jobs: int) -> int:
    """Many seeds, on all processors."""
    began_s = time.monotonic()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    done = 0
    with Campaign(first, None if steps else runs, jobs) as reports:
        for report in reports:
            done += 1
            counts += report.counts
            if report.violations:
                failed.append(report.seed)
                print(f"seed {report.seed} FAILED: {report.mix}", flush=True)
                for line in report.violations[:5]:
                    print(f"  {line}", flush=True)
            if done % 1_000 == 0:
                rate = counts["steps"] / (time.monotonic() - began_s)
                print(f"{done:,} runs, {counts['steps']:,} steps, {rate:,.0f} steps/s", flush=True)
            if steps and counts["steps"] >= steps:
                break
    for seed in failed[:3]:
        print(f"seed {seed} needs: {' '.join(needed_faults(seed)) or 'no fault at all'}")
        print(f"  replay: make sim SEED={seed} ARGS=--trace")
    took_s = time.monotonic() - began_s
    never = missing(counts) if done >= 1_000 else []
    print(
        f"{done:,} runs from seed {first}: {len(failed)} failed; {counts['steps']:,} engine steps, "
        f"{counts['server died']:,} deaths of the server, {took_s:.0f} s"
    )
    for name in never:
        print(f"NEVER HAPPENED: {name}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    told = {"first": first, "runs": done, "failed": failed, "seconds": took_s, "never": never}
    REPORT.write_text(json.dumps({**told, "counts": dict(sorted(counts.items()))}, indent=1) + "\n")
    return 1 if failed or never else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") is None:
        # A run must not depend on it; it is another one every time, and printed to be repeated.
        os.environ["PYTHONHASHSEED"] = str(int.from_bytes(os.urandom(2), "big"))
        print(f"PYTHONHASHSEED={os.environ['PYTHONHASHSEED']}", flush=True)
        sys.exit(subprocess.call([sys.executable, "-m", "tests.simulation", *sys.argv[1:]]))
    sys.exit(main())
