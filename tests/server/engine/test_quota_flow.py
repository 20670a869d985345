"""A thousand tasks over twenty limits in virtual time: never exceeded, never idle, nobody else disturbed."""

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
        self.ends: list[tuple[int, int, int, int]] = []  # When, lease, session, how long it ran.
        self.starts: defaultdict[str, list[int]] = defaultdict(list)
        self.ran_ms: defaultdict[str, int] = defaultdict(int)
        self.waits_ms: list[int] = []  # Of tasks that name no limits, or one with room for all.
        for number in range(8):
            self.tell(AgentConnected(0, f"a{number}", "", ["work"], {}, 500))
        self.end_turn()

    def tell(self, event: Event) -> None:
        """One step."""
        for command in step(self.engine, event, self.now_ms):
            if isinstance(command, Assign):
                self._begin(command.task, command.lease_id, command.session_id)

    def _begin(self, task: Task, lease_id: int, session_id: int) -> None:
        ran_ms = 100 + task.task_id * 7_919 % 900
        heappush(self.ends, (self.now_ms + ran_ms, lease_id, session_id, ran_ms))
        limits = task.spec.limits
        if limits and limits[0].key in KEYS:
            assert self.ledger.granted(self.engine, task) == []
            self.starts[limits[0].key].append(self.now_ms)
            self.ran_ms[limits[0].key] += ran_ms
        else:
            self.waits_ms.append(self.now_ms - task.record.queued_since_ms)

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
                _, lease_id, session_id, _ = heappop(self.ends)
                frame = AgentFrame(session_id, results=[AttemptEnded(lease_id, DONE)])  # type: ignore[arg-type]
                frame.acks = [AttemptAcked(lease_id, accepted=True)]
                self.tell(frame)
            self.end_turn()
            for agent in self.engine.fleet.agents.values():
                agent.last_seen_ms = self.now_ms


@pytest.fixture(scope="module")
def flow() -> Flow:
    """All of it, run to the end; every second some tasks come that are not held back."""
    flow = Flow()
    flow.submit([spec_of(limits=(limit_of(KEYS[number % 20]),)) for number in range(TASKS)])
    for _ in range(120):
        flow.submit([spec_of(), spec_of(limits=(Limit("roomy", 100, 100.0),)), spec_of(fairness_key="other")])
        flow.run(flow.now_ms + 1_000)
        if not flow.engine.tasks:
            break
    flow.run(flow.now_ms + 5_000)  # Until the last token is back.
    return flow


def test_all_of_it_is_done_and_nothing_is_left(flow: Flow) -> None:
    assert sum(map(len, flow.starts.values())) == TASKS
    assert flow.engine.tasks == {}
    assert flow.engine.quotas.by_key == {}


def test_tasks_that_name_other_limits_or_none_wait_for_nothing(flow: Flow) -> None:
    assert len(flow.waits_ms) >= 100
    assert max(flow.waits_ms) == 0


@pytest.mark.parametrize("key", KEYS)
def test_a_limit_is_used_up_while_work_waits(flow: Flow, key: str) -> None:
    limit, starts = limit_of(key), flow.starts[key]
    waited_ms = starts[-1] - START_MS  # Until the last one was handed out.
    running = flow.ran_ms[key] / (limit.max_running * waited_ms) if limit.max_running else 0.0
    starting = len(starts) / (limit.per_second * waited_ms / 1_000) if limit.per_second else 0.0
    assert max(running, starting) >= 0.95
