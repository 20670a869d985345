"""Callers over streams: StreamTasks by a bare stub, the SDK's client, and the watchers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc

from tests.faults.callers import (
    AGAIN_S,
    NOT_THERE,
    Caller,
    Order,
    Orders,
    is_indefinite,
    only_for_now,
    state_name,
)
from tests.support import facts as f
from tests.support.scripted import reason_of
from upbeat import Client, Retry, Task
from upbeat.errors import (
    QueueFull,
    RequestIdReused,
    RevisionOutOfRange,
    ServerBusy,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskNotFound,
    Unavailable,
)
from upbeat.v1 import task_service_pb2

if TYPE_CHECKING:
    from tests.support.facts import Ledger

STREAM_S = 5.0
UNDER_WAY_MAX = 100


class StreamCaller(Caller):
    """StreamTasks: submissions within the window, sent again or attached on every new stream."""

    async def call(self, stub: Any) -> None:
        """One stream after the other, until all that was sent has ended or its stream says no more."""
        self._sent: dict[str, Order] = {}  # Without an answer.
        self._acks: list[str] = []
        self._accepted: dict[str, str] = {}  # Not seen to end; request_id to task_id.
        while not self.is_stopping or self._sent:
            try:
                await self._stream(stub)
            except grpc.aio.AioRpcError as error:
                if not is_indefinite(error):
                    raise
            for name in self._sent:
                self.ledger.note(f.Unanswered(name=name))
            await asyncio.sleep(AGAIN_S)

    async def _stream(self, stub: Any) -> None:
        self._acks.clear()
        call = stub.StreamTasks()
        first = task_service_pb2.StreamTasksRequest(attach=list(self._accepted))
        self._add(first, list(self._sent.values()))
        await call.write(first)
        reader = asyncio.create_task(self._read(call))
        try:
            until = time.monotonic() + STREAM_S
            while time.monotonic() < until and not reader.done():
                frame = task_service_pb2.StreamTasksRequest(finished_acks=self._acks)
                self._acks.clear()  # Lost with this stream; the next one tells those ends again.
                if not self.is_stopping and len(self._sent) + len(self._accepted) < UNDER_WAY_MAX:
                    self._add(frame, [self.orders.draw() for _ in range(self.rng.randint(1, 10))])
                if frame.ByteSize():
                    await call.write(frame)
                if self.is_stopping and not self._sent:
                    return
                await asyncio.sleep(self.rng.uniform(0.01, 0.2))
        finally:
            call.cancel()
            await asyncio.wait([reader])
            if not reader.cancelled() and (error := reader.exception()) is not None:
                raise error

    def _add(self, frame: task_service_pb2.StreamTasksRequest, orders: list[Order]) -> None:
        for order in orders:
            order.fill(frame.requests.add())
            self._sent[order.id] = order
            self.ledger.note(order.submitting())

    async def _read(self, call: Any) -> None:
        """Until the stream ends; a caller that hangs up is not an error."""
        try:
            while (frame := await call.read()) is not grpc.aio.EOF:
                self._take(frame)
        except asyncio.CancelledError:
            return

    def _take(self, frame: task_service_pb2.StreamTasksResponse) -> None:
        for accepted in frame.accepted:
            self._sent.pop(accepted.request_id, None)
            self._accepted[accepted.request_id] = accepted.task_id
            self.ledger.note(f.Acknowledged(request_id=accepted.request_id, task_id=accepted.task_id))
        for refused in frame.refused:
            order = self._sent.pop(refused.request_id, None)
            if refused.error.reason == "TASK_NOT_FOUND":
                task_id, now_ns = self._accepted.pop(refused.request_id), time.monotonic_ns()
                self.ledger.note(f.Seen(task_id=task_id, state=NOT_THERE, asked_ns=now_ns, by="StreamTasks"))
            if order is None or refused.error.code == grpc.StatusCode.UNAVAILABLE.value[0]:
                continue
            reason = only_for_now(refused.error.reason)
            self.ledger.note(f.Refused(request_id=order.id, body=order.body, reason=reason))
        for finished in frame.finished:
            self._accepted.pop(finished.request_id, None)
            self.ledger.note(
                f.Seen(
                    task_id=finished.task_id,
                    state=state_name(finished.state),
                    asked_ns=time.monotonic_ns(),
                    output=finished.output.data.decode() if finished.HasField("output") else None,
                    attempt=finished.attempt_count,
                    by="StreamTasks",
                )
            )
            self._acks.append(finished.request_id)


class SdkCaller:
    """The SDK's client: submit, wait for the result, sometimes cancel. Runs on any loop."""

    def __init__(self, address: str, ledger: Ledger, seed: str) -> None:
        self.orders = Orders(seed)
        self.is_stopping = False
        self._address = address
        self._ledger = ledger

    async def run(self) -> None:
        """A few at once, until told to stop."""
        async with Client(self._address, patience=120.0) as client:
            await asyncio.gather(*(self._work(client, number) for number in range(4)))

    async def _work(self, client: Client, number: int) -> None:
        while not self.is_stopping:
            order = self.orders.draw()
            self._ledger.note(order.submitting())
            try:
                handle = await client.submit(
                    "work",
                    order.body.encode(),
                    request_id=order.id,
                    retry=Retry(max_attempts=order.attempts_max, initial_backoff=0.02),
                    side_effects="unsafe" if order.is_unsafe else "idempotent",
                )
            except (QueueFull, ServerBusy, RequestIdReused) as error:
                refused = f.Refused(request_id=order.id, body=order.body, reason=error.reason)
                self._ledger.note(refused)
                await asyncio.sleep(AGAIN_S)
                continue
            self._ledger.note(f.Acknowledged(request_id=order.id, task_id=handle.task_id))
            if number == 0:
                await self._cancel(client, handle.task_id)
            await self._follow(handle)

    async def _cancel(self, client: Client, task_id: str) -> None:
        self._ledger.note(f.Cancelling(task_id=task_id))
        try:
            state = (await client.cancel(task_id)).state.value
        except TaskFinished as error:
            state = error.metadata["state"]
        except TaskNotFound:
            state = NOT_THERE
        except Unavailable:
            self._ledger.note(f.Unanswered(name=task_id))
            return
        self._ledger.note(f.CancelAnswered(task_id=task_id, state=state))

    async def _follow(self, handle: Any) -> None:
        asked_ns, state, output = time.monotonic_ns(), "COMPLETED", None
        try:
            output = (await handle.result()).decode()
        except TaskFailed:
            state = "FAILED"
        except TaskCancelled:
            state = "CANCELLED"
        except TaskNotFound:
            state = NOT_THERE
        self._ledger.note(
            f.Seen(task_id=handle.task_id, state=state, asked_ns=asked_ns, output=output, by="the SDK")
        )


