"""TaskService: thin doors to the runtime. Validate, convert, await, convert back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import msgspec

from upbeat.v1 import task_service_pb2 as pb
from upbeat_server.engine.events import Submission
from upbeat_server.engine.model import Refusal
from upbeat_server.rpc.caller_stream import namespace_mismatch
from upbeat_server.rpc.convert import BASIC, FULL, TaskWriter
from upbeat_server.rpc.faults import Faults
from upbeat_server.rpc.filter import read_filter
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.ids import read_task_id
from upbeat_server.rpc.page_token import PageTokens, read_page_size
from upbeat_server.rpc.parts import fill_time
from upbeat_server.rpc.refusals import refusal_message
from upbeat_server.rpc.spec_writer import repeated_bytes
from upbeat_server.rpc.submission_stream import SubmissionCall
from upbeat_server.rpc.task_watch import TaskWatchCall
from upbeat_server.rpc.validate import SubmissionReader
from upbeat_server.rpc.values import read_duration
from upbeat_server.runtime.refused import Refused, invalid
from upbeat_server.runtime.snapshot import TaskSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.rpc.method import Call, Stream
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.store.store import TaskQuery

BATCH_MAX = 1_000
PAGE_DEFAULT = 50
PAGE_MAX = 1_000
WAIT_MS_MAX = 600_000
PORTION_BYTES = 128 << 10
"""Written of a page at once: tasks with a thousand steps take 30 ms for each MiB."""
MESSAGE_BYTES_MAX = 1_024


class TaskService:
    """Serves ``upbeat.v1.TaskService``."""

    descriptor = pb.DESCRIPTOR.services_by_name["TaskService"]
    roles: ClassVar[dict[str, Role | None]] = {
        "submit_task": Role.SUBMITTER,
        "batch_submit_tasks": Role.SUBMITTER,
        "stream_tasks": Role.SUBMITTER,
        "get_task": Role.VIEWER,
        "list_tasks": Role.VIEWER,
        "cancel_task": Role.SUBMITTER,
        "watch_tasks": Role.VIEWER,
        "explain_task": Role.VIEWER,
    }

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._payloads = orchestrator.bounds.payloads
        self._reader = SubmissionReader(self._payloads.input_bytes_max, orchestrator.limits.modes)
        self._writer = TaskWriter(orchestrator.limits.retention.finished_ms)
        self._tokens = PageTokens(orchestrator.secret)

    async def submit_task(self, request: pb.SubmitTaskRequest, call: Call) -> pb.SubmitTaskResponse:
        """Accept one task."""
        namespace = call.namespace(request.namespace)
        _trace(call, [request])
        submission = self._reader.read(request)
        if isinstance(submission, Refusal):
            raise Refused(submission)
        (answer,) = await self._orchestrator.submit(namespace, [submission])
        if isinstance(answer, Refusal):
            raise Refused(answer)
        response = pb.SubmitTaskResponse()
        self._writer.fill(response.task, answer, namespace, BASIC)
        return response

    async def batch_submit_tasks(
        self, request: pb.BatchSubmitTasksRequest, call: Call
    ) -> pb.BatchSubmitTasksResponse:
        """Accept many tasks in one commit, each on its own."""
        namespace = call.namespace(request.namespace)
        if not 1 <= len(request.requests) <= BATCH_MAX:
            raise invalid(
                "requests", f"has {len(request.requests):,} entries; 1 to {BATCH_MAX:,} are allowed"
            )
        _trace(call, request.requests)
        answers: list[Submission | TaskSnapshot | Refusal] = []
        for inner in request.requests:
            if inner.namespace and inner.namespace != namespace:
                answers.append(namespace_mismatch("namespace", namespace).refusal)
            else:
                answers.append(self._reader.read(inner))
        submissions = [answer for answer in answers if isinstance(answer, Submission)]
        self._expect_answer_to_fit(request, submissions)
        decided = iter(await self._orchestrator.submit(namespace, submissions) if submissions else ())
        response = pb.BatchSubmitTasksResponse()
        for answer in answers:
            outcome = next(decided) if isinstance(answer, Submission) else answer
            result = response.results.add()
            if isinstance(outcome, Refusal):
                result.error.CopyFrom(refusal_message(outcome))
            elif isinstance(outcome, TaskSnapshot):
                self._writer.fill(result.task, outcome, namespace, BASIC)
        return response

    async def stream_tasks(self, stream: Stream) -> None:
        """Submit and observe at high rates."""
        await SubmissionCall(self._orchestrator, self._reader, stream).run()

    async def get_task(self, request: pb.GetTaskRequest, call: Call) -> pb.GetTaskResponse:
        """One task, at once or when it ends."""
        namespace = call.namespace(request.namespace)
        faults = Faults()
        wait_ms = read_duration(request.wait, "wait", faults, zero_allowed=True)
        if wait_ms > WAIT_MS_MAX:
            faults.add("wait", "is longer than 10 minutes: ask again after that")
        faults.raise_any()
        task_id = read_task_id(request.task_id)
        view = _view(request.view, FULL)
        snapshot = await self._orchestrator.get(namespace, task_id, wait_ms)
        response = pb.GetTaskResponse()
        self._writer.fill(response.task, snapshot, namespace, view)
        return response

    async def list_tasks(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:
        """A page of committed tasks."""
        namespace = call.namespace(request.namespace)
        size = read_page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        view = _view(request.view, BASIC)
        query = read_filter(request.filter)
        order = " ".join(request.order_by.split())
        if order not in ("", "create_time", "create_time asc", "create_time desc"):
            raise invalid("order_by", "must be 'create_time' or 'create_time desc'")
        is_descending = order.endswith(" desc")
        listing = ("tasks", namespace, request.filter, "desc" if is_descending else "asc")
        after = self._tokens.read(listing, request.page_token)
        query = msgspec.structs.replace(
            query, descending=is_descending, after_id=int(after, 16) if after else 0
        )
        response = pb.ListTasksResponse()
        if await self._fill_page(response, namespace, query, size, view):
            response.next_page_token = self._tokens.make(listing, response.tasks[-1].task_id)
        return response

    async def cancel_task(self, request: pb.CancelTaskRequest, call: Call) -> pb.CancelTaskResponse:
        """End a task."""
        namespace = call.namespace(request.namespace)
        if len(request.message.encode()) > MESSAGE_BYTES_MAX:
            raise invalid("message", f"is longer than {MESSAGE_BYTES_MAX:,} bytes")
        task_id = read_task_id(request.task_id)
        snapshot = await self._orchestrator.cancel(namespace, task_id, request.message)
        response = pb.CancelTaskResponse()
        self._writer.fill(response.task, snapshot, namespace, BASIC)
        return response

    async def watch_tasks(self, request: pb.WatchTasksRequest, stream: Stream) -> None:
        """A snapshot, then every change."""
        _view(request.view, BASIC)
        await TaskWatchCall(self._orchestrator, self._writer, request, stream).run()

    async def explain_task(self, request: pb.ExplainTaskRequest, call: Call) -> pb.ExplainTaskResponse:
        """Why a task waits, or why its agent was chosen."""
        namespace = call.namespace(request.namespace)
        answer = await self._orchestrator.explain(namespace, read_task_id(request.task_id))
        response = pb.ExplainTaskResponse()
        if isinstance(answer, TaskSnapshot):
            response.state = answer.record.state  # type: ignore[assignment]
            if answer.record.attempts:
                last = answer.record.attempts[-1]
                response.choice = f"attempt {last.attempt}, the last one, ran on agent {last.agent_id}"
            return response
        response.state = answer.state  # type: ignore[assignment]
        response.choice = answer.choice
        for wait in answer.waits:
            reason = response.reasons.add(kind=wait.kind, message=wait.message, count=wait.count)
            if wait.until_ms:
                fill_time(reason.until_time, wait.until_ms)
        for fit in answer.closest:
            response.closest_agents.add(agent_id=fit.agent_id, lacks=fit.lacks, free_slots=fit.free_slots)
        return response

    def _expect_answer_to_fit(self, batch: pb.BatchSubmitTasksRequest, submissions: list[Submission]) -> None:
        """Refuse a batch whose answer, which repeats all but the payloads, a caller could not take."""
        most = self._payloads.page_bytes_max
        repeated = sum(map(repeated_bytes, submissions))
        if batch.ByteSize() + repeated <= most:
            return
        plain = (inner.spec for inner in batch.requests if not inner.spec.HasField("collaboration"))
        size = repeated + sum(spec.ByteSize() - spec.input.ByteSize() for spec in plain)
        if size > most:
            raise invalid(
                "requests",
                f"have {size:,} bytes besides their payloads, which the answer repeats; "
                f"the limit is {most:,}: send several batches",
            )

    async def _fill_page(
        self, response: pb.ListTasksResponse, namespace: str, query: TaskQuery, size: int, view: int
    ) -> bool:
        """Fill a page; whether there is more behind it."""
        bytes_max = self._payloads.page_bytes_max
        page_bytes = unseen_bytes = 0
        after_id = query.after_id
        while True:
            rows = await self._orchestrator.list_tasks(
                namespace, msgspec.structs.replace(query, after_id=after_id), size + 1 - len(response.tasks)
            )
            if not rows:  # Nothing more; fewer rows than asked for do not mean that.
                return False
            for row in rows:
                if len(response.tasks) == size:
                    return True
                added = response.tasks.add()
                self._writer.fill(added, row, namespace, view)
                size_bytes = added.ByteSize() + 8
                page_bytes += size_bytes
                unseen_bytes += size_bytes
                if unseen_bytes > PORTION_BYTES:  # Others want to be served, too.
                    unseen_bytes = 0
                    await asyncio.sleep(0)
                if page_bytes > bytes_max and len(response.tasks) > 1:
                    del response.tasks[-1]
                    return True
                after_id = row.record.task_id


def _trace(call: Call, requests: Iterable[pb.SubmitTaskRequest]) -> None:
    """A task that says nothing of its trace belongs to that of the call; and a call to that of its tasks."""
    specs = [request.spec for request in requests if request.HasField("spec")]
    if call.span is not None:
        call.span.caused_by({spec.traceparent: None for spec in specs if spec.traceparent})
    untold = [spec for spec in specs if not spec.traceparent]
    traceparent = call.traceparent if untold else ""
    if traceparent:
        for spec in untold:
            spec.traceparent = traceparent


def _view(view: int, default: int) -> int:
    if view not in (0, BASIC, FULL):
        raise invalid("view", f"{view} is no TaskView: use BASIC (1) or FULL (2)")
    return view or default
