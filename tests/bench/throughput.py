"""Tasks a second: submitted, assigned, answered, and observed by the caller."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from tests.bench.caller import Load
from tests.bench.figures import Figure
from tests.bench.processes import PATIENCE_S, Busy, Child, agents_process, server
from tests.bench.work import FAIRNESS_KEYS
from tests.support.server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.terms import Terms
    from tests.support.server_process import ServerProcess

CALLER = "tests.bench.caller"
ECHO = "tests.bench.echo_agents"
BARE = "tests.bench.bare_server"
WINDOW = 10_000
"""Submissions of one stream that a server allows unless it is told otherwise."""
AGENTS_A_PROCESS = 1_000
RETENTION_MS, PURGE_MS = 1_000, 250
SAMPLE_S = 0.25


@contextmanager
def echo_fleet(
    address: str, agents: int, slots: int, *options: object, patience_s: float = PATIENCE_S
) -> Iterator[list[Child]]:
    """Echo agents that are all connected, in as many processes as they need."""
    processes = -(-agents // AGENTS_A_PROCESS)
    with ExitStack() as stack:
        fleet = []
        for number in range(processes):
            terms = (agents // processes, slots, "--prefix", f"echo-{number}", *options)
            fleet.append(stack.enter_context(agents_process(ECHO, address, *terms, patience_s=patience_s)))
        yield fleet


def steady(
    process: ServerProcess | Bare, fleet: Sequence[Child], load: Load
) -> tuple[float, dict[str, float | str]]:
    """What a caller observes per second, and facts: how it went on, and how busy everybody was."""
    with Child(CALLER, process.address, load.as_json()) as caller:
        caller.expect("steady")
        busy = Busy(server=[process.pid], agents=[agents.pid for agents in fleet], caller=[caller.pid])
        for agents in fleet:
            agents.say("mark")
            agents.expect("marked")
        result = caller.answer()
        shares = busy.shares()
        for agents in fleet:
            agents.say("report")
        results = sum(agents.answer()["results"] for agents in fleet)
        facts: dict[str, float | str] = {
            "window": float(load.window),
            "seconds": round(result["seconds"], 2),
            "slowest_second": result["slowest_second"],
            "results_per_second": round(results / result["seconds"], 1),
            **shares,
        }
        return round(result["counted"] / result["seconds"], 1), facts


def fleet_throughput(
    terms: Terms, name: str, store: str, shape: tuple[int, int], *, work: str = "plain", queued: int = 0
) -> Iterator[Figure]:
    """Throughput of a fleet of ``shape`` agents x slots, all of which the caller keeps busy."""
    agents, slots = shape
    load = Load(work, agents * slots + queued, terms.warm_up_s, terms.seconds)
    settings = {"runtime.streams.window": max(WINDOW, load.window)}
    with server(store, settings) as process, echo_fleet(process.address, agents, slots) as fleet:
        rate, facts = steady(process, fleet, load)
        yield Figure(name, rate, "tasks/s", {**facts, "queued": float(queued)} if queued else facts)


class Bare:
    """A process that speaks the contract and has nothing behind it."""

    def __init__(self, child: Child, address: str) -> None:
        self.pid = child.pid
        self.address = address


def bare(terms: Terms) -> Iterator[Figure]:
    """The contract with nothing behind it: what a server in Python could come to at most."""
    agents, slots = 50, 64
    address = f"127.0.0.1:{free_port()}"
    load = Load("plain", agents * slots, terms.warm_up_s, terms.seconds)
    with Child(BARE, address) as child:
        child.expect("ready")
        with echo_fleet(address, agents, slots) as fleet:
            rate, facts = steady(Bare(child, address), fleet, load)
            yield Figure("relay.contract", rate, "tasks/s", facts)


def plain(terms: Terms, store: str, agents: int, slots: int) -> Iterator[Figure]:
    """Tasks that are all alike."""
    yield from fleet_throughput(terms, f"throughput.{store}.{agents}x{slots}", store, (agents, slots))


def queued(terms: Terms) -> Iterator[Figure]:
    """20,000 tasks wait throughout."""
    yield from fleet_throughput(terms, "throughput.durable.queued", "durable", (50, 64), queued=20_000)


def varied(terms: Terms) -> Iterator[Figure]:
    """Labels, selectors, and many fairness keys."""
    name = "throughput.durable.varied"
    for figure in fleet_throughput(terms, name, "durable", (50, 64), work="varied"):
        figure.facts["fairness_keys"] = float(FAIRNESS_KEYS)
        yield figure


class StoreSamples:
    """How many tasks are in a store file, looked at again and again in a thread."""

    def __init__(self, address: str) -> None:
        self._path = address.removeprefix("sqlite:")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.counts: list[int] = []

    def _run(self) -> None:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as store:
            while not self._ended.wait(SAMPLE_S):
                self.counts.append(store.execute("select count(*) from task").fetchone()[0])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def purged(counts: Sequence[int], finished: int) -> dict[str, float]:
    """Facts that show purges, by how many tasks were in the store again and again while ``finished`` ended.

    Raises RuntimeError where they do not.
    """
    if max(counts) > finished:
        raise RuntimeError(f"of {finished:,} finished tasks {max(counts):,} were in the store at once")
    fewer = sum(later < earlier for earlier, later in pairwise(counts))
    if not fewer:
        raise RuntimeError("the tasks in the store never became fewer")
    return {
        "times_fewer": float(fewer),
        "tasks_in_store_min": float(min(counts)),
        "tasks_in_store_max": float(max(counts)),
        "tasks_finished": float(finished),
    }


def retention(terms: Terms) -> Iterator[Figure]:
    """Finished tasks are purged all the while."""
    settings = {
        "engine.retention.finished_ms": RETENTION_MS,
        "engine.retention.purge_interval_ms": PURGE_MS,
    }
    load = Load("plain", 3_200, max(terms.warm_up_s, 2 * RETENTION_MS / 1_000), max(terms.seconds, 4.0))
    with (
        server("durable", settings) as process,
        echo_fleet(process.address, 50, 64) as fleet,
        StoreSamples(process.store) as samples,
    ):
        rate, facts = steady(process, fleet, load)
    in_window = samples.counts[-int(load.seconds / SAMPLE_S) :]
    facts = {
        **facts,
        "retention_s": RETENTION_MS / 1_000,
        "retention_periods": round(load.seconds * 1_000 / RETENTION_MS, 1),
        **purged(in_window, round(rate * load.seconds)),
    }
    yield Figure("throughput.durable.retention", rate, "tasks/s", facts)


def collaborations(terms: Terms, name: str, window: int, unit: str) -> Iterator[Figure]:
    """Collaborations in bulk on agents that echo."""
    load = Load(name, window, terms.warm_up_s, terms.seconds)
    with server("durable") as process, echo_fleet(process.address, 50, 64) as fleet:
        rate, facts = steady(process, fleet, load)
        yield Figure(f"collaborations.{name}", rate, unit, facts)
