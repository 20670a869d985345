"""What outsiders were told, held against what is durable: at the moment it leaves, and in the end.

*Persist, then perform* is checked at the wall of the server: an answer, an assignment, an
acknowledgement or a watch event that is not durable when it is written is a violation,
whether or not a crash ever makes it one for somebody.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from upbeat.v1 import agent_service_pb2, task_pb2, task_service_pb2
from upbeat_server.engine.model import AttemptOutcome, ResultOutcome, SideEffects, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.ledger import Ledger, Life

ACCEPTED = agent_service_pb2.ResultAck.OUTCOME_ACCEPTED
REPORTED = (AttemptOutcome.COMPLETED, AttemptOutcome.FAILED)
PARSERS: dict[str, Any] = {
    "AgentService/Connect": agent_service_pb2.ConnectResponse.FromString,
    "TaskService/StreamTasks": task_service_pb2.StreamTasksResponse.FromString,
    "TaskService/SubmitTask": task_service_pb2.SubmitTaskResponse.FromString,
    "TaskService/BatchSubmitTasks": task_service_pb2.BatchSubmitTasksResponse.FromString,
    "TaskService/GetTask": task_service_pb2.GetTaskResponse.FromString,
    "TaskService/CancelTask": task_service_pb2.CancelTaskResponse.FromString,
    "TaskService/WatchTasks": task_service_pb2.WatchTasksResponse.FromString,
}


class Submitted:
    """One request_id, and what its caller knows."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec
        self.task_ids: set[str] = set()
        self.is_indefinite = False
        self.refusals: list[str] = []


