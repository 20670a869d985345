"""``python -m tests.soak --minutes N``: runs a soak, writes the report; exit 1 if something grows."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.report import text, write
from tests.soak.soak import Plan, soak

OUT = Path("build/soak")


def main() -> int:
    """One soak from the command line."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--tasks-per-second", type=float, default=Plan.tasks_per_s)
    parser.add_argument("--seed", default=Plan.seed)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    plan = Plan(arguments.minutes * 60, tasks_per_s=arguments.tasks_per_second, seed=arguments.seed)
    with tempfile.TemporaryDirectory(prefix="upbeat-soak-") as folder:
        outcome = asyncio.run(soak(plan, Path(folder)))
    write(outcome, arguments.out)
    sys.stdout.write(f"{text(outcome)}\nwritten to {arguments.out}\n")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
