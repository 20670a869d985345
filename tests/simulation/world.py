"""One run: from a seed to a report.

Fault phase, healing, then everything that was begun must end: every task whose agent
there is, every call, every stream; no slot stays taken, and the server stops in good
order.
"""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec

import upbeat.backoff
from tests.simulation.callers import Reader, Submitter, Watcher
from tests.simulation.claims import Claims
from tests.simulation.disk import Disk
from tests.simulation.eager import hedging_of
from tests.simulation.feeder import Feeder
from tests.simulation.fleet import Crew
from tests.simulation.ledger import Ledger
from tests.simulation.logs import defects_logged
from tests.simulation.mix import draw
from tests.simulation.network import Network
from tests.simulation.order import Order
from tests.simulation.server_host import ServerHost, SimulatedClock
from tests.simulation.trouble import Trouble
from tests.simulation.virtual_loop import START_S, Stuck, VirtualLoop
from tests.simulation.workload import specs_of
from upbeat_server.engine.limits import Bounds, ChoiceRules, Delivery, Graces, Limits, Ordering, Retention
from upbeat_server.runtime import orchestrator as orchestrator_module
from upbeat_server.runtime.bounds import LoopBounds, RuntimeBounds, StreamBounds, WatchBounds

if TYPE_CHECKING:
    from tests.simulation.mix import Mix
    from upbeat_server.engine.model import TaskRecord

HEALED_S = 1_500.0
"""Virtual seconds after healing within which everything must have ended."""
STOP_S = 120.0
VIOLATIONS_MAX = 20


@dataclass
class Report:
    """What a run came to."""

    seed: int
    mix: str
    violations: list[str] = field(default_factory=list)
    trace: str = ""
    steps: int = 0
    callbacks: int = 0
    virtual_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> set[int]:
        """Which invariants were broken."""
        return {int(line.split(":", 1)[0].removeprefix("invariant ")) for line in self.violations}


