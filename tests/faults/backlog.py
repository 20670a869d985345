"""How long a server that was killed takes until it answers, with a backlog to read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc

from tests.support.server_process import ServerProcess
from upbeat.v1 import task_service_pb2, task_service_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

BATCH = 1_000


def ready_s(folder: Path, tasks: int) -> float:
    """Submit so many tasks, kill the server, start it: seconds until it answers for the last task."""
    with ServerProcess(f"sqlite:{folder / 'backlog.db'}", folder) as server:
        last = _submit(server.address, tasks)
        server.kill()
        began = time.monotonic()
        server.start()
        with grpc.insecure_channel(server.address) as channel:
            stub = task_service_pb2_grpc.TaskServiceStub(channel)
            request = task_service_pb2.GetTaskRequest(task_id=last)
            stub.GetTask(request, timeout=60, wait_for_ready=True)
        return time.monotonic() - began


def _submit(address: str, tasks: int) -> str:
    """Answers the id of the last task."""
    last = ""
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        for first in range(0, tasks, BATCH):
            batch = task_service_pb2.BatchSubmitTasksRequest()
            for number in range(first, min(first + BATCH, tasks)):
                request = batch.requests.add(request_id=f"backlog-{number}")
                request.spec.type = "work"
                request.spec.input.data = b"x" * 200
            last = stub.BatchSubmitTasks(batch, timeout=60).results[-1].task.task_id
    return last
