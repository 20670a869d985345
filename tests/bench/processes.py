"""The processes of a benchmark: a fresh server, and agents that are all connected."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

STORES = {"durable": "sqlite:{folder}/bench.db", "memory": "memory"}


@contextmanager
def agents_process(module: str, address: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A module whose agents connect; it prints ``ready`` once they have, and ends with its standard input."""
    command = [sys.executable, "-m", module, address, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            message = "the agents did not connect"
            raise RuntimeError(message)
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def server(store: str) -> Iterator[ServerProcess]:
    """A fresh server."""
    with (
        tempfile.TemporaryDirectory(prefix="upbeat-bench-") as folder,
        ServerProcess(STORES[store].format(folder=folder), Path(folder)) as process,
    ):
        yield process
