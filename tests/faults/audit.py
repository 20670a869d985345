"""What callers were told, held against what the server answers in the end."""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import TYPE_CHECKING

import grpc

from upbeat.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.gated_fleet import Start

INDEFINITE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}


class Caller:
    """Submits ``gated`` tasks in a thread; repeats what had no definite answer, keeps what was acked.

    ``ahead`` bounds how many are acknowledged beyond those that somebody has waited for.
    """

    def __init__(self, address: str, prefix: str, *, ahead: float = math.inf) -> None:
        self._address = address
        self._prefix = prefix
        self._ahead = ahead
        self._awaited = 0
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: dict[str, str] = {}  # request_id to task_id

    def start(self) -> None:
        """Begin to submit."""
        self._thread.start()

    def _run(self) -> None:
        number = 0
        with grpc.insecure_channel(
            self._address,
            options=[("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)],
        ) as channel:
            stub = task_service_pb2_grpc.TaskServiceStub(channel)
            while self._may_go_on():
                request_ids = [f"{self._prefix}-{number + index}" for index in range(50)]
                number += 50
                self._submit(stub, request_ids)

    def _may_go_on(self) -> bool:
        """Whether more is to be submitted, as soon as that is known."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stop.is_set() or len(self.acknowledged) < self._awaited + self._ahead
            )
        return not self._stop.is_set()

    def _submit(self, stub: task_service_pb2_grpc.TaskServiceStub, request_ids: list[str]) -> None:
        batch = task_service_pb2.BatchSubmitTasksRequest()
        for request_id in request_ids:
            request = batch.requests.add(request_id=request_id)
            request.spec.type = "gated"
            request.spec.input.data = request_id.encode()
        while True:
            try:
                answer = stub.BatchSubmitTasks(batch, timeout=30, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() not in INDEFINITE:
                    raise
                continue
            break
        with self._changed:
            for request_id, result in zip(request_ids, answer.results, strict=True):
                self.acknowledged[request_id] = result.task.task_id
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until so many submissions were acknowledged."""
        with self._changed:
            self._awaited = max(self._awaited, count)
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: len(self.acknowledged) >= count, timeout=60):
                message = f"only {len(self.acknowledged)} of {count} submissions were acknowledged"
                raise TimeoutError(message)

    def stop(self) -> None:
        """Submit no more, and wait for the answer to what is under way."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=60)


def ended(address: str, task_ids: Iterable[str]) -> list[task_pb2.Task]:
    """Every task as it is when it has ended."""
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        answers = []
        for task_id in task_ids:
            request = task_service_pb2.GetTaskRequest(task_id=task_id)
            request.wait.seconds = 60
            answers.append(stub.GetTask(request, timeout=90).task)
        return answers


def problems(tasks: list[task_pb2.Task], acknowledged: dict[str, str]) -> list[str]:
    """What is wrong with tasks that all should have completed with their own input as output."""
    request_ids = {task_id: request_id for request_id, task_id in acknowledged.items()}
    found = [] if len(request_ids) == len(acknowledged) else ["two request_ids became one task"]
    for task in tasks:
        outcomes = [attempt.outcome for attempt in task.attempts]
        accepted = outcomes.count(task_pb2.Attempt.OUTCOME_COMPLETED)
        if task.state != task_pb2.Task.STATE_COMPLETED:
            found.append(f"{task.task_id} is {task_pb2.Task.State.Name(task.state)}: {task.error.message}")
        elif accepted != 1 or outcomes[-1] != task_pb2.Attempt.OUTCOME_COMPLETED:
            found.append(f"{task.task_id} has {accepted} accepted results")
        elif task.output.data.decode() != request_ids[task.task_id]:
            found.append(f"{task.task_id} has the output of another task")
    return found


def started_twice(starts: Iterable[Start]) -> dict[str, int]:
    """Tasks whose handler began more than once."""
    counts = Counter(start.task_id for start in starts)
    return {task_id: count for task_id, count in counts.items() if count > 1}
