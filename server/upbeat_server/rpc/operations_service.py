"""OperationsService: tasks are run again, and ended or run again by filter.

Whatever it does to many tasks goes the way that it goes for one of them: a cancel is
a cancel, a retry is a submission with a ``request_id`` that belongs to the task it
retries. So a call that was cut off is repeated, and does nothing twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from upbeat.v1 import operations_service_pb2 as pb
from upbeat_server.engine import reasons
from upbeat_server.engine.model import FINISHED, Refusal, TaskId, TaskState
from upbeat_server.rpc.convert import BASIC, TaskWriter
from upbeat_server.rpc.faults import LABELS_MAX
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.ids import read_task_id, task_text
from upbeat_server.rpc.refusals import refusal_message
from upbeat_server.rpc.selection import Selection
from upbeat_server.rpc.validate import SubmissionReader
from upbeat_server.runtime.refused import Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.events import Submission
    from upbeat_server.rpc.method import Call
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.snapshot import TaskSnapshot

RETRY_OF: Final = "upbeat.retry_of"
"""The label of a task that retries another; its value is the other's id."""
MESSAGE_BYTES_MAX: Final = 1_024
PROBLEMS_TOLD_MAX: Final = 10
COMMIT_BYTES_MAX: Final = 4 << 20
"""Specs that are submitted again in one commit; a larger one goes alone."""

UNFINISHED = tuple(sorted(set(TaskState) - FINISHED))
RETRYABLE = (TaskState.FAILED, TaskState.CANCELLED)