class Watcher(Caller):
    """WatchTasks over the whole namespace by a bare stub; resumes where the last stream ended."""

    async def call(self, stub: Any) -> None:
        """One stream after the other."""
        name, revision = self.orders._seed, 0
        while not self.is_stopping:
            self.ledger.note(f.WatchBegan(watch=name, revision=revision))
            try:
                async for frame in stub.WatchTasks(task_service_pb2.WatchTasksRequest(revision=revision)):
                    for event in frame.events:
                        self._note(name, event.task)
                    if frame.snapshot_done:
                        self.ledger.note(f.Snapshotted(watch=name, revision=frame.revision))
                    elif frame.revision:
                        self.ledger.note(f.WatchCaughtUp(watch=name, revision=frame.revision))
                    revision = frame.revision or revision
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                    revision = 0
                elif not is_indefinite(error) and reason_of(error) != "SLOW_READER":
                    raise
            await asyncio.sleep(AGAIN_S)

    def _note(self, name: str, task: Any) -> None:
        self.ledger.note(
            f.Watched(
                watch=name,
                revision=task.revision,
                task_id=task.task_id,
                state=state_name(task.state),
                attempt=task.attempt_count,
            )
        )


class SdkWatcher:
    """The SDK's watch over the whole namespace; a new one where the server no longer has the changes."""

    def __init__(self, address: str, ledger: Ledger, seed: str) -> None:
        self.is_stopping = False
        self._address = address
        self._ledger = ledger
        self._name = seed

    async def run(self) -> None:
        """Until cancelled: it never ends by itself."""
        async with Client(self._address, patience=120.0) as client:
            while not self.is_stopping:
                try:
                    await self._watch(client)
                except RevisionOutOfRange:
                    continue

    async def _watch(self, client: Client) -> None:
        is_snapshot, last = True, ""
        async with client.watch() as watch:
            async for event in watch:
                if not isinstance(event, Task):
                    continue
                if not last or (not watch.is_snapshot_done and event.task_id <= last):
                    # Snapshots are in the order of ids: one that was interrupted begins anew.
                    self._ledger.note(f.WatchBegan(watch=self._name, revision=0))
                last = event.task_id
                if is_snapshot and watch.is_snapshot_done:
                    # The first change: everything from it on is told.
                    is_snapshot = False
                    self._ledger.note(f.Snapshotted(watch=self._name, revision=event.revision - 1))
                self._tell(event)
                if not is_snapshot:
                    self._ledger.note(f.WatchCaughtUp(watch=self._name, revision=event.revision))

    def _tell(self, event: Task) -> None:
        self._ledger.note(
            f.Watched(
                watch=self._name,
                revision=event.revision,
                task_id=event.task_id,
                state=event.state.value,
                attempt=event.attempt_count,
            )
        )
