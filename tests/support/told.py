"""What clients were told, and what has to hold of it whatever happened to the disk.

``Told`` is written by the threads of ``disk_load``. ``missing_from_server`` and
``missing_from_file`` answer in words what of it is no longer there, the second through the
project's own store and codec with the server away; an empty list is what a test wants.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc

from upbeat.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from upbeat_server.engine.model import AttemptOutcome, TaskState
from upbeat_server.store.codec import decode_record, decode_spec
from upbeat_server.store.sqlite import SqliteStore

PATIENCE_S = 60.0
NAMESPACE = "default"


class No(NamedTuple):
    """One call that got no answer of ours: its status and what was said."""

    code: grpc.StatusCode
    reason: str  # ErrorReason without prefix; empty when the server said nothing (it is gone).
    retry_ms: int
    message: str


class Told:
    """Everything that callers and agents heard. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}  # request_id to task_id
        self.accepted: dict[str, str] = {}  # task_id to the lease whose result was accepted
        self.outputs: dict[str, bytes] = {}  # task_id to what was reported with that lease
        self.refusals: list[No] = []
        self.wrong: list[str] = []  # What must never be heard.
        self.late = 0  # Answers heard after the book was closed.
        self._is_closed = False
        self._changed = threading.Condition()

    def close(self) -> None:
        """What is heard from now on does not count; whoever repeats is told again."""
        with self._changed:
            self._is_closed = True

    def open(self) -> None:
        """What is heard from now on counts again."""
        with self._changed:
            self._is_closed = False

    def acknowledge(self, request_id: str, task_id: str) -> None:
        """A submission was answered with its task."""
        with self._changed:
            if self._is_closed:
                self.late += 1
                return
            before = self.acknowledged.setdefault(request_id, task_id)
            if before != task_id:
                self.wrong.append(f"{request_id} was {before} and became {task_id}")
            self._changed.notify_all()

    def accept(self, task_id: str, lease_id: str, output: bytes) -> None:
        """A result was acknowledged as accepted."""
        with self._changed:
            if self._is_closed:
                self.late += 1
                return
            before = self.accepted.setdefault(task_id, lease_id)
            if before != lease_id:
                self.wrong.append(f"{task_id} has accepted results of {before} and {lease_id}")
            self.outputs[task_id] = output
            self._changed.notify_all()

    def refuse(self, no: No) -> None:
        """A call ended otherwise."""
        with self._changed:
            self.refusals.append(no)
            self._changed.notify_all()

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until something holds of what was heard."""
        with self._changed:
            if not self._changed.wait_for(reached, timeout=PATIENCE_S):
                counts = f"{len(self.acknowledged)} acknowledged, {len(self.accepted)} accepted"
                message = f"{what}: {counts}, last refusals {self.refusals[-3:]}"
                raise TimeoutError(message)

    def wait_for_more(self, acknowledged: int = 0, accepted: int = 0) -> None:
        """Wait until so many more submissions and results got their answer."""
        goal = len(self.acknowledged) + acknowledged
        goal_accepted = len(self.accepted) + accepted
        self.wait_until(
            lambda: len(self.acknowledged) >= goal and len(self.accepted) >= goal_accepted,
            f"{acknowledged} more acknowledged and {accepted} more accepted",
        )

    def wait_for_refusal(self, reason: str) -> No:
        """Wait for a refusal of this reason that comes after now."""
        known = len(self.refusals)
        self.wait_until(
            lambda: any(no.reason == reason for no in self.refusals[known:]), f"a refusal with {reason}"
        )
        return next(no for no in self.refusals[known:] if no.reason == reason)


def input_of(request_id: str, padding: int = 0) -> bytes:
    """What a task is given to do: its own name, and bytes that fill the disk."""
    return f"{request_id}\n".encode() + random.Random(request_id).randbytes(padding)


def is_input_of(request_id: str, data: bytes) -> bool:
    """Whether it is the input of that submission."""
    return data.startswith(f"{request_id}\n".encode())


def missing_from_server(told: Told, address: str, *, is_purged: bool = False) -> list[str]:
    """What the server answers otherwise than it did before; finished tasks may be purged by then."""
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 16 << 20)]) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        found: dict[str, task_pb2.Task] = {}
        request = task_service_pb2.ListTasksRequest(page_size=1_000, view=task_pb2.TASK_VIEW_FULL)
        while True:
            page = stub.ListTasks(request, timeout=PATIENCE_S)
            found.update((task.task_id, task) for task in page.tasks)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    faults = list(told.wrong)
    for request_id, task_id in told.acknowledged.items():
        task = found.get(task_id)
        if task is None and is_purged and task_id in told.accepted:
            continue
        if task is None:
            faults.append(f"the server has no {task_id}, which it acknowledged for {request_id}")
        elif task.request_id != request_id or not is_input_of(request_id, task.spec.input.data):
            faults.append(f"{task_id} belongs to {task.request_id}, not to {request_id}")
    for task_id, lease_id in told.accepted.items():
        if is_purged and task_id not in found:
            continue
        task = found.get(task_id, task_pb2.Task())
        done = [a.lease_id for a in task.attempts if a.outcome == task_pb2.Attempt.OUTCOME_COMPLETED]
        if task.state != task_pb2.Task.STATE_COMPLETED or done != [lease_id]:
            faults.append(f"{task_id} is {task.state} by {done}, but {lease_id} was accepted")
        elif task.output.data != told.outputs[task_id]:
            faults.append(f"{task_id} has another output than was accepted")
    return faults


def not_completed(told: Told, address: str) -> list[str]:
    """Waits for the end of all tasks; those that did not complete by one result.

    An agent whose result was accepted in a commit of unknown outcome may never hear of it.
    """
    faults = []
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        for task_id in set(told.acknowledged.values()) - told.accepted.keys():
            request = task_service_pb2.GetTaskRequest(task_id=task_id)
            request.wait.FromSeconds(int(PATIENCE_S))
            task = stub.GetTask(request, timeout=2 * PATIENCE_S).task
            done = [a.lease_id for a in task.attempts if a.outcome == task_pb2.Attempt.OUTCOME_COMPLETED]
            if task.state != task_pb2.Task.STATE_COMPLETED or len(done) != 1:
                faults.append(f"{task_id} is {task_pb2.Task.State.Name(task.state)} by {done}")
    return faults


def missing_from_file(told: Told, path: Path) -> list[str]:
    """What the store file holds otherwise than clients were told. No server may run on it."""
    return asyncio.run(_missing_from_file(told, path))


async def _missing_from_file(told: Told, path: Path) -> list[str]:
    store = SqliteStore(path)
    await store.open()
    try:
        request_ids = list(told.acknowledged)
        task_ids = [int(told.acknowledged[request_id], 16) for request_id in request_ids]
        stored = await store.get(NAMESPACE, task_ids)
    finally:
        await store.close()
    faults = list(told.wrong)
    for request_id, task_id, row in zip(request_ids, task_ids, stored, strict=True):
        shown = f"{task_id:016x}"
        if row is None:
            faults.append(f"{path.name} has no {shown}, which was acknowledged for {request_id}")
            continue
        record, spec = decode_record(row.record), decode_spec(row.spec)
        if record.request_id != request_id or not is_input_of(request_id, spec.input.data):
            faults.append(f"{shown} belongs to {record.request_id}, not to {request_id}")
        done = [a.attempt for a in record.attempts if a.outcome == AttemptOutcome.COMPLETED]
        lease_id = told.accepted.get(shown)
        if lease_id is None:
            continue
        if record.state != TaskState.COMPLETED or done != [int(lease_id, 16) & 0xFFFF]:
            faults.append(f"{shown} is {TaskState(record.state).name} by {done}, but {lease_id} was accepted")
        elif record.output is None or record.output.data != told.outputs[shown]:
            faults.append(f"{shown} has another output than was accepted")
    return faults
