"""Ratios between figures of the same run: to the ceiling, and to what else there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

FSYNCING = "fsyncing peer"
"""Stands for the fastest peer that fsyncs every commit and stores results, as its facts say."""


@dataclass(frozen=True)
class Ratio:
    """One figure by another; of several that it may be divided by, the largest counts."""

    of: str
    to: str
    among: tuple[str, ...] = ()  # What ``to`` stands for; none: the figure of that name.

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.of} / {self.to}"


def peer(name: str) -> str:
    """The name of a peer's throughput."""
    return f"peer.{name}.throughput"


DURABLE, MEMORY = "throughput.durable.50x64", "throughput.memory.50x64"
RATIOS = (
    Ratio(DURABLE, "relay.batched"),
    Ratio(MEMORY, "relay.batched"),
    Ratio("relay.contract", "relay.batched"),
    Ratio(DURABLE, "relay.contract"),
    Ratio(MEMORY, "relay.contract"),
    Ratio(DURABLE, MEMORY),
    Ratio("throughput.durable.queued", DURABLE),
    Ratio("throughput.durable.varied", DURABLE),
    Ratio("throughput.durable.retention", DURABLE),
    Ratio("closed_loop.memory.p50", "relay.single.p50"),
    Ratio("closed_loop.durable.p50", "relay.single.p50"),
    Ratio("agents.10000.throughput", "agents.50.throughput"),
    Ratio("queued.1000000.throughput", "queued.1000.throughput"),
    Ratio(DURABLE, "JetStream", (peer("nats_jetstream"),)),
    Ratio(DURABLE, FSYNCING),
    Ratio(MEMORY, "NATS core", (peer("nats_core"),)),
    Ratio(MEMORY, "Ray", (peer("ray_actor"), peer("ray_tasks"))),
    Ratio(MEMORY, "AutoGen", (peer("autogen"),)),
    Ratio(MEMORY, "Dask", (peer("dask"),)),
)


def fsyncs_and_stores(figure: Figure) -> bool:
    """Whether a peer promises what a durable upbeat promises: a synced commit, and results that are kept."""
    durability = str(figure.facts.get("durability", ""))
    return all(words in durability for words in ("fsync", "commit", "results stored"))


def is_among(ratio: Ratio) -> Callable[[Figure], bool]:
    """Whether a figure is one that a ratio may be divided by."""
    if ratio.to == FSYNCING:
        return lambda figure: figure.name.endswith(".throughput") and fsyncs_and_stores(figure)
    names = ratio.among or (ratio.to,)
    return lambda figure: figure.name in names


def ratios(figures: Iterable[Figure], wanted: Iterable[Ratio] = RATIOS) -> Iterator[Figure]:
    """The ratios of which both parts were measured; the others are left out."""
    by_name: Mapping[str, Figure] = {figure.name: figure for figure in figures}
    for ratio in wanted:
        divisors = [figure for figure in by_name.values() if figure.value > 0 and is_among(ratio)(figure)]
        if ratio.of in by_name and divisors:
            best = max(divisors, key=lambda figure: figure.value)
            value = round(by_name[ratio.of].value / best.value, 3)
            yield Figure(ratio.name, value, "x", {"of": by_name[ratio.of].value, best.name: best.value})
