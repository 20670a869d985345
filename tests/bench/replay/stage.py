"""The real engine on a virtual clock, with a simulated fleet around it."""

from __future__ import annotations

import random
from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.choice_predictive import Predictive
from upbeat_server.engine.commands import (
    Assign,
    CancelAttempt,
    SubmissionRefused,
    Submitted,
    TaskFinished,
    Welcome,
)
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.events import (
    AgentConnected,
    AgentFrame,
    AttemptEnded,
    SessionEnded,
    Submission,
    TasksSubmitted,
    TurnEnded,
)
from upbeat_server.engine.limits import Bounds, ChoiceRules, Graces, Limits, Ordering
from upbeat_server.engine.model import (
    Error,
    Payload,
    RetryPolicy,
    SessionId,
    SideEffects,
    TaskSpec,
    TaskState,
)
from upbeat_server.engine.step import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.replay.fleet import Fleet
    from tests.bench.replay.trace import Request
    from upbeat_server.engine.commands import Command
    from upbeat_server.engine.task import Task

LONG_MS = 1 << 40
AWAY_MS = 30_000
"""When an agent has left, one that is like it comes after this."""

QUIET = Graces(suspect_after_ms=LONG_MS, lease_timeout_ms=LONG_MS, ack_timeout_ms=LONG_MS)
"""Simulated agents neither beat nor acknowledge: it would be half of the work and change nothing."""

OUTPUT = Payload()
BROKEN = Error("BROKEN", "it failed at once")
STOPPED = Error("CANCELLED", "it was told to stop")
FAIL_MS = 50
PROBE = ""
"""In place of a type."""

RETRY = RetryPolicy(max_attempts=1_000, initial_backoff_ms=100)
"""A request is tried until it is done, for one that fails early would look as if it were fast."""

ARRIVE, END, LEAVE, JOIN, FAIL, STOP = range(6)


class Play(msgspec.Struct, frozen=True):
    """How requests are submitted, and what befalls the fleet.

    A request for inference changes nothing, so the scheduler may run it twice on its own.
    """

    priorities: Sequence[int] = ()  # Of each request; empty: all NORMAL.
    keys: Sequence[str] = ()  # Of each request; empty: all one.
    side_effects: SideEffects = SideEffects.NONE
    attempt_timeout_ms: int = LONG_MS
    churn_per_minute: float = 0.0  # Share of the agents that leave; each comes back as one nobody knows.
    ordering: Ordering = Ordering()


class Outcome(msgspec.Struct):
    """What became of the requests; times in ms."""

    latencies: list[int]
    waits: list[int]  # Until the first attempt began.
    attempts: int = 0  # All that were handed out, also those beside another one of the same request.
    probes: int = 0
    left: int = 0  # Agents that went.
    handed: dict[
        int, list[tuple[int, str]]
    ] = {}  # To agents that are troubled: when, of which type or PROBE.
    out_ms: dict[int, list[int]] = {}  # When such a one was found to be out, or to be in again, in turns.


