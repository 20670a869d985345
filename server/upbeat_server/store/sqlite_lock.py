"""The right to write a store file: one process at a time, and one store within it.

A lock on ``PATH.lock`` beside the file, held by the operating system for as long as the
process lives, so nothing is left behind by ``kill -9``. The lock file stays where it is:
removing it would let two processes hold locks on different files of the same name. Not a
lock on the store file itself: SQLite's own locks live there, and are lost with any close of it.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from upbeat_server.store.store import StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """Held from construction to ``release``. Raises StoreInvalid if somebody else holds it."""

    def __init__(self, path: Path) -> None:
        place = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError as error:
            raise StoreInvalid(
                f"the directory {path.parent} does not exist: create it or give another path"
            ) from error
        except OSError as error:
            raise StoreUnavailable(
                f"{place} cannot be opened ({error.strerror}): make it writable"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreInvalid(
                f"{path} is in use by another upbeat server (process {holder}): stop it, or give another path"
            ) from error
        self._note_process()

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._descriptor)

    def _note_process(self) -> None:
        """Write who holds it, for the message above; a full disk must not keep us from starting."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except OSError:
            return
