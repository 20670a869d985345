"""Defects, planted into the real code for one run: each must be found.

What the simulation would not notice, it does not test. Each bug is the kind of thing that
somebody writes on a Friday: a check that is gone, an order that is swapped, something
that is not stored. They live here and nowhere else.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.simulation.bus_bugs import BUS_BUGS
from tests.simulation.group_bugs import GROUP_BUGS
from tests.simulation.hedge_bugs import HEDGE_BUGS
from tests.simulation.quota_bugs import QUOTA_BUGS
from upbeat.results import Results
from upbeat.session import Session
from upbeat_server.engine import dispatch, leases, results, sessions, step, timeouts
from upbeat_server.engine.commands import AckResult, CancelAnswered, Persist
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.fleet import Fleet
from upbeat_server.engine.lane import FairnessKey
from upbeat_server.engine.model import FINISHED, Error, ResultOutcome, SideEffects, TaskState, task_of
from upbeat_server.engine.queue import CLASSES, Queue
from upbeat_server.runtime import recovery
from upbeat_server.runtime.loop import Loop
from upbeat_server.runtime.submissions import SubmissionStream
from upbeat_server.runtime.watchers import TaskWatches
from upbeat_server.store.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.task import Task


def no_lease_check() -> Any:
    """A result is accepted for whatever runs, whoever holds the lease."""
    real = results.report

    def report(engine: Engine, agent: Agent, told: Any, now_ms: int) -> None:
        for ended in told:
            task = engine.tasks.get(task_of(ended.lease_id))
            if task is not None and task.agent is not None:
                task.agent.leases.pop(leases.current_lease(task), None)
                agent.leases[ended.lease_id] = task
        real(engine, agent, told, now_ms)

    return patch.object(results, "report", report)


def perform_before_persist() -> Any:
    """Answers leave while the commit is still under way."""
    real = Loop._commit

    async def commit(self: Loop, batches: Any) -> bool:
        self._kept_alive = asyncio.ensure_future(real(self, batches))  # type: ignore[attr-defined]
        return True

    return patch.object(Loop, "_commit", commit)


def failed_commit_counts() -> Any:
    """A commit that surely failed is taken for one that succeeded."""

    async def commit(self: Loop, batches: Any) -> bool:
        try:
            await self._store.commit(batches)
        except StoreUnavailable:
            return True
        return True

    return patch.object(Loop, "_commit", commit)


def every_result_accepted() -> Any:
    """Late results are told ACCEPTED."""
    return patch.object(results, "late_outcome", lambda *_: ResultOutcome.ACCEPTED)


def result_not_answered() -> Any:
    """An accepted result is not acknowledged when it was the first of its turn."""
    real = results.report

    def report(engine: Engine, agent: Agent, told: Any, now_ms: int) -> None:
        real(engine, agent, told, now_ms)
        if told and isinstance(engine.commands[-1], AckResult) and told[-1].lease_id % 3 == 0:
            engine.commands.pop()

    return patch.object(results, "report", report)


def no_fairness_clamp() -> Any:
    """A key that comes back starts at zero instead of the class's time."""

    def key(self: Queue, priority: int, name: str) -> FairnessKey:
        keys = self.keys[priority]
        if name not in keys:
            keys[name] = FairnessKey(name, 0.0)
        return keys[name]

    return patch.object(Queue, "_key", key)


def nobody_is_charged() -> Any:
    """Fairness keys pay nothing, so the first one has everything."""
    return patch.object(Queue, "charge", lambda *_: None)


def overdue_lane_always() -> Any:
    """Any head may pass, overdue or not."""

    def head(engine: Engine, agent: Agent, now_ms: int) -> Task | None:
        assert agent.profile is not None
        lanes = (lane for signature in agent.profile.signatures for lane in signature.lanes.values())
        return next((first[1] for lane in lanes if (first := lane.first()) is not None), None)

    return patch.object(dispatch, "_overdue_head", head)