class Stage:
    """One replay of one trace by one policy."""

    def __init__(
        self, requests: Sequence[Request], fleet: Fleet, rules: ChoiceRules, play: Play | None = None
    ) -> None:
        self._requests = requests
        self._fleet = fleet
        self._play = play or Play()
        self._troubled = frozenset(fleet.shape.troubled)
        limits = Limits(
            bounds=Bounds(lease_losses_max=1_000),
            graces=QUIET,
            ordering=self._play.ordering,
            choice=rules,
        )
        self.engine = Engine("replay", limits, epoch=1, clock_ms=0)
        self.outcome = Outcome([-1] * len(requests), [-1] * len(requests), handed={}, out_ms={})
        self._kinds = sorted({request.type for request in requests})
        self._events: list[tuple[int, int, int, int]] = []
        self._request_of: dict[int, int] = {}  # By task id.
        self._session_of: dict[int, SessionId] = {}  # By agent.
        self._agent_of: dict[SessionId, int] = {}
        self._lives = Counter[int]()
        self._left = len(requests)
        self._turns = 0

    def run(self) -> Outcome:
        """Replay all of it."""
        fleet, events = self._fleet, self._events
        for agent in range(fleet.shape.agents):
            self._join(agent, 0)
        for request, arrival_ms in enumerate(fleet.arrivals_ms):
            events.append((arrival_ms, ARRIVE, request, 0))
        events.sort()
        self._plan_churn()
        while self._left:
            now_ms = min(events[0][0], self.engine.next_wake_ms) if events else self.engine.next_wake_ms
            while events and events[0][0] <= now_ms:
                self._happen(*heappop(events))
            self._turns += 1
            self._tell(
                step(self.engine, TurnEnded(self._turns * 0x9E3779B97F4A7C15 % (1 << 64)), now_ms), now_ms
            )
        return self.outcome

    def _plan_churn(self) -> None:
        per_minute = self._play.churn_per_minute * self._fleet.shape.agents
        if per_minute:
            every_ms = 60_000 / per_minute
            order = list(range(self._fleet.shape.agents))
            random.Random(0).shuffle(order)  # Neighbours are good at different types.
            for number in range(int(self._fleet.span_s * 1_000 / every_ms)):
                agent = order[number % len(order)]  # All have left once before one leaves again.
                heappush(self._events, (int((number + 1) * every_ms), LEAVE, agent, 0))

    def _happen(self, now_ms: int, kind: int, which: int, lease_id: int) -> None:
        match kind:
            case 0:  # ARRIVE
                self._tell(step(self.engine, self._submission(which), now_ms), now_ms)
            case 1:  # END
                self._end(which, AttemptEnded(lease_id, OUTPUT), now_ms)
            case 2:  # LEAVE
                session_id = self._session_of.pop(which, None)
                if session_id is not None:
                    self.outcome.left += 1
                    frame = AgentFrame(session_id, goodbye=True)
                    self._tell(step(self.engine, frame, now_ms), now_ms)
                    self._tell(step(self.engine, SessionEnded(session_id), now_ms), now_ms)
                    heappush(self._events, (now_ms + AWAY_MS, JOIN, which, 0))
            case 3:  # JOIN
                self._join(which, now_ms)
            case 4:  # FAIL
                self._end(which, AttemptEnded(lease_id, error=BROKEN), now_ms)
            case _:  # STOP
                self._end(which, AttemptEnded(lease_id, error=STOPPED), now_ms)

    def _join(self, agent: int, now_ms: int) -> None:
        self._lives[agent] += 1
        name = self._name_of(agent)
        hello = AgentConnected(agent, name, name, list(self._kinds), {}, self._fleet.shape.slots)
        self._tell(step(self.engine, hello, now_ms), now_ms)

    def _name_of(self, agent: int) -> str:
        return f"agent-{agent}-{self._lives[agent]}"

    def _submission(self, request: int) -> TasksSubmitted:
        row, play = self._requests[request], self._play
        spec = TaskSpec(
            row.type,
            size_hint=float(row.input_tokens),
            priority=play.priorities[request] if play.priorities else 2,
            fairness_key=play.keys[request] if play.keys else "",
            attempt_timeout_ms=play.attempt_timeout_ms,
            retry=RETRY,
            side_effects=play.side_effects,
        )
        return TasksSubmitted(request, [Submission(0, spec, b"", b"")])

    def _end(self, agent: int, ended: AttemptEnded, now_ms: int) -> None:
        """The agent answers what became of an attempt, unless it has answered or left before."""
        session_id = self._session_of.get(agent)
        if session_id is None or ended.lease_id not in self.engine.fleet.sessions[session_id].leases:
            return
        self._tell(step(self.engine, AgentFrame(session_id, results=[ended]), now_ms), now_ms)
        self._look_at(agent, now_ms)

    def _look_at(self, agent: int, now_ms: int) -> None:
        """Note when an agent that is troubled is found out."""
        choice = self.engine.choice
        if agent in self._troubled and isinstance(choice, Predictive):
            known = self.engine.fleet.agents[self._name_of(agent)]
            seen = self.outcome.out_ms.setdefault(agent, [])
            if any(choice.is_out(kind, known) for kind in self._kinds) != bool(len(seen) % 2):
                seen.append(now_ms)

    def _hand(self, command: Assign, now_ms: int) -> None:
        """An agent gets to work."""
        agent, task = self._agent_of[command.session_id], command.task
        request, outcome = self._request_of[task.task_id], self.outcome
        if outcome.waits[request] < 0:
            outcome.waits[request] = now_ms - self._fleet.arrivals_ms[request]
        outcome.attempts += 1
        is_probe = task.chosen is not None and task.chosen.is_probe
        outcome.probes += is_probe
        if agent in self._troubled:
            outcome.handed.setdefault(agent, []).append((now_ms, PROBE if is_probe else task.spec.type))
        if self._fleet.is_failing(agent, now_ms):
            heappush(self._events, (now_ms + FAIL_MS, FAIL, agent, command.lease_id))
        else:
            end_ms = now_ms + self._fleet.run_ms(request, agent, now_ms)
            heappush(self._events, (end_ms, END, agent, command.lease_id))

    def _finish(self, task: Task, now_ms: int) -> None:
        """A request is done: the engine says so once, however many attempts of it run."""
        if task.record.state != TaskState.COMPLETED:
            raise RuntimeError(f"a request failed: {task.record.error}")
        request = self._request_of[task.task_id]
        self.outcome.latencies[request] = now_ms - self._fleet.arrivals_ms[request]
        self._left -= 1

    def _tell(self, commands: list[Command], now_ms: int) -> None:
        for command in commands:
            match command:
                case Assign():
                    self._hand(command, now_ms)
                case CancelAttempt():
                    # Not within this call: other commands of the same step are still to be performed.
                    stop = (now_ms, STOP, self._agent_of[command.session_id], command.lease_id)
                    heappush(self._events, stop)
                case TaskFinished():
                    self._finish(command.task, now_ms)
                case Submitted():
                    self._request_of[command.task.task_id] = command.origin
                case Welcome():
                    self._session_of[command.origin] = command.session_id
                    self._agent_of[command.session_id] = command.origin
                case SubmissionRefused():
                    raise RuntimeError(f"the engine refused a request: {command.refusal.message}")