class OperationsService:
    """Serves ``upbeat.v1.OperationsService``."""

    descriptor = pb.DESCRIPTOR.services_by_name["OperationsService"]
    roles: ClassVar[dict[str, Role | None]] = {
        "retry_task": Role.SUBMITTER,
        "bulk_cancel_tasks": Role.ADMIN,
        "bulk_retry_tasks": Role.ADMIN,
    }

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._reader = SubmissionReader(
            orchestrator.bounds.payloads.input_bytes_max, orchestrator.limits.modes
        )
        self._writer = TaskWriter(orchestrator.limits.retention.finished_ms)

    async def retry_task(self, request: pb.RetryTaskRequest, call: Call) -> pb.RetryTaskResponse:
        """Submit the spec of a task that ended again."""
        namespace = call.namespace(request.namespace)
        snapshot = await self._orchestrator.get(namespace, read_task_id(request.task_id))
        submission = self._again(snapshot, request.request_id)
        if isinstance(submission, Refusal):
            raise Refused(submission)
        (answer,) = await self._orchestrator.submit(namespace, [submission])
        if isinstance(answer, Refusal):
            raise Refused(answer)
        response = pb.RetryTaskResponse()
        self._writer.fill(response.task, answer, namespace, BASIC)
        return response

    async def bulk_cancel_tasks(
        self, request: pb.BulkCancelTasksRequest, call: Call
    ) -> pb.BulkCancelTasksResponse:
        """Cancel what matches."""
        if len(request.message.encode()) > MESSAGE_BYTES_MAX:
            raise invalid("message", f"is longer than {MESSAGE_BYTES_MAX:,} bytes")
        namespace = call.namespace(request.namespace)
        selection = Selection(self._orchestrator, namespace, "cancel", UNFINISHED, UNFINISHED)
        response = pb.BulkCancelTasksResponse()
        async for portion in selection.portions(request.filter, request.page_token, request.limit):
            response.matched += len(portion)
            if request.dry_run:
                continue
            ids = [TaskId(snapshot.record.task_id) for snapshot in portion]
            answers = await asyncio.gather(*(self._cancel(namespace, i, request.message) for i in ids))
            response.cancelled += sum(answer is None for answer in answers)
            _tell_problems(response, zip(ids, answers, strict=True))
        response.next_page_token = selection.next_page_token
        return response

    async def bulk_retry_tasks(
        self, request: pb.BulkRetryTasksRequest, call: Call
    ) -> pb.BulkRetryTasksResponse:
        """Submit the specs of what matches again."""
        namespace = call.namespace(request.namespace)
        failed = (TaskState.FAILED,)
        selection = Selection(self._orchestrator, namespace, "retry", failed, RETRYABLE)
        response = pb.BulkRetryTasksResponse()
        async for portion in selection.portions(request.filter, request.page_token, request.limit):
            response.matched += len(portion)
            if request.dry_run:
                continue
            for part in _commits(portion):
                answered = await self._retry(namespace, part)
                response.retried += sum(answer is None for _, answer in answered)
                _tell_problems(response, answered)
        response.next_page_token = selection.next_page_token
        return response

    async def _cancel(self, namespace: str, task_id: TaskId, message: str) -> Refusal | None:
        """Cancel one of many; the refusal of that one. Raises Refused for what concerns all."""
        try:
            await self._orchestrator.cancel(namespace, task_id, message)
        except Refused as error:
            if error.refusal.reason in (reasons.TASK_FINISHED, reasons.TASK_NOT_FOUND):
                return error.refusal
            raise
        return None

    async def _retry(
        self, namespace: str, portion: list[TaskSnapshot]
    ) -> list[tuple[TaskId, Refusal | None]]:
        """Retry tasks in one commit; with each the refusal of that one."""
        answers: dict[TaskId, Refusal | None] = {}
        submissions: dict[TaskId, Submission] = {}
        for snapshot in portion:
            task_id = TaskId(snapshot.record.task_id)
            submission = self._again(snapshot)
            if isinstance(submission, Refusal):
                answers[task_id] = submission
            else:
                submissions[task_id] = submission
        decided = (
            await self._orchestrator.submit(namespace, list(submissions.values())) if submissions else []
        )
        for task_id, answer in zip(submissions, decided, strict=True):
            answers[task_id] = answer if isinstance(answer, Refusal) else None
        return list(answers.items())

    def _again(self, snapshot: TaskSnapshot, request_id: str = "") -> Submission | Refusal:
        """The submission that retries a task, or why it cannot be retried."""
        record = snapshot.record
        text = task_text(record.task_id)
        state = TaskState(record.state)
        if record.parent_id:
            words = "is part of a collaboration: retry its root"
            return _not_retryable(text, state, words, root_task_id=task_text(record.root_id))
        if state not in RETRYABLE:
            words = "COMPLETED: submit it anew to run it again" if state in FINISHED else "not finished yet"
            return _not_retryable(text, state, f"is {words}")
        spec = snapshot.spec
        labels = {**spec.labels, RETRY_OF: text}
        if len(labels) <= LABELS_MAX:
            spec = msgspec.structs.replace(spec, labels=labels)
        return self._reader.again(spec, request_id or f"retry:{text}")


def _commits(portion: list[TaskSnapshot]) -> list[list[TaskSnapshot]]:
    """The portion in parts whose inputs are small enough for one commit."""
    parts: list[list[TaskSnapshot]] = []
    room = 0
    for snapshot in portion:
        size = len(snapshot.spec.input.data)
        if not parts or size > room:
            parts.append([])
            room = COMMIT_BYTES_MAX
        parts[-1].append(snapshot)
        room -= size
    return parts


def _tell_problems(
    response: pb.BulkCancelTasksResponse | pb.BulkRetryTasksResponse,
    answered: Iterable[tuple[TaskId, Refusal | None]],
) -> None:
    for task_id, refusal in answered:
        if refusal is None:
            continue
        response.problem_count += 1
        if len(response.problems) < PROBLEMS_TOLD_MAX:
            problem = response.problems.add(task_id=task_text(task_id))
            problem.error.CopyFrom(refusal_message(refusal))


def _not_retryable(text: str, state: TaskState, words: str, **metadata: str) -> Refusal:
    details = {"task_id": text, "state": state.name, **metadata}
    return Refusal(reasons.NOT_RETRYABLE, f"task {text} {words}", details)
