"""SampleService: submits a harmless task, for trying an installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from upbeat.v1 import payload_pb2, sample_service_pb2, task_service_pb2, task_spec_pb2
from upbeat_server.engine import reasons
from upbeat_server.rpc.identity import Role
from upbeat_server.runtime.refused import invalid, refused

if TYPE_CHECKING:
    from upbeat_server.rpc.method import Call

SAMPLE_TYPE: Final = "upbeat.sample"
MESSAGE_BYTES_MAX: Final = 1_024


class Submitter(Protocol):
    """What it needs of TaskService: the same validation, the same answer."""

    async def submit_task(self, request: task_service_pb2.SubmitTaskRequest, call: Call) -> Any:
        """Submit one task."""


class SampleService:
    """Refuses everything unless it is enabled."""

    descriptor = sample_service_pb2.DESCRIPTOR.services_by_name["SampleService"]
    roles: Final[dict[str, Role]] = {"submit_sample_task": Role.SUBMITTER}

    def __init__(self, tasks: Submitter, enabled: bool) -> None:
        self._tasks = tasks
        self._enabled = enabled

    async def submit_sample_task(
        self, request: sample_service_pb2.SubmitSampleTaskRequest, call: Call
    ) -> sample_service_pb2.SubmitSampleTaskResponse:
        """Submit a task of type ``upbeat.sample`` with the message as its input."""
        if not self._enabled:
            raise refused(
                reasons.SAMPLE_DISABLED,
                "the sample service is not enabled: start the server with --sample",
            )
        message = request.message.encode()
        if len(message) > MESSAGE_BYTES_MAX:
            raise invalid("message", f"has {len(message):,} bytes; the limit is {MESSAGE_BYTES_MAX:,}")
        if request.priority not in task_spec_pb2.Priority.values():
            raise invalid("priority", f"{request.priority} is not a priority")
        spec = task_spec_pb2.TaskSpec(
            type=SAMPLE_TYPE,
            priority=request.priority,
            input=payload_pb2.Payload(content_type="text/plain; charset=utf-8", data=message),
        )
        submitted = await self._tasks.submit_task(
            task_service_pb2.SubmitTaskRequest(namespace=request.namespace, spec=spec), call
        )
        return sample_service_pb2.SubmitSampleTaskResponse(task=submitted.task)
