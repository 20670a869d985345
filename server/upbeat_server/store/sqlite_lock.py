"""The right to write a store file: one process at a time, and one store within it.

A lock on ``PATH.lock`` beside the file, held by the operating system for as long as the
process lives, so nothing is left behind by ``kill -9``. The lock file stays where it is:
removing it would let two processes hold locks on different files of the same name. In it are
the process that holds it and, from the time that the store has opened until it begins to close,
the word that it serves: found there by the next one, it says that the log must be there. Not a
lock on the store file itself: SQLite's own locks live there, and are lost with any close of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from upbeat_server.store.store import StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path


_SERVES = "serves"


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
            holder = (self._words() or ["unknown"])[0]
            os.close(self._descriptor)
            raise StoreInvalid(
                f"{path} is in use by another upbeat server (process {holder}): stop it, or give another path"
            ) from error
        self.was_serving = _SERVES in self._words()
        """Whether the last holder ended without closing the store."""
        # Until this one serves, what the last one left is what the next one finds.
        self._note(*[_SERVES] * self.was_serving)

    def note_serving(self) -> None:
        """From now on the file needs its log."""
        self._note(_SERVES)

    def note_closing(self) -> None:
        """From now on it may do without: told durably, because closing takes the log away."""
        self._note()
        with contextlib.suppress(OSError):
            os.fsync(self._descriptor)

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._descriptor)

    def _words(self) -> list[str]:
        return os.pread(self._descriptor, 64, 0).decode("ascii", "replace").split()

    def _note(self, *words: str) -> None:
        """Write who holds it, and what he does; a full disk must not keep us from starting."""
        line = " ".join((str(os.getpid()), *words))
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, f"{line}\n".encode(), 0)
            os.ftruncate(self._descriptor, len(line) + 1)
