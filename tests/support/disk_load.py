"""Callers and agents in threads that go on whatever the server says, and note all that they hear.

A caller repeats a batch with the same request_ids until it has a definite answer. A worker
reports a result until it is acknowledged, over broken streams and restarts of the server; what
it was once told to be accepted is never reported again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Self

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.support.told import No, Told, input_of
from upbeat.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)

INDEFINITE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]
PAUSE_S = 0.02
"""Between two tries; a client of ours would wait as long as it is told to."""


def no_of(error: grpc.RpcError) -> No:
    """What the status of a call says."""
    reason, retry_ms = "", 0
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # Cancelled here while the server's answer was on its way.
        status = None
    for detail in status.details if status is not None else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_ms = retry.retry_delay.ToMilliseconds()
    return No(error.code(), reason, retry_ms, error.details() or "")


class Submitter:
    """One caller."""

    def __init__(self, address: str, told: Told, name: str, batch: int, padding: int = 0) -> None:
        self._address = address
        self._told = told
        self._name = name
        self._batch = batch
        self._padding = padding
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        with grpc.insecure_channel(self._address, options=RECONNECT) as channel:
            stub = task_service_pb2_grpc.TaskServiceStub(channel)
            while not self._stop.is_set():
                request_ids = [f"{self._name}-{number + index}" for index in range(self._batch)]
                number += self._batch
                self._submit(stub, request_ids)

    def _submit(self, stub: task_service_pb2_grpc.TaskServiceStub, request_ids: list[str]) -> None:
        batch = task_service_pb2.BatchSubmitTasksRequest()
        for request_id in request_ids:
            request = batch.requests.add(request_id=request_id)
            request.spec.type = "disk"
            request.spec.input.data = input_of(request_id, self._padding)
        while not self._stop.is_set():
            try:
                answer = stub.BatchSubmitTasks(batch, timeout=30)
            except grpc.RpcError as error:
                no = no_of(error)
                self._told.refuse(no)
                if no.code not in INDEFINITE:
                    self._told.wrong.append(f"{self._name} was told {no}")
                    return
                self._stop.wait(PAUSE_S)
                continue
            for request_id, result in zip(request_ids, answer.results, strict=True):
                if result.HasField("task"):
                    self._told.acknowledge(request_id, result.task.task_id)
                elif result.error.reason != "SERVER_BUSY":  # A repeat: its task is just being forgotten.
                    self._told.wrong.append(f"{request_id} was refused: {result.error.message}")
            return

    def stop(self) -> None:
        """Submit no more; an answer that is under way is still noted."""
        self._stop.set()
        self._thread.join(timeout=60)


class Worker:
    """One agent that returns the input of each task at once."""

    def __init__(self, address: str, told: Told, name: str, slots: int) -> None:
        self._address = address
        self._told = told
        self._hello = agent_service_pb2.Hello(agent_id=name, capabilities=["disk"], slots=slots)
        self._held: dict[str, tuple[str, bytes]] = {}  # lease to task and output
        self._stop = threading.Event()
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with grpc.insecure_channel(self._address, options=RECONNECT) as channel:
            stub = agent_service_pb2_grpc.AgentServiceStub(channel)
            while not self._stop.is_set():
                try:
                    self._live(stub)
                except grpc.RpcError as error:
                    no = no_of(error)
                    if no.code not in INDEFINITE:
                        self._told.wrong.append(f"{self._hello.agent_id} was told {no}")
                self._stop.wait(PAUSE_S)

    def _live(self, stub: agent_service_pb2_grpc.AgentServiceStub) -> None:
        frames: queue.SimpleQueue[agent_service_pb2.ConnectRequest | None] = queue.SimpleQueue()
        del self._hello.held_leases[:]
        self._hello.held_leases.extend(self._held)
        frames.put(agent_service_pb2.ConnectRequest(hello=self._hello))

        def written() -> Iterator[agent_service_pb2.ConnectRequest]:
            while (frame := frames.get()) is not None:
                yield frame

        stream = stub.Connect(written())
        self._call = stream
        if self._stop.is_set():
            stream.cancel()
        try:
            for frame in stream:
                self._take(frame, frames)
        finally:
            frames.put(None)

    def _take(
        self,
        frame: agent_service_pb2.ConnectResponse,
        frames: queue.SimpleQueue[agent_service_pb2.ConnectRequest | None],
    ) -> None:
        again: list[str] = []
        if frame.HasField("welcome"):
            self._hello.session_id = frame.welcome.session_id
            for lease_id in frame.welcome.dropped_leases:
                self._held.pop(lease_id, None)
            again = list(self._held)
        for ack in frame.result_acks:
            held = self._held.pop(ack.lease_id, None)
            if held is None:
                self._told.wrong.append(f"{ack.lease_id} was acknowledged and not reported")
            elif ack.outcome == agent_service_pb2.ResultAck.OUTCOME_ACCEPTED:
                self._told.accept(held[0], ack.lease_id, held[1])
        for given in frame.assignments:
            if given.task_id in self._told.accepted:
                self._told.wrong.append(f"{given.task_id} was handed out after its result was accepted")
            self._held[given.lease_id] = (given.task_id, b"done: " + given.input.data)
        new = [given.lease_id for given in frame.assignments]
        if new or again:
            answer = agent_service_pb2.ConnectRequest()
            for lease_id in new:
                answer.attempt_acks.add(lease_id=lease_id, accepted=True)
            for lease_id in [*again, *new]:
                answer.results.add(lease_id=lease_id, output={"data": self._held[lease_id][1]})
            frames.put(answer)

    def stop(self) -> None:
        """Leave."""
        self._stop.set()
        if self._call is not None:
            self._call.cancel()
        self._thread.join(timeout=60)


class DiskLoad:
    """Callers and workers of one server, by address, so that it may come and go."""

    def __init__(self, address: str, told: Told, name: str, *, batch: int = 20, padding: int = 0) -> None:
        self._callers = [Submitter(address, told, f"{name}-c{number}", batch, padding) for number in range(2)]
        self._workers = [Worker(address, told, f"{name}-w{number}", slots=50) for number in range(2)]

    def stop_submitting(self) -> None:
        """Callers end, workers go on."""
        for caller in self._callers:
            caller.stop()

    def stop(self) -> None:
        """Everybody ends."""
        self.stop_submitting()
        for worker in self._workers:
            worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
