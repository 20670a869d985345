"""Errors of the system calls of a running process, made by strace."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = "trace=fsync,fdatasync,pwrite64"


@contextmanager
def injected(pid: int, trace: Path, *injections: str) -> Iterator[None]:
    """All threads of a process, new ones too, meet these errors (``fdatasync:error=EIO:when=3``).

    ``when`` counts for each thread. Skips the test where there is no strace or it may not attach.
    """
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: install it (apt install strace)")
    command = ["strace", "-f", "-o", str(trace), "-e", CALLS, "-p", str(pid)]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        heard = ""
        while " attached" not in heard:
            line = tracer.stderr.readline()
            if not line:
                pytest.skip(f"strace cannot attach here: {heard.strip()}")
            heard += line
        try:
            yield
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=30)
