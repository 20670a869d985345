"""How long things take: one task at a time, and calls beside a server that is busy and full."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.bench.asker import HELD, Plan
from tests.bench.caller import Load
from tests.bench.figures import Figure
from tests.bench.processes import Busy, Child, agents_process, server
from tests.bench.throughput import CALLER, ECHO, echo_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.terms import Terms

ASKER = "tests.bench.asker"
WARM_UP_S = 0.5
CALLS_PER_SECOND = 100.0
HOLDING_AGENTS, HELD_EACH = 100, 50
RATE_KEPT_MIN = 0.95
"""Share of the wanted rate that has to be done: below it, latencies are those of a growing queue."""
FOR_EVER_S = 3_600.0


def percentile_figures(
    name: str, result: dict[str, float], facts: dict[str, float | str]
) -> Iterator[Figure]:
    """p50, p99 and the largest, in ms, of a result in s."""
    for label in ("p50", "p99", "max"):
        yield Figure(f"{name}.{label}", round(result[label] * 1_000, 3), "ms", facts)


def closed_loop(terms: Terms, store: str) -> Iterator[Figure]:
    """Submission to result at the caller, one task at a time."""
    load = Load("plain", 1, WARM_UP_S, terms.latency_seconds)
    with server(store) as process, echo_fleet(process.address, 1, 1) as fleet:
        with Child(CALLER, process.address, load.as_json()) as caller:
            caller.expect("steady")
            busy = Busy(server=[process.pid], agents=[fleet[0].pid], caller=[caller.pid])
            result = caller.answer()
            facts = {"tasks": result["counted"], **busy.shares()}
        yield from percentile_figures(f"closed_loop.{store}", result, facts)


def half_load(terms: Terms, throughput: float) -> Iterator[Figure]:
    """Unary calls at a fixed rate, while work comes at half of the rate that was measured and much waits."""
    rate = terms.rate or throughput / 2
    plan = Plan(
        HOLDING_AGENTS * HELD_EACH,
        20_000 if terms.is_quick else 100_000,
        CALLS_PER_SECOND,
        1.0,
        3.0 if terms.is_quick else 20.0,
    )
    load = Load("plain", warm_up_s=WARM_UP_S, seconds=FOR_EVER_S, per_second=rate)
    hold = (HOLDING_AGENTS, HELD_EACH, "--hold", "--offers", HELD, "--prefix", "hold")
    with ExitStack() as stack:
        process = stack.enter_context(server("durable"))
        (agents,) = stack.enter_context(echo_fleet(process.address, 50, 64, "--stamped"))
        stack.enter_context(agents_process(ECHO, process.address, *hold))
        asker = stack.enter_context(Child(ASKER, process.address, plan.as_json()))
        told = asker.answer()
        yield Figure("half_load.fill", round(told["rate"], 1), "tasks/s", {"batch": 1_000.0})
        caller = stack.enter_context(Child(CALLER, process.address, load.as_json()))
        caller.expect("steady")
        asker.say("go")
        asker.expect("steady")
        agents.say("mark")
        agents.expect("marked")
        busy = Busy(server=[process.pid], agents=[agents.pid], caller=[caller.pid], asker=[asker.pid])
        asked = asker.answer()
        agents.say("report")
        heard = agents.answer()
        facts: dict[str, float | str] = {
            "running": float(told["running"]),
            "queued": float(told["queued"]),
            "calls_per_second": CALLS_PER_SECOND,
            "work_per_second": round(heard["results"] / plan.seconds, 1),
            **busy.shares(),
        }
        yield from half_load_figures(asked, heard, rate, facts)


def half_load_figures(
    asked: dict[str, Any], heard: dict[str, float], rate: float, facts: dict[str, float | str]
) -> Iterator[Figure]:
    """Latencies, unless the work could not be done at the rate it came."""
    if float(facts["work_per_second"]) < RATE_KEPT_MIN * rate:
        raise RuntimeError(f"of {rate:,.0f} tasks/s only {facts['work_per_second']:,} were done")
    yield from percentile_figures("half_load.submit", asked["submit"], facts)
    yield from percentile_figures("half_load.get", asked["get"], facts)
    yield from percentile_figures(
        "half_load.queue_to_agent", heard, {"samples": float(heard["samples"]), **facts}
    )
