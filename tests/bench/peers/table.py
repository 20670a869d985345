"""The table of the peers alone: one line each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.bench.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.bench.figures import Outcome

HEAD = (
    "| peer | tasks/s | p50 ms | p99 ms | durable | worker | outstanding | CPU shares |",
    "|---|---:|---:|---:|---|---|---|---|",
)
SHARE = "_cpu_share"


def table(outcomes: Iterable[Outcome]) -> str:
    """All peers as Markdown, the missing ones with the reason."""
    figures: dict[str, dict[str, Figure]] = defaultdict(dict)
    lines = list(HEAD)
    missing = []
    for outcome in outcomes:
        if isinstance(outcome, Figure):
            peer, _, measure = outcome.name.removeprefix("peer.").rpartition(".")
            figures[peer][measure] = outcome
        else:
            missing.append(f"| {outcome.name.removeprefix('peer.')} | missing: {outcome.why} |||||||")
    for peer, by_measure in figures.items():
        throughput, facts = by_measure["throughput"], by_measure["throughput"].facts
        shares = ", ".join(
            f"{fact.removesuffix(SHARE)} {value:g}" for fact, value in facts.items() if fact.endswith(SHARE)
        )
        cells = [
            f"{peer} ({facts['version']}; {facts['broker']})",
            f"{throughput.value:,.0f}",
            f"{by_measure['p50'].value:g}",
            f"{by_measure['p99'].value:g}",
            *(str(facts[fact]) for fact in ("durability", "worker", "outstanding")),
            shares,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *missing])
