"""``python -m tests.bench.peers``: measures the peers alone and prints their table."""

from __future__ import annotations

import argparse
import sys

from tests.bench.figures import Figure
from tests.bench.peers import measure
from tests.bench.peers.table import table


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="tests.bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter windows: for a first look")
    parser.add_argument("--only", default="", help="peers whose name (peer.nats_core) contains this")
    arguments = parser.parse_args()
    outcomes = []
    for outcome in measure(arguments.only, quick=arguments.quick):
        seen = (
            f"{outcome.value:,g} {outcome.unit}" if isinstance(outcome, Figure) else f"missing: {outcome.why}"
        )
        sys.stderr.write(f"{outcome.name}: {seen}\n")
        outcomes.append(outcome)
    sys.stdout.write(f"{table(outcomes)}\n")


if __name__ == "__main__":
    main()