def low_classes_first() -> Any:
    """The classes are dispatched in the wrong order."""
    return patch.object(dispatch, "CLASSES", tuple(reversed(CLASSES)))


def one_slot_too_many() -> Any:
    """An agent with all its slots taken is thought free."""
    real = Fleet.refresh

    def refresh(self: Fleet, agent: Agent) -> None:
        agent.slots += 1
        real(self, agent)
        agent.slots -= 1

    return patch.object(Fleet, "refresh", refresh)


def slot_leaks_after_rejection() -> Any:
    """A lease that the agent gave up stays in its hands."""
    return patch.object(leases, "free", lambda *_: None)


def cancel_leaves_the_lease() -> Any:
    """The attempt of a cancelled task may still report."""
    return patch.object(leases, "take_away", lambda *_: None)


def unsafe_work_is_repeated() -> Any:
    """A lost lease of UNSAFE work goes back to the queue."""
    real = leases.lose

    def lose(engine: Engine, task: Task, why: str, now_ms: int) -> None:
        if task.spec.side_effects == SideEffects.UNSAFE:
            leases.give_back(engine, task, Error("LEASE_LOST", why), now_ms)
        else:
            real(engine, task, why, now_ms)

    return patch.object(leases, "lose", lose)


def no_backoff() -> Any:
    """A failed attempt is tried again at once."""
    real = Engine.due_ms

    def due_ms(self: Engine, task: Task) -> int:
        due = real(self, task)
        return self.clock_ms if task.record.state == TaskState.PENDING else due

    return patch.object(Engine, "due_ms", due_ms)


def forgotten_timer() -> Any:
    """A task that waits for its time is never woken."""
    real = Engine.arm

    def arm(self: Engine, task: Task) -> None:
        if task.record.state != TaskState.PENDING:
            real(self, task)

    return patch.object(Engine, "arm", arm)


def end_not_stored() -> Any:
    """The end of a task is told and not made durable."""
    real = Engine.persist

    def persist(self: Engine, task: Task) -> None:
        real(self, task)
        if task.record.state in FINISHED:
            self.commands[:] = [
                order for order in self.commands if not (type(order) is Persist and order.task is task)
            ]

    return patch.object(Engine, "persist", persist)


def request_ids_forgotten() -> Any:
    """After a restart, the request ids of finished tasks are free."""
    real = Engine.restore
    return patch.object(Engine, "restore", _with(real, known=[]))


def _with(real: Any, *, known: Any = None, one_less: bool = False) -> Any:
    def restore(self: Engine, tasks: Any, finished_requests: Any, *others: Any, **options: Any) -> None:
        kept = tasks[:-1] if one_less else tasks
        real(self, kept, finished_requests if known is None else known, *others, **options)

    return restore


def task_lost_in_recovery() -> Any:
    """The last task is not recovered."""
    real = Engine.restore
    return patch.object(Engine, "restore", _with(real, one_less=True))


def epoch_not_raised() -> Any:
    """A restarted server goes on with the epoch of the one before."""
    real = Engine

    def engine(*args: Any, epoch: int, **options: Any) -> Engine:
        made = real(*args, epoch=max(1, epoch - 1), **options)
        made.epoch = epoch
        made.next_id = lambda: _with_old_epoch(made)  # type: ignore[method-assign]
        return made

    return patch.object(recovery, "Engine", engine)


def _with_old_epoch(engine: Engine) -> int:
    engine._sequence += 1
    return 1 << 40 | engine._sequence


def grace_never_ends() -> Any:
    """Nobody looks after an agent whose stream ended."""
    return patch.object(sessions, "_lose_all", lambda *_: None)


def adoption_grace_never_ends() -> Any:
    """Leases that nobody came back with after a restart are kept for ever."""
    return patch.object(timeouts, "end_adoption", lambda *_: None)


