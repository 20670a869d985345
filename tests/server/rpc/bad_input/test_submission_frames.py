"""Every bad submission of a frame is refused by name, the good one beside it is accepted; batches alike."""

from __future__ import annotations

import itertools
from typing import Any

import grpc
import pytest

from tests.server.rpc.bad_input.case import FrameCase, tasks_pb
from tests.server.rpc.bad_input.submission_frames import CASES
from tests.server.rpc.bad_input.whole_server import LEAKED, WholeServer
from tests.support.runtime import PATIENCE_S
from upbeat.v1 import task_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NUMBERS = itertools.count()
REFUSAL_BYTES_MAX = 8 << 10


def good_submission() -> Any:
    """A submission that nothing is wrong with; a request_id is never used again."""
    spec = {"type": "accepted.work"}
    return tasks_pb.SubmitTaskRequest(spec=spec, request_id=f"good-{next(_NUMBERS)}")


def is_fit(refusal: Any) -> bool:
    """Whether a refusal is one that a caller can take."""
    return bool(
        refusal.ByteSize() <= REFUSAL_BYTES_MAX
        and refusal.message.isprintable()
        and not LEAKED.search(refusal.message)
    )


async def cancel(server: WholeServer, task_id: str) -> None:
    await server.tasks.CancelTask(tasks_pb.CancelTaskRequest(task_id=task_id), timeout=PATIENCE_S)


async def submitted(server: WholeServer) -> int:
    """Tasks that these tests have waiting."""
    request = tasks_pb.ListTasksRequest(filter="type = accepted.work", page_size=1_000)
    tasks = (await server.tasks.ListTasks(request, timeout=PATIENCE_S)).tasks
    return sum(task.state != task_pb2.Task.STATE_CANCELLED for task in tasks)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_bad_submission_is_refused_and_the_good_one_beside_it_accepted(
    case: FrameCase, server: WholeServer
) -> None:
    frame = tasks_pb.StreamTasksRequest()
    frame.CopyFrom(case.frame)
    good = good_submission()
    frame.requests.append(good)
    stream: Any = server.tasks.StreamTasks(timeout=PATIENCE_S)
    await stream.write(frame)
    accepted: dict[str, str] = {}
    refused: list[Any] = []
    while good.request_id not in accepted or (case.reason and not refused):
        answer = await stream.read()
        assert answer is not grpc.aio.EOF
        accepted |= {item.request_id: item.task_id for item in answer.accepted}
        refused += answer.refused
    assert list(accepted) == [good.request_id]
    assert bool(refused) == bool(case.reason)
    if case.reason:
        error = next(item.error for item in refused if item.error.reason == case.reason)
        assert is_fit(error)
        assert case.field in {"", *(violation.field for violation in error.violations)}
    # The stream goes on: another frame is answered, too.
    await stream.write(tasks_pb.StreamTasksRequest(requests=[{"request_id": "later", "spec": {}}]))
    later: list[Any] = []
    while not [item for item in later if item.request_id == "later"]:
        later += (await stream.read()).refused
    assert await submitted(server) == 1
    await cancel(server, accepted[good.request_id])
    await stream.done_writing()
    while await stream.read() is not grpc.aio.EOF:
        pass
    await server.is_unharmed()


async def test_a_batch_takes_what_is_good_in_it(server: WholeServer) -> None:
    bad = [case.frame.requests[0] for case in CASES if len(case.frame.requests) == 1]  # type: ignore[attr-defined]
    bad = [request for request in bad if not request.namespace]
    with_names = [case for case in CASES if len(case.frame.requests) == 1 and case.field != "namespace"]  # type: ignore[attr-defined]
    requests = [request for pair in zip(bad, [good_submission()] * len(bad), strict=True) for request in pair]
    batch = tasks_pb.BatchSubmitTasksRequest(namespace="default", requests=requests)
    answer = await server.tasks.BatchSubmitTasks(batch, timeout=PATIENCE_S)
    assert len(answer.results) == len(requests)
    good = {result.task.task_id for result in answer.results[1::2]}
    assert len(good) == 1  # One request_id and body is one task.
    assert all(good)
    for case, result in zip(with_names, answer.results[::2], strict=True):
        if case.name == "no request_id":  # A batch needs none.
            await cancel(server, result.task.task_id)
            continue
        assert is_fit(result.error)
        assert result.error.reason == case.reason, case.name
        assert case.field in {violation.field for violation in result.error.violations}
    assert await submitted(server) == 1
    await cancel(server, *good)
    await server.is_unharmed()
