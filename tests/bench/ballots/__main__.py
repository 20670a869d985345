"""``python -m tests.bench.ballots PATH``: holds the votes, prints the table, writes the JSON file."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.bench.ballots import score
from tests.bench.ballots.draw import RANDOM
from tests.bench.ballots.election import IN_TURN, Result, elect
from tests.bench.ballots.recording import read

FULL = frozenset({"plurality, ties broken", "majority"})
"""Rules that hold nothing back: a plurality that leaves ties open has to wait for ballots that make one."""

OUT = Path("build/bench/ballots.json")
SAVED_MIN = 0.13
"""What deciding early has to save where random panels are asked in turn, weigh the same and have a winner."""


def problems_of(rows: list[score.Row]) -> list[str]:
    """What the figures owe."""
    return [
        f"{row.panels}, {row.rule}, {row.asked}: {row.saved:.1%} of the ballots were saved; at least"
        f" {SAVED_MIN:.0%} are expected"
        for row in rows
        if row.panels == RANDOM and row.rule in FULL and row.asked == IN_TURN and row.saved < SAVED_MIN
    ]


def write(rows: list[score.Row], problems: list[str], out: Path = OUT) -> None:
    """Write all lines."""
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"rows": [row.as_json() for row in rows], "problems": problems}
    out.write_text(json.dumps(document, indent=2) + "\n")


def main() -> int:
    """Run; answers the exit code."""
    parser = argparse.ArgumentParser(prog="tests.bench.ballots")
    parser.add_argument("path", type=Path, help="a CSV file of recorded ballots, also .gz, or its folder")
    parser.add_argument("--questions", type=int, default=0, help="how many are asked; 0 means all")
    parser.add_argument("--seeds", type=int, default=1, help="how many draws of panels and graded questions")
    options = parser.parse_args()
    if not options.path.exists():
        print(f"SKIPPED: there is no {options.path}; name a file of recorded ballots (DATA=path)")
        return 0
    recording = read(options.path)

    def told(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    results: list[Result] = [
        asyncio.run(elect(recording, str(seed), options.questions, told)) for seed in range(options.seeds)
    ]
    rows = [score.mean(same) for same in zip(*(result.rows for result in results), strict=True)]
    problems = [problem for result in results for problem in result.problems] + problems_of(rows)
    write(rows, problems)
    print(f"{score.table(rows)}\n\nwritten to {OUT}")
    print("\n".join(problems[:20]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