def adopted_by_anybody() -> Any:
    """After a restart, whoever names a lease gets it."""
    real = leases.adopt

    def adopt(engine: Engine, agent: Agent, lease_id: int, now_ms: int) -> bool:
        task = engine.tasks.get(task_of(lease_id))  # type: ignore[arg-type]
        if task is not None and task.record.attempts and task.agent is None:
            task.record.attempts[-1].agent_id = agent.agent_id
        return real(engine, agent, lease_id, now_ms)

    return patch.object(leases, "adopt", adopt)


def older_session_stays() -> Any:
    """A newer session of an agent does not fence the older one."""
    real = sessions.connect

    def connect(engine: Engine, event: Any, now_ms: int) -> None:
        agent = engine.fleet.agents.get(event.agent_id)
        before = agent.session_id if agent is not None else 0
        real(engine, event, now_ms)
        if before and agent is not None:
            engine.fleet.sessions[before] = agent  # type: ignore[index]

    return patch.object(sessions, "connect", connect)


def watch_skips_a_change() -> Any:
    """A watch that resumes begins one change too late."""
    real = TaskWatches._ring_after
    return patch.object(TaskWatches, "_ring_after", lambda self, revision: real(self, revision + 1))


def end_not_told_after_attach() -> Any:
    """A submitter that attaches again is not told of an end that came before."""
    return patch.object(SubmissionStream, "found", lambda *_: None)


def purge_frees_live_requests() -> Any:
    """A purge frees the request ids of live tasks."""
    real = Engine._enter

    def enter(self: Engine, task: Task) -> None:
        real(self, task)
        if task.task_id % 5 == 0:
            self.requests.pop(task.record.request_id, None)

    return patch.object(Engine, "_enter", enter)


def cancel_answered_before_it_holds() -> Any:
    """A cancel of a finished task is answered as if it had worked."""
    real = step._cancel

    def cancel(engine: Engine, event: Any, now_ms: int) -> None:
        task = engine.tasks.get(event.task_id)
        if task is not None and task.record.state == TaskState.RUNNING:
            engine.commands.append(CancelAnswered(event.origin, task))
            return
        real(engine, event, now_ms)

    return patch.object(step, "_cancel", cancel)


def sdk_does_not_resend() -> Any:
    """The SDK forgets to send kept results on a new stream."""
    return patch.object(Results, "resend", lambda _self: None)


def sdk_runs_a_repeat() -> Any:
    """The SDK starts an assignment again that it has already."""
    real = Session._assign

    def assign(self: Session, assignment: Any) -> Any:
        attempt = self.attempts.pop(assignment.lease_id, None)
        self.results.forget(assignment.lease_id)
        self.results._reported.pop(assignment.lease_id, None)
        assert attempt is None or attempt is not None
        return real(self, assignment)

    return patch.object(Session, "_assign", assign)


BUGS: dict[str, Callable[[], Any]] = {
    bug.__name__: bug
    for bug in (
        no_lease_check,
        perform_before_persist,
        failed_commit_counts,
        every_result_accepted,
        result_not_answered,
        no_fairness_clamp,
        nobody_is_charged,
        overdue_lane_always,
        low_classes_first,
        one_slot_too_many,
        slot_leaks_after_rejection,
        cancel_leaves_the_lease,
        unsafe_work_is_repeated,
        no_backoff,
        forgotten_timer,
        end_not_stored,
        request_ids_forgotten,
        task_lost_in_recovery,
        epoch_not_raised,
        grace_never_ends,
        adoption_grace_never_ends,
        adopted_by_anybody,
        older_session_stays,
        watch_skips_a_change,
        end_not_told_after_attach,
        purge_frees_live_requests,
        cancel_answered_before_it_holds,
        sdk_does_not_resend,
        sdk_runs_a_repeat,
        *GROUP_BUGS,
        *BUS_BUGS,
        *QUOTA_BUGS,
        *HEDGE_BUGS,
    )
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The defect is in the code while the context lasts."""
    with BUGS[name]():
        yield
