"""The scenarios of the benchmark: what each is called, what it needs, and when it is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tests.bench import crowds, dispatch_cost, latency, peers, relay, throughput
from tests.bench.figures import Figure
from tests.bench.ratios import DURABLE
from tests.bench.report import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.bench.figures import Outcome
    from tests.bench.report import Row
    from tests.bench.terms import Terms

Found: TypeAlias = "Mapping[str, float]"
CONSENSUSES_AT_ONCE = 600
PIPELINES_AT_ONCE = 24


@dataclass(frozen=True)
class Scenario:
    """One scenario. Its figures begin with its name, or say more of what it is about."""

    name: str
    run: Callable[[Terms, Found], Iterable[Outcome]]
    is_long: bool = False
    """Too long for a quick run, unless it is asked for by its name."""
    needs: str = ""
    """A scenario that has to run before, because this one goes by what it found."""


def _plain(store: str, agents: int, slots: int, *, is_long: bool = False) -> Scenario:
    name = f"throughput.{store}.{agents}x{slots}"
    return Scenario(name, lambda terms, _: throughput.plain(terms, store, agents, slots), is_long=is_long)


SCENARIOS = (
    Scenario("relay.unary", lambda terms, _: relay.unary(terms)),
    Scenario("relay.stream", lambda terms, _: relay.stream(terms)),
    Scenario("relay.single", lambda terms, _: relay.single(terms)),
    Scenario("relay.batched", lambda terms, _: relay.batched(terms)),
    Scenario("relay.contract", lambda terms, _: throughput.bare(terms)),
    _plain("durable", 50, 64),
    _plain("memory", 50, 64),
    _plain("durable", 500, 16),
    _plain("durable", 2_000, 8, is_long=True),
    Scenario("throughput.durable.queued", lambda terms, _: throughput.queued(terms), is_long=True),
    Scenario("throughput.durable.varied", lambda terms, _: throughput.varied(terms), is_long=True),
    Scenario("throughput.durable.retention", lambda terms, _: throughput.retention(terms), is_long=True),
    Scenario("closed_loop.memory", lambda terms, _: latency.closed_loop(terms, "memory")),
    Scenario("closed_loop.durable", lambda terms, _: latency.closed_loop(terms, "durable")),
    Scenario(
        "half_load", lambda terms, found: latency.half_load(terms, found.get(DURABLE, 0.0)), needs=DURABLE
    ),
    Scenario(
        "collaborations.consensus",
        lambda terms, _: throughput.collaborations(terms, "consensus", CONSENSUSES_AT_ONCE, "consensuses/s"),
    ),
    Scenario(
        "collaborations.pipeline",
        lambda terms, _: throughput.collaborations(terms, "pipeline", PIPELINES_AT_ONCE, "items/s"),
    ),
    Scenario("dispatch", lambda terms, _: dispatch_cost.measure(terms)),
    Scenario("agents.10000", lambda terms, _: crowds.agents(terms), is_long=True),
    Scenario("queued.1000000", lambda terms, _: crowds.queued(terms), is_long=True),
)


def chosen(only: str, terms: Terms, among: Iterable[Scenario]) -> list[Scenario]:
    """Scenarios whose name contains ``only``, and what they need, in the order they are run."""

    def is_left_out(scenario: Scenario) -> bool:
        return terms.is_quick and scenario.is_long and scenario.name != only

    known = list(among)
    names = {each.name for each in known if only in each.name and not is_left_out(each)}
    if not terms.rate:
        names |= {each.needs for each in known if each.name in names and each.needs}
    return [each for each in known if each.name in names]


def rows(scenario: Scenario, terms: Terms, found: Found) -> Iterator[Row]:
    """What a scenario comes to; if it breaks, why, after what it had measured by then."""
    try:
        yield from scenario.run(terms, found)
    except Exception as error:
        yield Failed(scenario.name, f"{type(error).__name__}: {error}")


def peer_rows(only: str, *, is_quick: bool) -> Iterator[Row]:
    """What the peers come to. What cannot be measured is missing; only what never should happen failed."""
    try:
        yield from peers.measure(only, quick=is_quick)
    except Exception as error:
        yield Failed("peer", f"{type(error).__name__}: {error}")


def measure(only: str, terms: Terms, among: Iterable[Scenario] = SCENARIOS) -> Iterator[Row]:
    """Run what is chosen, peers last; a quick run has peers only if they are asked for by name."""
    found: dict[str, float] = {}
    for scenario in chosen(only, terms, among):
        for row in rows(scenario, terms, found):
            if isinstance(row, Figure):
                found[row.name] = row.value
            yield row
    if not terms.is_quick or only.startswith("peer"):
        yield from peer_rows(only, is_quick=terms.is_quick)
