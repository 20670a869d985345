"""A real server in a process of its own, for tests and benchmarks that kill, restart or load it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

import grpc

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

READY_S = 30.0


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """``upbeat serve`` on a fixed port, so that it can come back under the same address.

    ``settings`` are by dotted key. ``host`` is where it listens.
    """

    module = "upbeat_server"
    """What is run; a test may put one with a defect in its place."""

    def __init__(
        self,
        store: str,
        folder: Path,
        *options: str,
        port: int = 0,
        settings: Mapping[str, object] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.store = store
        self.port = port or free_port()
        self.address = f"{host}:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self.patience_s = READY_S  # For a start.
        self.ready_s = 0.0  # From the start of the last process until it answered.
        self._options = options
        self._settings = {
            "UPBEAT_" + key.upper().replace(".", "__"): str(value) for key, value in (settings or {}).items()
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            message = "the server does not run"
            raise RuntimeError(message)
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it answers. Raises with the end of its log when it does not."""
        command = [sys.executable, "-m", self.module, "serve", "--listen", self.address]
        command += ["--http", "", "--store", self.store, *self._options]
        environment = {**os.environ, **self._settings}
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        with grpc.insecure_channel(
            self.address, options=[("grpc.initial_reconnect_backoff_ms", 50)]
        ) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=self.patience_s)
            except grpc.FutureTimeoutError:
                tail = self.log.read_text(errors="replace")[-2_000:]
                message = f"the server did not answer within {self.patience_s:g} s: {tail}"
                raise RuntimeError(message) from None
        self.ready_s = time.monotonic() - began
        return self

    def pause(self) -> None:
        """SIGSTOP: nothing answers, connections stay."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and wait until it is gone. Answers its exit code."""
        return self.end(signal.SIGTERM)

    def end(self, with_signal: signal.Signals) -> int:
        """Send a signal and wait for the end. Answers the exit code; 0 if it was not running."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            os.kill(process.pid, with_signal)
        return process.wait(timeout=60)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
