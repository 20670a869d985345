"""What there is in the end: every task as the server answers it, and as the stopped store holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import msgspec

from upbeat.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc, task_spec_pb2
from upbeat_server.engine.model import AttemptOutcome, SideEffects, TaskState, lease_of
from upbeat_server.rpc.ids import lease_text, task_text
from upbeat_server.store.codec import decode_record, decode_spec
from upbeat_server.store.sqlite_schema import open_reader

if TYPE_CHECKING:
    from pathlib import Path

    from upbeat_server.engine.model import TaskRecord, TaskSpec

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
PAGE = 1_000


class FinalAttempt(msgspec.Struct, frozen=True):
    """One of the last attempts of a task."""

    attempt: int
    lease_id: str
    agent_id: str
    outcome: str  # A name of AttemptOutcome.


class FinalTask(msgspec.Struct, frozen=True):
    """One task. What only the store knows is None in an answer of the server."""

    task_id: str
    request_id: str
    body: str
    state: str
    output: str | None
    error: str
    attempt: int
    attempts: tuple[FinalAttempt, ...]
    revision: int
    is_unsafe: bool
    attempts_max: int
    failures: int | None = None
    accepted_attempt: int | None = None

    def as_answered(self) -> FinalTask:
        """Without what the server does not tell."""
        return msgspec.structs.replace(self, failures=None, accepted_attempt=None)


def answered(address: str) -> dict[str, FinalTask]:
    """Every task by id as ListTasks answers it; GetTask must answer the same."""
    tasks: dict[str, FinalTask] = {}
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        request = task_service_pb2.ListTasksRequest(page_size=PAGE, view=task_pb2.TASK_VIEW_FULL)
        while True:
            page = stub.ListTasks(request, timeout=60, wait_for_ready=True)
            tasks |= {task.task_id: _of_answer(task) for task in page.tasks}
            if not page.next_page_token:
                return tasks
            request.page_token = page.next_page_token


def stored(path: Path) -> dict[str, FinalTask]:
    """Every task by id in a file that no server has open; reads through the project's own codec."""
    connection = open_reader(path)
    try:
        rows = connection.execute(
            "select record, spec from task join spec using (namespace_id, task_id)"
            " join namespace using (namespace_id) where name = 'default' order by task_id"
        ).fetchall()
    finally:
        connection.close()
    tasks = [_of_record(decode_record(record), decode_spec(spec)) for record, spec in rows]  # type: ignore[arg-type]
    return {task.task_id: task for task in tasks}


def _text(output: bytes) -> str:
    """An output to be compared; what a flipped bit made of it need not be UTF-8."""
    return output.decode(errors="backslashreplace")


def _of_answer(task: task_pb2.Task) -> FinalTask:
    return FinalTask(
        task_id=task.task_id,
        request_id=task.request_id,
        body=task.spec.input.data.decode(),
        state=task_pb2.Task.State.Name(task.state).removeprefix("STATE_"),
        output=_text(task.output.data) if task.HasField("output") else None,
        error=task.error.reason,
        attempt=task.attempt_count,
        attempts=tuple(
            FinalAttempt(
                each.attempt,
                each.lease_id,
                each.agent_id,
                task_pb2.Attempt.Outcome.Name(each.outcome)
                .removeprefix("OUTCOME_")
                .replace("UNSPECIFIED", "RUNNING"),
            )
            for each in task.attempts
        ),
        revision=task.revision,
        is_unsafe=task.spec.side_effects == task_spec_pb2.SIDE_EFFECTS_UNSAFE,
        attempts_max=task.spec.retry.max_attempts or 3,
    )


def _of_record(record: TaskRecord, spec: TaskSpec) -> FinalTask:
    task_id = record.task_id
    return FinalTask(
        task_id=task_text(task_id),
        request_id=record.request_id,
        body=spec.input.data.decode(),
        state=TaskState(record.state).name,
        output=None if record.output is None else _text(record.output.data),
        error=record.error.reason if record.error is not None else "",
        attempt=record.attempt,
        attempts=tuple(
            FinalAttempt(
                each.attempt,
                lease_text(lease_of(task_id, each.attempt)),  # type: ignore[arg-type]
                each.agent_id,
                AttemptOutcome(each.outcome).name,
            )
            for each in record.attempts
        ),
        revision=record.revision,
        is_unsafe=spec.side_effects == SideEffects.UNSAFE,
        attempts_max=spec.retry.max_attempts,
        failures=record.failures,
        accepted_attempt=record.accepted_attempt,
    )
