"""A consistent copy of a store that a server has open and is writing to.

One SQLite backup step over all pages, on a connection that cannot write: the copy is one
snapshot, the server goes on committing. Small steps would start over at every commit. Until
the copy is done the write-ahead log of the server cannot be cut, so it grows by what is
written meanwhile. Rules:

- what stands at the target is a whole backup or what stood there before: the copy is made
  under another name, put on disk, looked at, and renamed;
- a copy says that it is one (the table ``copy``): its original goes on, and gives out ids
  and leases that the copy knows nothing of. ``adopt.sql`` and ``engine/restored.py`` act on it;
- a backup is one file without a log, so that restoring it is copying one file.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

import apsw

from upbeat_server.store.sqlite_check import Contents, integrity
from upbeat_server.store.sqlite_schema import open_beside, opening_error
from upbeat_server.store.store import StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file; it would be taken for that of the backup."""

_COUNTS = (
    "select (select count(*) from namespace), (select count(*) from task),"
    " (select count(*) from task where end_ms > 0), (select count(*) from note)"
)
_MARK = (
    "insert into copy (made_ms) values (cast(unixepoch('subsec') * 1000 as integer));"
    " update namespace set is_copy = 1"
)


class TargetExists(StoreInvalid):
    """Something stands where the backup should go, and nobody said that it may be replaced."""


def back_up(source: Path, target: Path, *, replaces: bool = False) -> Contents:
    """Copy the store at ``source`` to ``target``; answers what the copy holds.

    Raises TargetExists, StoreInvalid or StoreUnavailable, and then leaves nothing behind.
    """
    source, target = source.resolve(), target.resolve()
    _check_target(source, target, replaces=replaces)
    with contextlib.closing(open_beside(source)) as reader, _unfinished(target) as draft:
        try:
            _copy(reader, draft)
            contents = _look_at(draft)
            _put_in_place(draft, target, replaces=replaces)
        except apsw.Error as error:
            raise opening_error(error, target) from error
        except FileExistsError:
            raise _exists(target) from None
        except OSError as error:
            raise StoreUnavailable(f"{target} cannot be written ({error.strerror})") from error
    return contents


def _check_target(source: Path, target: Path, *, replaces: bool) -> None:
    if not target.parent.is_dir():
        raise StoreInvalid(f"the directory {target.parent} does not exist: create it or give another path")
    if target.is_dir():
        raise StoreInvalid(f"{target} is a directory: give the path of a file in it")
    beside = [source.with_name(source.name + ending) for ending in ("", *COMPANIONS, ".lock")]
    if target in beside or (target.exists() and source.exists() and target.samefile(source)):
        raise StoreInvalid(f"{target} is the store itself: give another path")
    for ending in COMPANIONS:
        log = target.with_name(target.name + ending)
        if log.exists():
            raise StoreInvalid(f"{log} exists: {target} is in use, or was left by a kill; give another path")
    if target.exists() and not replaces:
        raise _exists(target)


def _exists(target: Path) -> TargetExists:
    return TargetExists(f"{target} exists: give another path, or --force to replace it")


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A file beside the target that nobody else uses; it is gone afterwards."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"{draft} cannot be created ({error.strerror})") from error
    try:
        yield draft
    finally:
        for ending in ("", *COMPANIONS):
            draft.with_name(draft.name + ending).unlink(missing_ok=True)


def _copy(reader: apsw.Connection, draft: Path) -> None:
    """One snapshot, marked as a copy, without a log, on disk."""
    with contextlib.closing(apsw.Connection(str(draft))) as copy:
        try:
            copy.pragma("synchronous", "off")  # It is synced once, as a whole, below.
            with copy.backup("main", reader, "main") as backup:
                backup.step(-1)
            copy.pragma("journal_mode", "delete")
            copy.execute(f"begin; {_MARK}; commit")
        except apsw.Error as error:
            if _is_out_of_room(error, copy):
                raise StoreUnavailable(
                    f"there is no space for a backup in {draft.parent}: make room"
                ) from error
            raise
    with draft.open("rb") as file:
        os.fsync(file.fileno())


def _look_at(draft: Path) -> Contents:
    """What the copy holds. Raises StoreInvalid if SQLite finds it damaged."""
    with contextlib.closing(open_beside(draft)) as copy:
        for violation in integrity(copy):
            raise StoreInvalid(f"the copy is not whole, as the store may not be: {violation.text}")
        namespaces, tasks, finished, notes = copy.execute(_COUNTS).fetchone() or (0, 0, 0, 0)
    return Contents(namespaces, tasks, finished, notes, draft.stat().st_size)


def _put_in_place(draft: Path, target: Path, *, replaces: bool) -> None:
    """Give it its name, at once and for good; something that came meanwhile is not replaced."""
    if replaces:
        draft.replace(target)
    else:
        _name_first(draft, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _name_first(draft: Path, target: Path) -> None:
    try:
        target.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError:  # A file system without links.
        if target.exists():
            raise FileExistsError from None
        draft.rename(target)


def _is_out_of_room(error: apsw.Error, copy: apsw.Connection) -> bool:
    return isinstance(error, apsw.FullError) or (
        isinstance(error, apsw.IOError) and copy.system_errno in (errno.ENOSPC, errno.EDQUOT)
    )
