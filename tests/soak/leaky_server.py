"""``upbeat serve`` with a planted leak: the proof that the soak flags one.

Every event that reaches the loop leaves a task behind, every few a descriptor and some memory.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from upbeat_server.__main__ import main
from upbeat_server.runtime.inbox import Inbox

EVERY = 5
BYTES = 50_000

_kept: list[object] = []
_push = Inbox.push
_pushed = 0


def _leaking_push(self: Inbox, *arguments: Any) -> None:
    global _pushed  # noqa: PLW0603 - a leak needs a place that outlives everything
    _pushed += 1
    _kept.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))
    if _pushed % EVERY == 0:
        _kept.append((os.dup(0), bytes(BYTES)))
    _push(self, *arguments)


if __name__ == "__main__":
    setattr(Inbox, "push", _leaking_push)  # noqa: B010 - a planted defect has another signature
    sys.exit(main(sys.argv[1:]))
