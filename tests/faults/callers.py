"""Callers that submit, cancel and ask under faults, and note what they did and were told.

They speak gRPC by bare stubs on the SDK's I/O thread. What had no definite answer is repeated with
the same request_id until it has one or the caller is told to stop; what was refused for now is
given up, so that refusals stay refusals.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from tests.faults.final import ENDED
from tests.support import facts as f
from tests.support.scripted import info_of
from upbeat.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc, task_spec_pb2

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tests.support.facts import Ledger

CALL_S = 2.0
AGAIN_S = 0.1
NOT_THERE = "NOT_THERE"
"""Noted as the state of a task that the server does not know; for the checker to judge."""
INDEFINITE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_retries", 0),
)


class Order(msgspec.Struct, frozen=True):
    """What a task is to do; see ``recorded_agents``."""

    id: str
    ms: int
    fails: int
    deaf: bool
    is_unsafe: bool
    attempts_max: int

    @property
    def body(self) -> str:
        """The task's input."""
        return json.dumps({"id": self.id, "ms": self.ms, "fails": self.fails, "deaf": self.deaf})

    def fill(self, request: task_service_pb2.SubmitTaskRequest) -> None:
        """Put it into a submission."""
        request.request_id = self.id
        request.spec.type = "work"
        request.spec.input.data = self.body.encode()
        request.spec.retry.max_attempts = self.attempts_max
        request.spec.retry.initial_backoff.FromMilliseconds(20)
        if self.is_unsafe:
            request.spec.side_effects = task_spec_pb2.SIDE_EFFECTS_UNSAFE

    def submitting(self) -> f.Submitting:
        """The fact of its submission."""
        return f.Submitting(
            request_id=self.id, body=self.body, is_unsafe=self.is_unsafe, attempts_max=self.attempts_max
        )


class Orders:
    """Draws orders: short and long, some UNSAFE, some that fail once or for good, some deaf."""

    def __init__(self, seed: str, ms_max: int = 300) -> None:
        self._seed = seed
        self._rng = random.Random(seed)
        self._ms_max = ms_max
        self._count = 0

    def draw(self) -> Order:
        """The next one."""
        rng = self._rng
        self._count += 1
        return Order(
            id=f"{self._seed}-{self._count}",
            ms=rng.choice((0, 0, 5, 20, 50, rng.randint(0, self._ms_max))),
            fails=rng.choice((0, 0, 0, 0, 0, 1, 1, 9)),
            deaf=rng.random() < 0.2,
            is_unsafe=rng.random() < 0.25,
            attempts_max=rng.choice((1, 2, 3)),
        )


