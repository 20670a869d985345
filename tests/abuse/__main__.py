"""``make abuse``: every attack for a while, a table of what ordinary callers noticed.

``python -m tests.abuse [--seconds N] [--only WORD]`` starts one server for each
attack, so that a peak of memory has one cause.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.abuse.attacks import ATTACKS
from tests.abuse.scene import Outcome, Scene
from tests.abuse.siege import Siege
from tests.bench.figures import percentile

OUT = Path("build/abuse.json")
HEAD = (
    "| attack | calls | failed | p50 ms | p99 ms | max ms | dispatch p99 ms | RSS before | peak | after |"
    " what was sent |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
)


def row(name: str, outcome: Outcome) -> str:
    """One line of the table."""
    ms = [f"{percentile(outcome.calls_s, share) * 1_000:.1f}" for share in (0.5, 0.99, 1.0)]
    dispatch = f"{percentile(outcome.dispatches_s, 0.99) * 1_000:.1f}"
    rss = [f"{mib:.0f}" for mib in (outcome.before.rss_mib, outcome.peak_mib, outcome.after.rss_mib)]
    sent = ", ".join(f"{count:,} {what}" for what, count in sorted(outcome.counts.items()))
    cells = [name, len(outcome.calls_s), len(outcome.failures), *ms, dispatch, *rss, sent]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


async def besiege(name: str, seconds: float) -> Outcome:
    """One attack on a fresh server."""
    with tempfile.TemporaryDirectory(prefix="upbeat-abuse-") as folder:
        async with Scene(Path(folder)) as scene:
            return await scene.besiege(ATTACKS.get(name, Siege.rest), seconds)


def main() -> int:
    """Run what is asked for; 1 if a call of an ordinary caller failed or something did not come back."""
    parser = argparse.ArgumentParser(prog="tests.abuse", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack")
    parser.add_argument("--only", default="", help="attacks whose name contains this")
    arguments = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    print(HEAD)
    for name in ("nothing", *ATTACKS):
        if arguments.only not in name:
            continue
        outcome = outcomes[name] = asyncio.run(besiege(name, arguments.seconds))
        print(row(name, outcome), flush=True)
        for problem in outcome.problems():
            print(f"{name}: {problem}", file=sys.stderr, flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({name: outcome.facts() for name, outcome in outcomes.items()}, indent=2) + "\n")
    return int(any(outcome.problems() for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