class World:
    """Everybody who takes part in one run."""

    def __init__(self, mix: Mix, *, keeps_lines: bool = False, stops_early: bool = False) -> None:
        self.mix = mix
        self._stops_early = stops_early
        self.report = Report(mix.seed, mix.describe())
        self._hash = blake2b(digest_size=16)
        self._keeps_lines = keeps_lines
        self.loop = VirtualLoop(mix.rng("scheduler"), mix.shuffle)
        self.limits, self.bounds = limits_of(mix)
        self.ledger = Ledger(self.fail, self.limits.bounds.lease_losses_max)
        self.ledger.trace = self.trace
        self.claims = Claims(self.ledger, self.fail)
        self.network = Network(self.loop, mix.rng("network"), mix.wire)
        self.disk = Disk(mix.rng("disk"), mix.store, self.ledger)
        self.order = Order(self.fail, self.trace, is_fair=mix.is_fair)
        self.order.when_sent = self.ledger.letters.sent
        self.server: ServerHost | None = None
        self.servers = 0
        self.crew = Crew(self)
        self.submitters: list[Submitter] = []
        self.reader = Reader(
            "reader", self.network, self.claims, mix.rng("reader"), self.ledger, 0.4 * mix.strength("cancels")
        )
        self.watcher = Watcher("watcher", self.network, self.claims, mix.rng("watcher"))
        self.feeder = Feeder("feeder", self.network, self.claims, mix.rng("feeder"), self.ledger)
        self.trouble = Trouble(self)

    def fail(self, number: int, words: str) -> None:
        """An invariant does not hold."""
        if len(self.report.violations) < VIOLATIONS_MAX and not self.loop.is_closed():
            at_s = self.loop.time() - START_S
            self.report.violations.append(f"invariant {number}: {words} (at {at_s:.3f} s)")

    def trace(self, line: str) -> None:
        """Something happened; the same seed gives the same lines."""
        self._hash.update(line.encode())
        if self._keeps_lines:
            self.report.lines.append(f"{self.loop.time() - START_S:10.3f}  {line}")

    # The server.

    def start_server(self) -> None:
        """A new process."""
        self.servers += 1
        rng = self.mix.rng(f"server-{self.servers}")
        wrong_by_ms = 0
        if self.mix.has("clock_jumps") and not self.disk.is_healed:
            wrong_by_ms = rng.randrange(-3_600_000, 3_600_000)
        clock = SimulatedClock(self.loop, rng, wrong_by_ms)
        self.server = ServerHost(
            self.servers, self.network, self.disk, clock, self.limits, self.bounds, self.claims.leaves
        )
        self.trace(f"server {self.servers}")
        self.loop.start(self.server.host, self._serve(self.server))

    async def _serve(self, server: ServerHost) -> None:
        await server.serve()
        self._compare_recovered(server)

    def _compare_recovered(self, server: ServerHost) -> None:
        """What was recovered is what was durable."""
        assert server.orchestrator is not None
        durable = {
            life.task_id: without_counts(life.last)
            for life in self.ledger.lives.values()
            if not life.is_finished
        }
        recovered = {
            task_id: without_counts(task.record)
            for namespace in server.orchestrator._catalog.all()
            for task_id, task in namespace.engine.tasks.items()
        }
        if durable != recovered:
            self.fail(9, f"{len(recovered)} tasks were recovered of {len(durable)} that were durable")
        for namespace in server.orchestrator._catalog.all():
            for words in self.ledger.letters.recovered_faults(namespace.engine):
                self.fail(9, words)
            for group in namespace.engine.groups.values():
                for words in self.ledger.family.recovered_faults(group):
                    self.fail(9, words)

    def kill_server(self) -> None:
        """SIGKILL, or the power."""
        server = self.server
        if server is None:
            return
        if not server.is_serving:
            self.order.counts["server died in recovery"] += 1
        self.order.counts["server died"] += 1
        self.trace(f"kill {self.servers}")
        self.server = None
        self.network.listener = None
        self.loop.kill(server.host)
        self.network.lose(server.host)

    # The run.

    def run(self) -> Report:
        """From beginning to end."""
        upbeat.backoff.RNG.seed(f"{self.mix.seed}/backoff")
        with (
            defects_logged(lambda words: self.fail(10, words)),
            self.order.watching(),
            hedging_of(self.mix),
            # It would put the rubbish of all runs before this one out of the collector's reach.
            patch.object(orchestrator_module, "quiet_collector", nullcontext),
        ):
            try:
                self._run()
            except Stuck as error:
                self.fail(10, f"stuck: {error}; {self._who_waits()}")
            finally:
                self.loop.end()
        for words in self.loop.failures:
            self.fail(10, words)
        report = self.report
        report.trace = self._hash.hexdigest()
        report.steps = self.order.counts["steps"]
        report.callbacks = self.loop.steps
        report.virtual_s = self.loop.time() - START_S
        report.counts = self.order.counts + self.claims.counts + self.disk.counts + self.ledger.family.counts
        report.counts += self.ledger.letters.counts
        return report

    def _run(self) -> None:
        mix = self.mix
        self.start_server()
        self.crew.come()
        for number, specs in enumerate(specs_of(mix)):
            name = f"submitter-{number}"
            submitter = Submitter(name, self.network, self.claims, mix.rng(name), specs)
            self.submitters.append(submitter)
            self.loop.start(submitter.host, submitter.work())
        self.loop.start(self.reader.host, self.reader.work())
        self.loop.start(self.watcher.host, self.watcher.work())
        if mix.has("collaborations"):
            self.loop.start(self.feeder.host, self.feeder.work())
        self.loop.start(self.loop.world, self.trouble.run())
        self.loop.run_until(self._is_enough, START_S + mix.duration_s)
        if self._is_enough():
            return
        self._heal()
        if not self.loop.run_until(self._is_over, self.loop.time() + HEALED_S):
            self.fail(10, f"did not end after healing: {self._who_waits()}")
            return
        if self._is_enough():
            return
        self._close()
        self.claims.check()

    def _heal(self) -> None:
        self.trace("heal")
        self.trouble.end()
        self.disk.heal()
        self.network.heal()
        self.mix.wire.stall_share = 0.0
        if self.mix.wire.is_hostile:
            self.mix.wire.is_hostile = False
            for wire in self.network.wires.all():
                wire.tear()
        if self.server is not None and self.server.is_stopping:
            self.kill_server()
        if self.server is None:
            self.start_server()
        elif self.server.host.is_frozen:
            self.loop.thaw(self.server.host)
        self.crew.heal()
        self.reader.pause_s = 30.0
        self.reader.only_looks = True

    def _is_enough(self) -> bool:
        return self._stops_early and bool(self.report.violations)

    def _is_over(self) -> bool:
        if self._is_enough():
            return True
        if not all(submitter.is_done for submitter in self.submitters):
            return False
        if self.claims.unfinished() or self.server is None or not self.server.is_serving:
            return False
        if self.watcher.revision < self.ledger.revision:
            return False
        if self.crew.unanswered():
            return False
        engines = self._engines()
        if any(engine.tasks for engine in engines):
            return False  # One that was submitted and is not durable yet.
        return not any(agent.in_use for engine in engines for agent in engine.fleet.agents.values())

    def _engines(self) -> list[Any]:
        server = self.server
        if server is None or server.orchestrator is None:
            return []
        return [namespace.engine for namespace in server.orchestrator._catalog.all()]

    def _who_waits(self) -> str:
        words = [f"submitter {each.host.name}" for each in self.submitters if not each.is_done]
        words += [
            f"task {life.task_id:016x} state {life.last.state} attempt {life.last.attempt}"
            for life in self.claims.unfinished()
        ]
        words += [f"{agent.host.name} keeps {count} results" for agent, count in self.crew.unanswered()]
        for engine in self._engines():
            for agent in engine.fleet.agents.values():
                if agent.in_use:
                    words.append(f"{agent.agent_id} {agent.state.name} holds {agent.in_use}")
        if self.watcher.revision < self.ledger.revision:
            words.append(f"watcher at {self.watcher.revision} of {self.ledger.revision}")
        return "; ".join(words[:8])

    def _close(self) -> None:
        """Nothing is left behind, and all leave in good order."""
        server = self.server
        assert server is not None
        for missed in self.watcher.missed(self.ledger)[:3]:
            self.fail(11, f"the watcher was not told of {missed}")
        for topic in self.ledger.letters.leftovers():
            self.fail(13, f"{topic} has outlived its collaboration")
        for engine in self._engines():
            for name, left in leftovers(engine):
                self.fail(10, f"{name} is left behind: {left}")
        self.reader.is_leaving = self.watcher.is_leaving = self.feeder.is_leaving = True
        self.crew.leave()
        stopping = self.loop.start(server.host, server.stop())
        if not self.loop.run_until(stopping.done, self.loop.time() + STOP_S):
            self.fail(10, "the server does not stop")
        elif stopping.exception() is not None:
            self.fail(10, f"the server stopped with {stopping.exception()!r}")
        for name, words in self.crew.overruns():
            self.fail(4, f"{name} {words}")