class Claims:
    """Everything that anybody outside knows."""

    def __init__(self, ledger: Ledger, fail: Callable[[int, str], None]) -> None:
        self._ledger = ledger
        self._fail = fail
        self.submissions: dict[str, Submitted] = {}
        self.ends: dict[str, tuple[int, bytes]] = {}  # Task to the end that somebody was told.
        self.cancelled: set[str] = set()
        self.too_late_to_cancel: set[str] = set()
        self.starts: list[tuple[str, str, str]] = []  # (task, lease, agent's host), honest agents only.
        self.answers: list[tuple[str, int, bytes | None]] = []  # (lease, outcome, output or None).
        self.counts: Counter[str] = Counter()

    # At the wall.

    def leaves(self, method: str, data: bytes) -> None:
        """A message leaves the server."""
        name = method.removeprefix("upbeat.v1.")
        parse = PARSERS.get(name)
        if parse is None:
            return
        message = parse(data)
        match name:
            case "AgentService/Connect":
                self._to_agent(message)
            case "TaskService/StreamTasks":
                for accepted in message.accepted:
                    self._accepted(accepted.request_id, accepted.task_id)
                for finished in message.finished:
                    self._ended(finished.task_id, finished.state, finished.output.data)
            case "TaskService/BatchSubmitTasks":
                for result in message.results:
                    if result.HasField("task"):
                        self._shown(result.task)
            case "TaskService/WatchTasks":
                for event in message.events:
                    if event.HasField("task"):
                        self._shown(event.task)
            case _:
                self._shown(message.task)

    def _life(self, task_id: str) -> Life | None:
        life = self._ledger.known(int(task_id, 16))
        if life is None:
            self._fail(1, f"task {task_id} was told of and is not durable")
        return life

    def _accepted(self, request_id: str, task_id: str) -> None:
        life = self._life(task_id)
        if life is not None and life.last.request_id != request_id:
            self._fail(1, f"request_id {request_id} was told the task {task_id} of {life.last.request_id}")

    def _ended(self, task_id: str, state: int, output: bytes) -> None:
        life = self._life(task_id)
        if life is None:
            return
        record = life.last
        stored = record.output.data if record.output is not None else b""
        if record.state != state or (state == TaskState.COMPLETED and stored != output):
            words = f"was told to be {TaskState(state).name} and is {TaskState(record.state).name}"
            self._fail(5, f"task {task_id} {words}")

    def _shown(self, task: task_pb2.Task) -> None:
        life = self._life(task.task_id)
        if life is None:
            return
        record = life.at(task.revision)
        if record is None:
            self._fail(12, f"task {task.task_id} was shown with revision {task.revision}, never durable")
        elif record.state != task.state or record.attempt != task.attempt_count:
            self._fail(12, f"task {task.task_id} was shown other than it was with revision {task.revision}")

    def _to_agent(self, frame: agent_service_pb2.ConnectResponse) -> None:
        for assignment in frame.assignments:
            life = self._life(assignment.task_id)
            if life is not None and assignment.attempt not in life.holders:
                self._fail(12, f"attempt {assignment.attempt} of {assignment.task_id} left, not durable")
        self._ledger.letters.leaves(frame)
        for ack in frame.result_acks:
            if ack.outcome != ACCEPTED:
                continue
            life = self._life(ack.lease_id[:16])
            attempt = int(ack.lease_id[16:], 16)
            if life is not None and life.outcomes.get(attempt) not in REPORTED:
                self._fail(12, f"lease {ack.lease_id} was told ACCEPTED, and no result of it is durable")

    # In the end.

    def ended(self, task_id: str, state: int, output: bytes) -> None:
        """Somebody was told how a task ended."""
        known = self.ends.setdefault(task_id, (state, output))
        if known[0] != state:
            self._fail(5, f"task {task_id} ended twice, in {known[0]} and in {state}")

    def check(self) -> None:
        """All that was told, against what is durable now that all is over."""
        for request_id, submitted in self.submissions.items():
            self._check_submission(request_id, submitted)
        known = {**self._ledger.lives, **self._ledger.gone}
        for life in known.values():
            request_id = life.last.request_id
            if life.last.parent_id:
                continue  # A child, which its collaboration asked for.
            if request_id not in self.submissions:
                self._fail(1, f"task {life.task_id:016x} ({request_id}) was submitted by nobody")
        for task_id, (state, output) in self.ends.items():
            self._ended(task_id, state, output)
        for task_id in self.cancelled:
            self._must_be(task_id, is_cancelled=True)
        for task_id in self.too_late_to_cancel:
            self._must_be(task_id, is_cancelled=False)
        self._check_starts()
        self._check_answers()

    def _check_submission(self, request_id: str, submitted: Submitted) -> None:
        kept = [task_id for task_id in submitted.task_ids if int(task_id, 16) in self._ledger.lives]
        if len(kept) > 1:
            self._fail(1, f"{request_id} became {len(kept)} tasks")
        for task_id in submitted.task_ids:
            life = self._life(task_id)
            if life is not None and life.spec.input.data != submitted.spec.input.data:
                self._fail(1, f"{request_id} is task {task_id}, which has another input")
        is_there = any(life.last.request_id == request_id for life in self._ledger.lives.values())
        is_there = is_there or any(life.last.request_id == request_id for life in self._ledger.gone.values())
        if submitted.refusals and not submitted.task_ids and not submitted.is_indefinite and is_there:
            self._fail(1, f"{request_id} was refused ({submitted.refusals[0]}) and is there")

    def _must_be(self, task_id: str, *, is_cancelled: bool) -> None:
        life = self._life(task_id)
        if life is not None and (life.last.state == TaskState.CANCELLED) != is_cancelled:
            told = "cancelled" if is_cancelled else "too late to cancel"
            self._fail(5, f"task {task_id} was told to be {told} and is {TaskState(life.last.state).name}")

    def _check_starts(self) -> None:
        leases = Counter(lease for _, lease, _ in self.starts)
        for lease, count in leases.items():
            if count > 1:
                self._fail(3, f"lease {lease} was started {count} times")
        hosts: dict[str, set[str]] = {}
        for task_id, _, host in self.starts:
            hosts.setdefault(task_id, set()).add(host)
        for task_id, names in hosts.items():
            life = self._life(task_id)
            if life is not None and life.spec.side_effects == SideEffects.UNSAFE and len(names) > 1:
                self._fail(6, f"UNSAFE task {task_id} was acted on by {sorted(names)}")

    def _check_answers(self) -> None:
        for lease, outcome, output in self.answers:
            life = self._ledger.known(int(lease[:16], 16))
            attempt = int(lease[16:], 16)
            ended = None if life is None else life.outcomes.get(attempt)
            if outcome == ACCEPTED:
                if ended not in REPORTED:
                    self._fail(2, f"an agent was told ACCEPTED for {lease}, which ended as {ended}")
                elif life is not None and output is not None and ended == AttemptOutcome.COMPLETED:
                    stored = life.last.output
                    if stored is None or stored.data != output:
                        self._fail(2, f"{lease} was ACCEPTED, and another output is stored")
            elif ended == AttemptOutcome.COMPLETED and life in self._ledger.lives.values():
                self._fail(2, f"{lease} was told {ResultOutcome(outcome).name}, and its result is the task's")

    def unfinished(self) -> list[Life]:
        """Tasks that have not ended."""
        return [life for life in self._ledger.lives.values() if not life.is_finished]
