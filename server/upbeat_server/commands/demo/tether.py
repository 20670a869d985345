"""Runs a module so that it ends with whoever started it: ``python -m ...tether MODULE [ARGUMENT...]``.

The starter holds the other end of standard input. When that closes, because the
starter has ended in whatever way, the process gets SIGTERM: the demo leaves no
servers and agents behind, not even when it is killed.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end_with_starter() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, name="tether", daemon=True).start()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
