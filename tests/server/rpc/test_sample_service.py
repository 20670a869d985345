"""SampleService: off unless enabled, and nothing but an ordinary submission."""

from __future__ import annotations

from typing import Any

import pytest

from upbeat.v1 import sample_service_pb2, task_pb2, task_service_pb2, task_spec_pb2
from upbeat_server.engine import reasons
from upbeat_server.rpc.sample_service import SampleService
from upbeat_server.runtime.refused import Refused


class KeptSubmissions:
    """A TaskService that keeps what it is given."""

    def __init__(self) -> None:
        self.requests: list[task_service_pb2.SubmitTaskRequest] = []

    async def submit_task(self, request: task_service_pb2.SubmitTaskRequest, call: Any) -> Any:
        self.requests.append(request)
        return task_service_pb2.SubmitTaskResponse(task=task_pb2.Task(task_id="7", spec=request.spec))


async def submit(service: SampleService, **fields: Any) -> sample_service_pb2.SubmitSampleTaskResponse:
    request = sample_service_pb2.SubmitSampleTaskRequest(**fields)
    return await service.submit_sample_task(request, None)  # type: ignore[arg-type]


async def test_it_submits_an_ordinary_task() -> None:
    tasks = KeptSubmissions()
    response = await submit(
        SampleService(tasks, True), namespace="n", message="hällo", priority=task_spec_pb2.PRIORITY_HIGH
    )
    (request,) = tasks.requests
    assert response.task.task_id == "7"
    assert (request.namespace, request.spec.type) == ("n", "upbeat.sample")
    assert request.spec.input.data == "hällo".encode()
    assert request.spec.priority == task_spec_pb2.PRIORITY_HIGH


async def test_it_is_off_unless_enabled() -> None:
    with pytest.raises(Refused) as caught:
        await submit(SampleService(KeptSubmissions(), False))
    assert caught.value.refusal.reason == reasons.SAMPLE_DISABLED
    assert "--sample" in caught.value.refusal.message


@pytest.mark.parametrize(
    ("field", "value"), [("message", "é" * 513), ("priority", 99), ("priority", -1), ("priority", 2**31 - 1)]
)
async def test_what_is_out_of_bounds_is_refused_by_its_own_name(field: str, value: Any) -> None:
    tasks = KeptSubmissions()
    with pytest.raises(Refused) as caught:
        await submit(SampleService(tasks, True), **{field: value})
    assert caught.value.refusal.violations[0][0] == field
    assert tasks.requests == []
