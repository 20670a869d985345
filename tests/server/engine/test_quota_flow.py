"""A thousand tasks over twenty limits in virtual time: never exceeded, never idle, nobody else disturbed.

Beside them come tasks that nothing holds back, and others that share few slots of their own and so wait for
each other; the same ones in the same order as in a run without the thousand.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush

import pytest

from tests.support.lines import spec_of, submission
from tests.support.quota_ledger import QuotaLedger
from upbeat_server.engine.commands import Assign
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.events import (
    AgentConnected,
    AgentFrame,
    AttemptAcked,
    AttemptEnded,
    Event,
    TasksSubmitted,
    TurnEnded,
)
from upbeat_server.engine.limits import Limits
from upbeat_server.engine.model import Limit, Payload, TaskSpec
from upbeat_server.engine.step import step
from upbeat_server.engine.task import Task

START_MS = 1_000_000
DONE = Payload(data=b"done")
KEYS = [f"key{number}" for number in range(20)]
TASKS = 1_000
SECONDS = 120


def limit_of(key: str) -> Limit:
    """A third of the keys limits what runs, a third what starts, a third both."""
    number = KEYS.index(key)
    most = 2 + number % 4 if number % 3 != 1 else 0
    rate = (2.0, 3.5, 5.0, 0.8)[number % 4] if number % 3 else 0.0
    return Limit(key, most, rate)


class Flow:
    """An engine with more slots than there is work, and its virtual time."""

    def __init__(self) -> None:
        self.engine = Engine("stage", Limits(), epoch=1, clock_ms=START_MS)
        self.now_ms = START_MS
        self.ledger = QuotaLedger()
        self.ends: list[tuple[int, int, int]] = []  # When, lease, session.
        self.runs: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # From when to when.
        self.waits_ms: list[int] = []  # Of tasks that name no limits, or one with room for all.
        self.queue_waits_ms: list[int] = []  # Of those that wait for each other.
        for number in range(8):
            self.tell(AgentConnected(0, f"a{number}", "", ["work"], {}, 500))
        for number in range(2):
            self.tell(AgentConnected(0, f"q{number}", "", ["queue"], {}, 2))
        self.end_turn()

    def tell(self, event: Event) -> None:
        """One step."""
        for command in step(self.engine, event, self.now_ms):
            if isinstance(command, Assign):
                self._begin(command.task, command.lease_id, command.session_id)

    def _begin(self, task: Task, lease_id: int, session_id: int) -> None:
        limits = task.spec.limits
        waited_ms = self.now_ms - task.record.queued_since_ms
        number = len(self.queue_waits_ms) if task.spec.type == "queue" else task.task_id
        end_ms = self.now_ms + 100 + number * 7_919 % 900
        heappush(self.ends, (end_ms, lease_id, session_id))
        if limits:
            assert self.ledger.granted(self.engine, task) == []
            self.runs[limits[0].key].append((self.now_ms, end_ms))
        if task.spec.type == "queue":
            self.queue_waits_ms.append(waited_ms)
        elif not limits or limits[0].key not in KEYS:
            self.waits_ms.append(waited_ms)

    def end_turn(self) -> None:
        """Fire timers, hand out work."""
        self.tell(TurnEnded(1))

    def submit(self, specs: list[TaskSpec]) -> None:
        """Submit all in one turn."""
        self.tell(TasksSubmitted(0, [submission(spec, index=index) for index, spec in enumerate(specs)]))
        self.end_turn()

    def run(self, until_ms: int) -> None:
        """Let time pass: attempts end when they do, the engine is woken when it wants."""
        while True:
            due_ms = min(self.ends[0][0] if self.ends else until_ms, self.engine.next_wake_ms)
            if due_ms >= until_ms:
                self.now_ms = until_ms
                return
            self.now_ms = max(self.now_ms, due_ms)
            while self.ends and self.ends[0][0] <= self.now_ms:
                _, lease_id, session_id = heappop(self.ends)
                frame = AgentFrame(session_id, results=[AttemptEnded(lease_id, DONE)])  # type: ignore[arg-type]
                frame.acks = [AttemptAcked(lease_id, accepted=True)]
                self.tell(frame)
            self.end_turn()
            for agent in self.engine.fleet.agents.values():
                agent.last_seen_ms = self.now_ms


def run_beside(specs: list[TaskSpec]) -> Flow:
    """These at once, and every second some that they have nothing to do with; run to the end."""
    flow = Flow()
    flow.submit(specs)
    queue = [spec_of(type="queue", fairness_key=key) for key in ("", "", "x", "x", "y", "z")]
    for _ in range(SECONDS):
        flow.submit([spec_of(), spec_of(limits=(Limit("roomy", 100, 100.0),)), spec_of(fairness_key="other")])
        flow.submit(queue)
        flow.run(flow.now_ms + 1_000)
    flow.run(flow.now_ms + 10_000)  # Until all is done, and the last token is back.
    return flow


@pytest.fixture(scope="module")
def flow() -> Flow:
    """The thousand, and what is beside them."""
    return run_beside([spec_of(limits=(limit_of(KEYS[number % 20]),)) for number in range(TASKS)])


def test_all_of_it_is_done_and_nothing_is_left(flow: Flow) -> None:
    assert sum(len(flow.runs[key]) for key in KEYS) == TASKS
    assert flow.engine.tasks == {}
    assert flow.engine.quotas.by_key == {}


def test_tasks_that_name_other_limits_or_none_wait_for_nothing(flow: Flow) -> None:
    assert len(flow.waits_ms) == 3 * SECONDS
    assert max(flow.waits_ms) == 0


def test_tasks_that_wait_for_each_other_wait_as_long_as_without_the_thousand(flow: Flow) -> None:
    alone = run_beside([])
    assert flow.queue_waits_ms == alone.queue_waits_ms
    assert len(alone.queue_waits_ms) == 6 * SECONDS
    assert sum(wait_ms > 0 for wait_ms in alone.queue_waits_ms) > SECONDS


@pytest.mark.parametrize("key", KEYS)
def test_a_limit_is_used_up_while_work_waits(flow: Flow, key: str) -> None:
    limit, runs = limit_of(key), flow.runs[key]
    last_ms = runs[-1][0]  # From then on nothing waits.
    ran_ms = sum(min(end_ms, last_ms) - start_ms for start_ms, end_ms in runs)
    waited_ms = last_ms - START_MS
    running = ran_ms / (limit.max_running * waited_ms) if limit.max_running else 0.0
    starting = (len(runs) - 1) / (limit.per_second * waited_ms / 1_000) if limit.per_second else 0.0
    assert max(running, starting) >= 0.95
