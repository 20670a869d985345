"""Where each planted bug was last found, which is where it is looked for first.

A hint saves the search and proves nothing: when a change moves the runs, the search goes on from seed 1.
``python -m tests.simulation.found`` looks for all of them and writes ``found.json`` anew.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.simulation.bugs import BUGS, planted
from tests.simulation.world import simulate

SEEDS_MAX = 1_000
TABLE = Path(__file__).with_name("found.json")


def hints() -> dict[str, int]:
    """The seed of each bug that was ever found."""
    table: dict[str, int] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def find(name: str, hint: int = 0) -> int | None:
    """A seed that fails with this bug: the hint, or the first of a thousand; None for neither."""
    with planted(name):
        if hint and fails(hint):
            return hint
        return next(filter(fails, range(1, SEEDS_MAX + 1)), None)


def fails(seed: int) -> bool:
    """Whether the run of a seed breaks an invariant."""
    return bool(simulate(seed, stops_early=True).violations)


def main() -> None:
    """Write the table anew; what is still found where it was stays."""
    known, table = hints(), {}
    for name in BUGS:
        seed = find(name, known.get(name, 0))
        print(name, seed or "is not found", flush=True)
        if seed:
            table[name] = seed
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