class Caller:
    """Base: a channel of its own, a seed, a ledger; ``run`` goes on until it is told to stop."""

    def __init__(self, address: str, ledger: Ledger, seed: str) -> None:
        self.ledger = ledger
        self.rng = random.Random(seed)
        self.orders = Orders(seed)
        self.is_stopping = False
        self.done: Future[None] | None = None
        self._address = address

    async def run(self) -> None:
        """Until told to stop; every submission is settled by then."""
        async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
            await self.call(task_service_pb2_grpc.TaskServiceStub(channel))

    async def call(self, stub: Any) -> None:
        """What this kind of caller does."""
        raise NotImplementedError

    async def again(self, method: Any, request: Any, names: list[str], timeout_s: float = CALL_S) -> Any:
        """A unary call, repeated while its answer is indefinite; raises the definite refusal."""
        while True:
            try:
                return await method(request, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                if not is_indefinite(error):
                    raise
                for name in names:
                    self.ledger.note(f.Unanswered(name=name))
            await asyncio.sleep(AGAIN_S)

    async def cancel(self, stub: Any, task_id: str) -> None:
        """Cancel a task; note which of the two won."""
        self.ledger.note(f.Cancelling(task_id=task_id))
        request = task_service_pb2.CancelTaskRequest(task_id=task_id)
        try:
            response = await self.again(stub.CancelTask, request, [task_id])
        except grpc.aio.AioRpcError as error:
            info = info_of(error)
            if info.reason not in {"TASK_FINISHED", "TASK_NOT_FOUND"}:
                raise
            state = info.metadata["state"] if info.reason == "TASK_FINISHED" else NOT_THERE
            self.ledger.note(f.CancelAnswered(task_id=task_id, state=state))
        else:
            self.ledger.note(f.CancelAnswered(task_id=task_id, state=state_name(response.task.state)))

    async def look(self, stub: Any, task_id: str, wait_s: float = 0.0) -> str:
        """Ask for a task; answers its state."""
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        request.wait.FromMilliseconds(int(wait_s * 1_000))
        asked_ns = time.monotonic_ns()
        try:
            response = await self.again(stub.GetTask, request, [task_id], wait_s + CALL_S)
        except grpc.aio.AioRpcError as error:
            if info_of(error).reason != "TASK_NOT_FOUND":
                raise
            self.ledger.note(f.Seen(task_id=task_id, state=NOT_THERE, asked_ns=asked_ns, by="GetTask"))
            return NOT_THERE
        self.see(response.task, asked_ns, "GetTask")
        return state_name(response.task.state)

    def see(self, task: task_pb2.Task, asked_ns: int, by: str) -> None:
        """Note how a task is."""
        output = task.output.data.decode() if task.HasField("output") else None
        self.ledger.note(
            f.Seen(
                task_id=task.task_id,
                state=state_name(task.state),
                asked_ns=asked_ns,
                output=output,
                attempt=task.attempt_count,
                by=by,
            )
        )


class UnaryCaller(Caller):
    """SubmitTask, sometimes twice; follows some tasks to their end and cancels others on the way."""

    async def call(self, stub: Any) -> None:
        """One task after the other."""
        while not self.is_stopping:
            order = self.orders.draw()
            task_id = await self._submit(stub, order)
            if not task_id:
                await asyncio.sleep(AGAIN_S)
                continue
            choice = self.rng.random()
            if choice < 0.1:
                await self._submit(stub, order)
            elif choice < 0.35:
                await asyncio.sleep(self.rng.uniform(0, 0.1))
                await self.cancel(stub, task_id)
            elif choice < 0.6:
                await self._follow(stub, task_id)

    async def _follow(self, stub: Any, task_id: str) -> None:
        while await self.look(stub, task_id, wait_s=0.5) not in {*ENDED, NOT_THERE}:
            if self.is_stopping:
                return

    async def _submit(self, stub: Any, order: Order) -> str:
        request = task_service_pb2.SubmitTaskRequest()
        order.fill(request)
        self.ledger.note(order.submitting())
        try:
            response = await self.again(stub.SubmitTask, request, [order.id])
        except grpc.aio.AioRpcError as error:
            self.ledger.note(
                f.Refused(request_id=order.id, body=order.body, reason=only_for_now(info_of(error).reason))
            )
            return ""
        task_id: str = response.task.task_id
        self.ledger.note(f.Acknowledged(request_id=order.id, task_id=task_id))
        return task_id


class BatchCaller(Caller):
    """BatchSubmitTasks; also a request_id again with another body, which must be refused."""

    async def call(self, stub: Any) -> None:
        """One batch after the other."""
        while not self.is_stopping:
            orders = [self.orders.draw() for _ in range(self.rng.randint(1, 20))]
            reused = msgspec.structs.replace(orders[0], ms=orders[0].ms + 1)
            known = await self._submit(stub, orders)
            if known and self.rng.random() < 0.3:
                await self._submit(stub, [reused])
            for task_id in known:
                if self.rng.random() < 0.1:
                    await self.cancel(stub, task_id)
            await asyncio.sleep(self.rng.uniform(0, 0.2))

    async def _submit(self, stub: Any, orders: list[Order]) -> list[str]:
        batch = task_service_pb2.BatchSubmitTasksRequest()
        for order in orders:
            order.fill(batch.requests.add())
            self.ledger.note(order.submitting())
        response = await self.again(stub.BatchSubmitTasks, batch, [order.id for order in orders])
        accepted = []
        for order, result in zip(orders, response.results, strict=True):
            if result.HasField("task"):
                accepted.append(result.task.task_id)
                self.ledger.note(f.Acknowledged(request_id=order.id, task_id=result.task.task_id))
            elif result.error.code == grpc.StatusCode.UNAVAILABLE.value[0]:
                self.ledger.note(f.Unanswered(name=order.id))
            else:
                reason = only_for_now(result.error.reason)
                self.ledger.note(f.Refused(request_id=order.id, body=order.body, reason=reason))
        return accepted


def is_indefinite(error: grpc.aio.AioRpcError) -> bool:
    """Whether nobody can say what became of a call. grpc itself says INTERNAL of a stream that breaks
    while it is written to.
    """
    return error.code() in INDEFINITE or error.details() == "Internal error from Core"


def only_for_now(reason: str) -> str:
    """The reason, if it is one that these callers may meet; another one is a defect of somebody's."""
    if reason not in {"QUEUE_FULL", "REQUEST_ID_REUSED", "SERVER_BUSY"}:
        raise AssertionError(f"refused with {reason}")
    return reason


def state_name(number: int) -> str:
    """The name of a state."""
    return task_pb2.Task.State.Name(number).removeprefix("STATE_")  # type: ignore[arg-type]
