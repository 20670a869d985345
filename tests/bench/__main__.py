"""``python -m tests.bench``: runs the scenarios, prints the table, writes it and the JSON file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench.machine import machine
from tests.bench.report import Report, line
from tests.bench.scenarios import measure
from tests.bench.terms import Terms

OUT = Path("build/bench")


def main() -> int:
    """Run what is asked for; answers the exit code."""
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("--quick", action="store_true", help="short windows, no crowds, no peers")
    parser.add_argument("--only", default="", metavar="WORD", help="scenarios whose name contains this")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="tasks/s beside half_load; half of the throughput if unset"
    )
    arguments = parser.parse_args()
    report = Report(machine(), arguments.quick)
    for row in measure(arguments.only, Terms(arguments.quick, arguments.rate)):
        report.add(row)
        print(line(row), file=sys.stderr, flush=True)
    if not report.rows:
        parser.error(f"no scenario of this run is called {arguments.only!r}")
    report.write(OUT)
    print(f"{report.table()}\n\nwritten to {OUT}/latest.json and {OUT}/latest.md")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
