"""The processes of a peer: brokers of our own on free ports, workers, all stopped at the end.

Standard library only: it runs in the environments of the peers. Logs go to the current folder, what a broker
stores to the temporary folder, which the runner removes. No service that runs here already is ever touched.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

OPEN_S_MAX = 30.0
STOP_S_MAX = 5.0
# Where Debian and others put servers; a person's PATH need not name it.
FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/rabbitmq/bin")


@dataclass(frozen=True)
class Broker:
    """A broker that answers: its process, where it is, and what it is in words."""

    pid: int
    port: int
    url: str
    words: str


def binary(name: str) -> str:
    """The path of a program. Raises FileNotFoundError with its name alone."""
    postgres = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    folders = [os.environ.get("PATH", os.defpath), *FOLDERS, *sorted(postgres, reverse=True)]
    if found := shutil.which(name, path=os.pathsep.join(folders)):
        return found
    raise FileNotFoundError(f"{name} is not installed")


def version_of(path: str, *options: str) -> str:
    """The first number with dots that a program prints when asked for its version."""
    printed = subprocess.run([path, *options], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", printed.stdout + printed.stderr)
    return found.group() if found else "of unknown version"


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Starts processes; those that still run at its end, or at SIGTERM, are stopped, the last one first."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def start(
        self,
        command: Sequence[object],
        log: str,
        *,
        settings: Mapping[str, str] | None = None,
        user: str | None = None,
        folder: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start one: ``settings`` join its environment, its output goes to ``log``.log."""
        with Path(f"{log}.log").open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(settings or {})},
                user=user,
                group=user,
                extra_groups=[] if user else None,
                cwd=folder,
            )
        self._started.append(process)
        return process

    def start_script(self, command: Sequence[str], **settings: str) -> subprocess.Popen[bytes]:
        """Start a script of this folder in another role; its log is called after the role."""
        return self.start(command, command[-1], settings=settings)

    def wait_for(self, port: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until a process listens. Raises RuntimeError when it ends or takes too long."""
        ends_at = time.monotonic() + OPEN_S_MAX
        name = Path(str(process.args[0] if isinstance(process.args, list) else process.args)).name
        while time.monotonic() < ends_at:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{name} did not listen within {OPEN_S_MAX:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def redis(processes: Processes) -> Broker:
    """Redis with its built-in defaults: snapshots, no append-only file."""
    path, port = binary("redis-server"), free_port()
    folder = tempfile.mkdtemp(prefix="redis-")
    process = processes.start([path, "--port", port, "--bind", "127.0.0.1", "--dir", folder], "redis")
    processes.wait_for(port, process)
    words = f"Redis {version_of(path, '--version')}, own process"
    return Broker(process.pid, port, f"redis://127.0.0.1:{port}", words)


def nats(processes: Processes, *, jetstream: bool) -> Broker:
    """NATS with its defaults, with or without JetStream."""
    path, port = binary("nats-server"), free_port()
    storage = ["-js", "-sd", tempfile.mkdtemp(prefix="nats-")] if jetstream else []
    process = processes.start([path, "-a", "127.0.0.1", "-p", port, *storage], "nats")
    processes.wait_for(port, process)
    words = f"nats-server {version_of(path, '--version')}, own process"
    return Broker(process.pid, port, f"nats://127.0.0.1:{port}", words)


def rabbitmq(processes: Processes) -> Broker:
    """RabbitMQ, a node of its own with a port mapper of its own, without plugins."""
    path = binary("rabbitmq-server")
    if Path(path).parent == Path("/usr/sbin"):  # Debian's wrapper drops the environment; the program is here.
        path = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    port, folder = free_port(), tempfile.mkdtemp(prefix="rabbitmq-")
    # Files of our own in place of those of the machine, which would name the ports of its own service.
    Path(folder, "node.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{port}\n")
    Path(folder, "environment.conf").touch()
    settings = {
        "HOME": folder,
        "RABBITMQ_CONFIG_FILE": f"{folder}/node.conf",
        "RABBITMQ_CONF_ENV_FILE": f"{folder}/environment.conf",
        "RABBITMQ_NODENAME": f"peer{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": folder,
        "RABBITMQ_LOG_BASE": folder,
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
    }
    process = processes.start([path], "rabbitmq", settings=settings)
    processes.wait_for(port, process)
    versions = [
        found.name.split("-")[-1] for found in Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")
    ]
    words = f"RabbitMQ {versions[0] if versions else 'of unknown version'}, own node"
    return Broker(process.pid, port, f"amqp://guest:guest@127.0.0.1:{port}//", words)


def postgres(processes: Processes) -> Broker:
    """PostgreSQL: a cluster of its own as initdb makes it, so that every commit is fsynced."""
    initdb, path, port = binary("initdb"), binary("postgres"), free_port()
    folder = tempfile.mkdtemp(prefix="postgres-")
    user = "postgres" if os.geteuid() == 0 else None  # It refuses to run as root.
    if user is not None:
        shutil.chown(folder, user, user)
    made = subprocess.run(
        [initdb, "-D", f"{folder}/cluster", "-A", "trust", "-U", "postgres"],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd=folder,
    )
    if made.returncode:
        raise RuntimeError(f"initdb ended with {made.returncode}: {made.stderr.strip()}")
    command = [path, "-D", f"{folder}/cluster", "-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1"]
    process = processes.start(command, "postgres", user=user, folder=folder)
    processes.wait_for(port, process)
    ready = [binary("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, stdout=subprocess.DEVNULL, check=False).returncode:
        if process.poll() is not None:
            raise RuntimeError(f"postgres ended with {process.returncode}")
        time.sleep(0.05)
    words = f"PostgreSQL {version_of(path, '--version')}, own cluster"
    return Broker(process.pid, port, f"postgresql://postgres@127.0.0.1:{port}/postgres", words)


def worker_command(module: str, *options: object) -> list[object]:
    """The command of a peer's own worker: ``python -m module ...`` in this environment."""
    return [sys.executable, "-m", module, *options]
