"""The ceiling: bare grpc.aio between processes, the same payload, no bookkeeping at all."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tests.bench.figures import Figure
from tests.bench.processes import Busy, Child
from tests.bench.relay_process import Plan
from tests.support.server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.terms import Terms

PROCESS = "tests.bench.relay_process"
LANES = 64
BATCH_ITEMS, WINDOW_FRAMES = 64, 50


@contextmanager
def relay(*, has_worker: bool) -> Iterator[tuple[str, dict[str, list[int]]]]:
    """A relay, and a worker at it where one is wanted; its address, and process ids by role."""
    with ExitStack() as stack:
        address = f"127.0.0.1:{free_port()}"
        server = stack.enter_context(Child(PROCESS, "server", address))
        server.expect("ready")
        pids = {"server": [server.pid]}
        if has_worker:
            worker = stack.enter_context(Child(PROCESS, "worker", address))
            worker.expect("ready")
            pids["worker"] = [worker.pid]
        yield address, pids


def measured(address: str, pids: dict[str, list[int]], plan: Plan) -> tuple[Any, dict[str, float | str]]:
    """What a submitter came to, and how busy everybody was."""
    with Child(PROCESS, "submitter", address, plan.as_json()) as submitter:
        submitter.expect("steady")
        busy = Busy(**pids, caller=[submitter.pid])
        result = submitter.answer()
        return result, {"seconds": round(result["seconds"], 2), **busy.shares()}


def one_at_a_time(name: str, method: str, terms: Terms) -> Iterator[Figure]:
    """p50 and p99 of a round trip with one item under way."""
    with relay(has_worker=method == "Submit") as (address, pids):
        plan = Plan(method, 1, 1, 0.3, terms.latency_seconds)
        result, facts = measured(address, pids, plan)
        facts = {"round_trips": result["counted"], **facts}
        for label in ("p50", "p99"):
            yield Figure(f"{name}.{label}", round(result[label] * 1_000, 3), "ms", facts)


def unary(terms: Terms) -> Iterator[Figure]:
    """A unary call: one at a time, and many."""
    yield from one_at_a_time("relay.unary", "Unary", terms)
    with relay(has_worker=False) as (address, pids):
        plan = Plan("Unary", 1, LANES, 0.5, terms.latency_seconds)
        result, facts = measured(address, pids, plan)
        rate = result["counted"] / result["seconds"]
        yield Figure("relay.unary.rate", round(rate, 1), "calls/s", {"outstanding": float(LANES), **facts})


def stream(terms: Terms) -> Iterator[Figure]:
    """Ping-pong on one stream."""
    yield from one_at_a_time("relay.stream", "Echo", terms)


def single(terms: Terms) -> Iterator[Figure]:
    """Submitter to server to worker and back, one item at a time."""
    yield from one_at_a_time("relay.single", "Submit", terms)


def batched(terms: Terms) -> Iterator[Figure]:
    """The same with full frames and a window of them: the most that could go through."""
    with relay(has_worker=True) as (address, pids):
        plan = Plan("Submit", BATCH_ITEMS, WINDOW_FRAMES, terms.warm_up_s, terms.seconds)
        result, facts = measured(address, pids, plan)
        facts = {"frame_items": float(BATCH_ITEMS), "window": float(BATCH_ITEMS * WINDOW_FRAMES), **facts}
        yield Figure("relay.batched", round(result["counted"] / result["seconds"], 1), "items/s", facts)
