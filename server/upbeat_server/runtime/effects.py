"""One function for each order of the engine, performed after the commit that contains it.

They run in the order the engine gave, synchronously, and hand things on: to an
outbox, a future, a watch. None waits, and none may raise for what a peer did.
Whatever they need of a live task they read here, before the next turn changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import structlog

from upbeat_server.engine import commands, reasons
from upbeat_server.engine.model import (
    Refusal,
    ResultOutcome,
    TaskId,
    TaskState,
    attempt_of,
    task_of,
)
from upbeat_server.engine.results import late_outcome
from upbeat_server.runtime.bus_effects import BUS_EFFECTS
from upbeat_server.runtime.calls import CancelCall, DrainCall, ItemsCall, PauseCall, SubmitCall
from upbeat_server.runtime.collaboration_effects import grade_answered, items_answered
from upbeat_server.runtime.outbox import Assignment
from upbeat_server.runtime.refused import task_not_found
from upbeat_server.runtime.sessions import AgentSession
from upbeat_server.runtime.snapshot import AgentSnapshot, TaskSnapshot

if TYPE_CHECKING:
    from upbeat_server.engine.task import Task
    from upbeat_server.runtime.lookups import Lookups
    from upbeat_server.runtime.namespace import Namespace
    from upbeat_server.runtime.observer import Observer
    from upbeat_server.runtime.submissions import SubmissionStream

log = structlog.get_logger("upbeat.runtime")

AGENT_DRAINED = "AGENT_DRAINED"
END_MESSAGES = {
    reasons.FENCED: "a newer stream of the same agent took over: do not reconnect",
    reasons.SILENT: "nothing was heard on this stream for too long: reconnect and resume",
}


class Scene:
    """Where the orders of one turn of one namespace are performed."""

    def __init__(
        self,
        namespace: Namespace,
        lookups: Lookups,
        observer: Observer,
        purge: Callable[[Namespace, commands.PurgeFinished], None],
        turn_started: float,
    ) -> None:
        self.namespace = namespace
        self.lookups = lookups
        self.observer = observer
        self.purge = purge
        self.turn_started = turn_started
        self.assigned: list[Task] = []
        self.finished: list[Task] = []
        self.accepted_on: dict[int, SubmitCall | SubmissionStream] = {}
        self._assigned_to: dict[int, AgentSession] = {}

    def perform(self, orders: list[commands.Command]) -> None:
        """Perform all of them."""
        effects = EFFECTS
        for order in orders:
            effects[type(order)](self, order)
        # The writers of agents were woken by their orders, and so write first: a frame takes a tenth of a
        # millisecond, and an agent that waits is worth more than a caller that waits to be told.
        for route in self.accepted_on.values():
            route.tell_accepted()
        for session in self._assigned_to.values():
            if session.keep_or_close():
                self.observer.stream_ended("agent", reasons.SLOW_READER)
        if self.finished:
            self.observer.tasks_finished(self.namespace.name, self.finished)
        # Children count like tasks of callers: they are leased, completed and failed like them.
        if new := self.namespace.take_submitted():
            self.observer.submitted(self.namespace.name, new)
        if self.assigned:
            self.observer.assigned(self.namespace.name, self.assigned)
        for watch in self.namespace.demand_watches.open_ones:
            watch.stir()

    def session_for_work(self, session_id: int) -> AgentSession | None:
        """The session that an assignment or an answer goes to; it is closed if that is too much."""
        session = self._assigned_to.get(session_id)
        if session is None:
            session = self.namespace.sessions.get(session_id)
            if session is not None:
                self._assigned_to[session_id] = session
        return session

    def submitter(self, origin: int) -> SubmitCall | SubmissionStream | None:
        """Who submitted; None when gone."""
        return cast("SubmitCall | SubmissionStream | None", self.namespace.routes.get(origin))


def submitted(scene: Scene, order: commands.Submitted) -> None:
    """A submission is a task."""
    route = scene.submitter(order.origin)
    if route is not None:
        route.submitted(order.index, order.task)
        scene.accepted_on[order.origin] = route


def submission_known(scene: Scene, order: commands.SubmissionKnown) -> None:
    """A submission repeats a finished task: the store has its fingerprint."""

    def answer(found: TaskSnapshot | Refusal | None) -> None:
        route = scene.submitter(order.origin)
        if route is None:
            return
        if found is None:
            route.submission_refused(order.index, _just_purged())
        elif isinstance(found, Refusal):
            route.submission_refused(order.index, found)
        elif found.record.fingerprint != order.fingerprint:
            route.submission_refused(order.index, _reused(found.record.request_id, order.task_id))
        else:
            route.known(order.index, found)

    scene.lookups.ask(scene.namespace, order.task_id, answer)


def submission_refused(scene: Scene, order: commands.SubmissionRefused) -> None:
    """A submission had no effect."""
    scene.observer.refused(scene.namespace.name, order.refusal.reason)
    route = scene.submitter(order.origin)
    if route is not None:
        route.submission_refused(order.index, order.refusal)


def cancel_answered(scene: Scene, order: commands.CancelAnswered) -> None:
    """The task is CANCELLED."""
    call = scene.namespace.routes.get(order.origin)
    if isinstance(call, CancelCall):
        call.resolve(scene.namespace.snapshot(order.task))


def not_live(scene: Scene, order: commands.NotLive) -> None:
    """The task to cancel, or to take items, is finished or unknown: the store knows which."""

    def answer(found: TaskSnapshot | Refusal | None) -> None:
        call = scene.namespace.routes.get(order.origin)
        if not isinstance(call, CancelCall | ItemsCall):
            return
        if found is None:
            call.fail(task_not_found(order.task_id).refusal)
        elif isinstance(found, Refusal):
            call.fail(found)
        elif isinstance(call, ItemsCall):
            call.fail(_already_finished(found, "takes no more items"))
        elif found.record.state == TaskState.CANCELLED:
            call.resolve(found)
        else:
            call.fail(_already_finished(found, "can no longer be cancelled"))

    scene.lookups.ask(scene.namespace, order.task_id, answer)


def welcome(scene: Scene, order: commands.Welcome) -> None:
    """A session is open."""
    session = scene.namespace.routes.get(order.origin)
    if isinstance(session, AgentSession):
        session.welcomed(order)
        if order.draining:
            session.outbox.drain(AGENT_DRAINED)


def hello_refused(scene: Scene, order: commands.HelloRefused) -> None:
    """A session did not open."""
    session = scene.namespace.routes.get(order.origin)
    if isinstance(session, AgentSession):
        session.hello_refused(order.refusal)


def assign(scene: Scene, order: commands.Assign) -> None:
    """Hand out an attempt. A session that is gone is about to be told to the engine."""
    task = order.task
    scene.assigned.append(task)
    session = scene.session_for_work(order.session_id)
    if session is None:
        return
    tracer = scene.observer.tracer
    session.outbox.assign(
        Assignment(
            task.task_id,
            order.lease_id,
            attempt_of(order.lease_id),
            task.spec,
            order.time_remaining_ms,
            task.progress,
            scene.turn_started,
            task.record.parent_id,
            task.record.member,
            task.spec.traceparent if tracer is None else tracer.traceparent(scene.namespace.name, task),
        )
    )


def cancel_attempt(scene: Scene, order: commands.CancelAttempt) -> None:
    """An attempt is no longer wanted."""
    session = scene.namespace.sessions.get(order.session_id)
    if session is not None:
        session.outbox.cancel(order.lease_id, order.reason, order.grace_ms)


def ack_result(scene: Scene, order: commands.AckResult) -> None:
    """Answer a result."""
    session = scene.namespace.sessions.get(order.session_id)
    if session is not None:
        session.outbox.answer(order.lease_id, order.outcome, order.error)


def resolve_result(scene: Scene, order: commands.ResolveResult) -> None:
    """A result for a task that is not live.

    The agent keeps it until it is answered and sends it again on a new stream only: while the
    store cannot say, it is asked again.
    """
    task_id = task_of(cast("Any", order.lease_id))
    scene.lookups.ask(scene.namespace, task_id, partial(_resolved, scene, order))


def _resolved(scene: Scene, order: commands.ResolveResult, found: TaskSnapshot | Refusal | None) -> None:
    """The store said, or could not say, what a late result is for.

    No closure that names itself: it would keep all of the turn until the collector comes.
    """
    session = scene.namespace.sessions.get(order.session_id)
    if session is None:
        return
    if isinstance(found, Refusal):
        task_id = task_of(cast("Any", order.lease_id))
        scene.lookups.ask_again(scene.namespace, task_id, partial(_resolved, scene, order))
        return
    outcome = ResultOutcome.UNKNOWN
    if found is not None:
        outcome = late_outcome(found.record, order.lease_id, order.agent_id)
    session.outbox.answer(order.lease_id, outcome)


def end_session(scene: Scene, order: commands.EndSession) -> None:
    """Close a stream; without a reason it ends in peace when all is written."""
    session = scene.namespace.sessions.get(order.session_id)
    if session is None:
        return
    if not order.reason:
        session.outbox.finish()
    else:
        scene.observer.stream_ended("agent", order.reason)
        session.close(Refusal(order.reason, END_MESSAGES.get(order.reason, "the session has ended")))


def tell_drain(scene: Scene, order: commands.TellDrain) -> None:
    """An operator drains an agent."""
    session = scene.namespace.sessions.get(order.session_id)
    if session is not None:
        session.outbox.drain(AGENT_DRAINED)


def agent_answered(scene: Scene, order: commands.AgentAnswered) -> None:
    """Answer the operator."""
    call = scene.namespace.routes.get(order.origin)
    if not isinstance(call, DrainCall):
        return
    if order.agent is not None:
        call.resolve(AgentSnapshot.of(order.agent, scene.namespace.engine.predictor))
    elif order.refusal is not None:
        call.fail(order.refusal)


def pause_answered(scene: Scene, order: commands.PauseAnswered) -> None:
    """Answer the operator."""
    call = scene.namespace.routes.get(order.origin)
    if not isinstance(call, PauseCall):
        return
    if order.refusal is not None:
        scene.observer.refused(scene.namespace.name, order.refusal.reason)
        call.fail(order.refusal)
    else:
        call.resolve(order.paused)


def task_finished(scene: Scene, order: commands.TaskFinished) -> None:
    """A task ended: tell whoever waits for it. Its record is final from here on."""
    namespace, task = scene.namespace, order.task
    task_id = task.task_id
    for stream in namespace.subscribers.pop(task_id, ()):
        stream.finished(task.record)
    if namespace.waiters and (waiters := namespace.waiters.pop(task_id, None)):
        snapshot = TaskSnapshot(task.record, task.spec)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(snapshot)
    scene.finished.append(task)


def task_progressed(scene: Scene, order: commands.TaskProgressed) -> None:
    """A running attempt said something."""
    scene.namespace.task_watches.publish_progress(order)


def agent_changed(scene: Scene, order: commands.AgentChanged) -> None:
    """An agent came, went or changed."""
    scene.namespace.agent_watches.publish(order.agent, scene.namespace.engine.predictor)


def mode_broke(scene: Scene, order: commands.ModeBroke) -> None:
    """A mode raised: its collaboration failed, and whoever runs it should know why."""
    log.error(
        "mode_broke",
        namespace=scene.namespace.name,
        task_id=f"{order.task_id:016x}",
        mode=order.mode,
        exc_info=order.error,
    )


def purge_finished(scene: Scene, order: commands.PurgeFinished) -> None:
    """Forget old finished tasks."""
    scene.purge(scene.namespace, order)


def _already_finished(found: TaskSnapshot, consequence: str) -> Refusal:
    state = TaskState(found.record.state).name
    text = f"{found.record.task_id:016x}"
    return Refusal(
        reasons.TASK_FINISHED,
        f"task {text} is {state} and {consequence}",
        {"task_id": text, "state": state},
    )


def _reused(request_id: str, task_id: TaskId) -> Refusal:
    text = f"{task_id:016x}"
    return Refusal(
        reasons.REQUEST_ID_REUSED,
        f"request_id was used with another spec, for task {text}: use a new one",
        {"request_id": request_id, "task_id": text},
    )


def _just_purged() -> Refusal:
    return Refusal(
        reasons.SERVER_BUSY, "the task of this request_id is being purged: try again", retry_ms=1_000
    )


Effect: TypeAlias = Callable[[Scene, Any], None]

EFFECTS: dict[type, Effect] = {
    commands.Submitted: submitted,
    commands.SubmissionKnown: submission_known,
    commands.SubmissionRefused: submission_refused,
    commands.CancelAnswered: cancel_answered,
    commands.NotLive: not_live,
    commands.Welcome: welcome,
    commands.HelloRefused: hello_refused,
    commands.Assign: assign,
    commands.CancelAttempt: cancel_attempt,
    commands.AckResult: ack_result,
    commands.ResolveResult: resolve_result,
    commands.EndSession: end_session,
    commands.TellDrain: tell_drain,
    commands.AgentAnswered: agent_answered,
    commands.PauseAnswered: pause_answered,
    commands.ItemsAnswered: items_answered,
    commands.GradeAnswered: grade_answered,
    commands.TaskFinished: task_finished,
    commands.TaskProgressed: task_progressed,
    commands.AgentChanged: agent_changed,
    commands.ModeBroke: mode_broke,
    commands.PurgeFinished: purge_finished,
    **BUS_EFFECTS,
}