def without_counts(record: TaskRecord) -> TaskRecord:
    """A record as it is compared: how many children have ended is counted again, see ``recovered_faults``."""
    if record.group is None:
        return record
    group = msgspec.structs.replace(record.group, live=0, completed=0, failed=0, cancelled=0)
    return msgspec.structs.replace(record, group=group)


def leftovers(engine: Any) -> list[tuple[str, int]]:
    """What an engine without tasks should not hold any more."""
    held = {
        "tasks": len(engine.tasks),
        "signatures": len(engine.queue.signatures),
        "queued": sum(engine.queue.depth_by_priority.values()),
        "bytes": engine.queue_bytes,
        "aside": len(engine.asides),
        "unadopted": len(engine.unadopted),
        "dedup keys": len(engine.dedup_keys),
        "groups": len(engine.groups),
        "topics": len(engine.bus.topics),
        "subscriptions": len(engine.bus.subscriptions),
        "outlets": len(engine.bus.outlets),
        "compiled conditions": len(engine.compiled),
        "limits in use": sum(bool(quota.live or quota.running) for quota in engine.quotas.by_key.values()),
        "attempts that stop": len(engine.quotas.stopping),
        "children": engine.children,
        "room reserved for children": engine.reserved,
    }
    return [(name, count) for name, count in held.items() if count]


def limits_of(mix: Mix) -> tuple[Limits, RuntimeBounds]:
    """What the server of a run is allowed."""
    small = mix.has("small_bounds")
    rng = mix.rng("limits")
    bounds = Bounds()
    if small:
        # A collaboration reserves room for its children: it would never come in where five tasks may wait.
        tasks_max, bytes_max = (40, 20_000) if mix.has("collaborations") else (5, 4_000)
        unacked_max = rng.choice((1, 200))
        bounds = Bounds(
            queue_tasks_max=tasks_max, queue_bytes_max=bytes_max, agent_unacked_bytes_max=unacked_max
        )
    retention = Retention()
    if mix.has("purges"):
        retention = Retention(
            finished_ms=rng.choice((2_000, 10_000)),
            finished_tasks_max=rng.choice((5, 1_000)),
            purge_interval_ms=1_000,
        )
    ordering = Ordering(overdue_high_ms=500, overdue_normal_ms=1_000, overdue_low_ms=2_000, overdue_turn=4)
    graces = Graces(forget_agent_ms=rng.choice((20_000, 600_000)))
    runtime = RuntimeBounds(
        loop=LoopBounds(
            turn_budget_ms=mix.turn_budget_ms,
            inbox_items_max=rng.choice((4, 50)) if small else 65_536,
            session_frames_max=rng.choice((1, 4)),
        ),
        streams=StreamBounds(
            window=rng.choice((2, 5)) if small else 10_000,
            frame_items_max=rng.choice((1, 3, 512)),
            agent_items_max=rng.choice((3, 20)) if small else 65_536,
        ),
        watches=WatchBounds(
            ring_events_max=rng.choice((3, 50)) if small else 65_536,
            watch_events_max=rng.choice((20, 100)) if small else 65_536,
        ),
    )
    delivery = Delivery(redelivery_ms=rng.choice((200, 1_000)), redelivery_max_ms=2_000, attempts_max=3)
    choice = ChoiceRules(hedge_share=1.0 if mix.is_hedged else 0.05)
    return Limits(bounds, graces, ordering, retention, delivery=delivery, choice=choice), runtime


def simulate(
    seed: int,
    without: frozenset[str] = frozenset(),
    *,
    keeps_lines: bool = False,
    stops_early: bool = False,
) -> Report:
    """One run of a seed; ``stops_early`` is for who wants to know no more than whether it fails.

    Without the garbage collector: what it finds in the middle of a run it also closes, coroutines
    for example, at a time that depends on what the process did before.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return World(draw(seed, without), keeps_lines=keeps_lines, stops_early=stops_early).run()
    finally:
        if was_enabled:
            gc.enable()
