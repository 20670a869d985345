"""Many of something: 10,000 agents that are connected, 1,000,000 tasks that wait."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.bench.caller import Load
from tests.bench.figures import Figure
from tests.bench.fill import fill, stats_when
from tests.bench.processes import PATIENCE_S, Busy, Child, resident_bytes, server
from tests.bench.throughput import ECHO, echo_fleet, steady
from tests.bench.work import PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.terms import Terms
    from tests.support.server_process import ServerProcess

AGENTS = 10_000
AGENT_PROCESSES = 2
STREAMS = 100
"""On one connection, as many as a server allows."""
IDLE_S = 10.0
WORKING = (50, 64)
QUEUED = 1_000_000
QUEUED_FEW = 1_000
RESTART_PATIENCE_S = 300.0


def agents(terms: Terms) -> Iterator[Figure]:
    """How soon 10,000 agents are welcome, what they cost idle, and what they cost others that work."""
    load = Load("plain", WORKING[0] * WORKING[1], terms.warm_up_s, terms.seconds)
    with server("durable") as process, echo_fleet(process.address, *WORKING) as fleet:
        alone, alone_facts = steady(process, fleet, load)
        yield Figure("agents.50.throughput", alone, "tasks/s", alone_facts)
    with ExitStack() as stack:
        process = stack.enter_context(server("durable"))
        fleet = stack.enter_context(echo_fleet(process.address, *WORKING))
        yield from idle_agents(stack, process)
        rate, facts = steady(process, fleet, load)
        yield Figure("agents.10000.throughput", rate, "tasks/s", {"connected": float(AGENTS), **facts})


def idle_agents(stack: ExitStack, process: ServerProcess, patience_s: float = PATIENCE_S) -> Iterator[Figure]:
    """Connect agents that nobody needs, until with those that work there are 10,000; the stack ends them."""
    idle = AGENTS - WORKING[0]
    before = resident_bytes(process.pid)
    began = time.monotonic()
    cpu = Busy(server=[process.pid])
    terms = (process.address, idle // AGENT_PROCESSES, 1, "--offers", "rest", "--streams", STREAMS)
    # They connect at the same time: nobody is waited for before all have been started.
    fleets = [
        stack.enter_context(Child(ECHO, *terms, "--prefix", f"idle-{number}", patience_s=patience_s))
        for number in range(AGENT_PROCESSES)
    ]
    for fleet in fleets:
        fleet.expect("ready")
    took = time.monotonic() - began
    facts: dict[str, float | str] = {
        "agents": float(idle),
        "agent_processes": float(AGENT_PROCESSES),
        **cpu.shares(),
    }
    yield Figure("agents.10000.welcome", round(took, 2), "s", facts)
    for fleet in fleets:
        fleet.say("mark")
        fleet.expect("marked")
    busy = Busy(server=[process.pid], agents=[fleet.pid for fleet in fleets])
    time.sleep(IDLE_S)
    shares = busy.shares()
    for fleet in fleets:
        fleet.say("report")
    beats = sum(fleet.answer()["beats"] for fleet in fleets)
    told = asyncio.run(stats_when(process.address, lambda _: True))
    connected = told.agents_by_state["CONNECTED"]
    if connected < AGENTS:
        raise RuntimeError(f"{connected:,} agents are connected; {AGENTS:,} should be")
    facts = {"seconds": IDLE_S, "heartbeats": float(beats), "agents_cpu": shares["agents_cpu"]}
    yield Figure("agents.10000.idle_cpu", shares["server_cpu"], "cores", facts)
    grown = resident_bytes(process.pid) - before
    yield Figure("agents.10000.bytes_each", round(grown / idle), "bytes", {"agents": float(idle)})


def queued(terms: Terms) -> Iterator[Figure]:
    """What a million tasks that wait cost: filling, memory, dispatch among them, a restart."""
    window = WORKING[0] * WORKING[1] + QUEUED_FEW
    load = Load("urgent", window, terms.warm_up_s, terms.seconds)
    settings = {"engine.bounds.queue_tasks_max": 2 * QUEUED, "engine.bounds.queue_bytes_max": 16 << 30}
    with server("durable", settings) as process, echo_fleet(process.address, *WORKING) as fleet:
        _, facts = steady(process, fleet, load)
        yield dispatched("queued.1000.throughput", facts)
    with server("durable", settings) as process:
        before = resident_bytes(process.pid)
        began = time.monotonic()
        cpu = Busy(server=[process.pid])
        asyncio.run(fill(process.address, "echo", QUEUED))
        took = time.monotonic() - began
        yield Figure("queued.1000000.fill", round(QUEUED / took, 1), "tasks/s", {**cpu.shares()})
        grown = resident_bytes(process.pid) - before
        each = round(grown / QUEUED - PAYLOAD_BYTES)
        yield Figure("queued.1000000.bytes_each", each, "bytes", {"payload_bytes": float(PAYLOAD_BYTES)})
        with echo_fleet(process.address, *WORKING) as fleet:
            _, facts = steady(process, fleet, load)
            yield dispatched("queued.1000000.throughput", facts)
        yield restart(process)


def dispatched(name: str, facts: dict[str, float | str]) -> Figure:
    """Throughput as the agents saw it: what is overdue goes before a caller's urgent tasks now and then."""
    return Figure(name, float(facts["results_per_second"]), "tasks/s", facts)


def restart(process: ServerProcess) -> Figure:
    """From the start of the process until it answers with all that waits."""
    told = asyncio.run(stats_when(process.address, lambda stats: not stats.tasks_by_state["RUNNING"]))
    waiting = told.tasks_by_state["QUEUED"]
    process.stop()
    process.patience_s = RESTART_PATIENCE_S
    began = time.monotonic()
    process.start()
    is_back = stats_when(
        process.address, lambda stats: stats.tasks_by_state["QUEUED"] >= waiting, RESTART_PATIENCE_S
    )
    asyncio.run(is_back)
    took = time.monotonic() - began
    facts: dict[str, float | str] = {"queued": float(waiting), "listening_s": round(process.ready_s, 2)}
    return Figure("queued.1000000.restart", round(took, 2), "s", facts)
