"""A real server on a troubled store: with HTTP, under a tracer if wanted, and it may fail to start."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.http_call import get
from tests.support.server_process import READY_S, ServerProcess, free_port

PATIENCE_S = 60.0
CAREFUL = "upbeat_server"
CARELESS = "tests.support.careless_server"


class Failed(NamedTuple):
    """How a start ended that could not succeed."""

    code: int
    output: str


class StoreServer(ServerProcess):
    """``upbeat serve`` with gRPC and HTTP on fixed ports."""

    def __init__(self, store: Path, *options: str, module: str = CAREFUL, **settings: object) -> None:
        logs = store.parent.parent
        self.http_port = free_port()
        self._module = module
        # By dotted key with __ for the dots, as the environment names them.
        self._environment = {f"UPBEAT_{key.upper()}": str(value) for key, value in settings.items()}
        self.tracer: list[str] = []  # In front of the command.
        super().__init__(f"sqlite:{store}", logs, *options)

    def start(self) -> Self:
        """Start it and wait until it answers. Raises with the end of its log when it does not."""
        self.launch()
        with grpc.insecure_channel(
            self.address,
            options=[("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50)],
        ) as channel:
            ready = grpc.channel_ready_future(channel)
            ends = time.monotonic() + READY_S
            while not ready.done():
                try:
                    ready.result(timeout=0.1)
                except grpc.FutureTimeoutError:
                    if not self.is_running() or time.monotonic() > ends:
                        ready.cancel()
                        message = f"the server did not start: {self.text()[-2_000:]}"
                        raise RuntimeError(message) from None
        return self

    def launch(self) -> None:
        """Start it and do not wait."""
        command = [*self.tracer, sys.executable, "-m", self._module, "serve", "--listen", self.address]
        command += ["--http", f"127.0.0.1:{self.http_port}", "--store", self.store, *self._options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **self._environment}
            )

    def start_in_vain(self) -> Failed:
        """Start it and wait for its end. Raises when it serves instead."""
        before = len(self.text())
        self.launch()
        process = self._process
        assert process is not None
        try:
            code = process.wait(timeout=READY_S)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"the server started: {self.text()[before:]}"
            raise RuntimeError(message) from None
        self._process = None
        return Failed(code, self.text()[before:])

    @contextmanager
    def stopped_at_the_end(self) -> Iterator[Self]:
        """Started and ended as often as the test likes; in the end it is gone."""
        try:
            yield self
        finally:
            self.kill()

    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def text(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for_log(self, event: str, times: int = 1) -> None:
        """Wait until it has logged an event so often."""
        ends = time.monotonic() + PATIENCE_S
        while self.text().count(f'"{event}"') < times:
            if time.monotonic() > ends or not self.is_running():
                message = f"{event} was not logged {times} times: {self.text()[-2_000:]}"
                raise TimeoutError(message)
            threading.Event().wait(0.02)

    def holdings(self) -> dict[str, int]:
        """How many descriptors and threads it has."""
        place = Path(f"/proc/{self.pid}")
        return {name: len(list((place / name).iterdir())) for name in ("fd", "task")}

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """What /readyz says now."""
        answer = asyncio.run(get(self.http_port, "/readyz"))
        return answer.status, json.loads(answer.body)

    def wait_for_health(self, *, serving: bool) -> None:
        """Wait until grpc health says so; it is watched, as a load balancer would."""
        wanted = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        with grpc.insecure_channel(self.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
            for answer in watch:
                if answer.status == wanted:
                    watch.cancel()
                    return
