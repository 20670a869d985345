"""Connections to a SQLite store, and the schema of its file.

Rules: one connection writes and checkpoints, all others are opened read-only; nothing is
changed in a file before it is known to be ours; a migration is a file
``migrations/NNNN_noun.sql``, never edited once released, run whole or not at all.
"""

from __future__ import annotations

import os
from importlib.resources import files
from typing import TYPE_CHECKING

import apsw

from upbeat_server.store.sqlite_log import (
    check_file_is_there,
    check_file_is_whole,
    check_log_is_there,
    check_log_is_whole,
)
from upbeat_server.store.store import StoreError, StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SQLITE_MIN = (3, 51, 3)
"""Older ones can corrupt a WAL when a checkpoint meets a write."""

APPLICATION_ID = 0x75706274  # "upbt"
BUSY_TIMEOUT_MS = 5_000

WRITER_CACHE_KIB = 16_384
"""Room for the pages that commits go back to. A commit that splits a page, and nearly every one does, walks
all pages of the cache when it ends, so more room costs more than it saves."""


def sql_file(name: str) -> str:
    """The text of a file below ``queries`` or ``migrations``."""
    return files("upbeat_server.store").joinpath(name).read_text("utf-8")


def migrations() -> list[str]:
    """All migrations, oldest first; the version of a file is how many of them it has had."""
    folder = files("upbeat_server.store").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [sql_file(f"migrations/{name}") for name in names]


def check_sqlite(version: str) -> None:
    """Raise StoreInvalid for a SQLite with the WAL bug."""
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_MIN:
        wanted = ".".join(map(str, SQLITE_MIN))
        raise StoreInvalid(
            f"SQLite {version} can corrupt its write-ahead log; {wanted} or newer is needed: upgrade apsw"
        )


def open_writer(path: Path, steps: Sequence[str], *, was_serving: bool = False) -> apsw.Connection:
    """The writing connection, its file created or migrated. Raises StoreInvalid or StoreUnavailable.

    ``was_serving``: whoever used the file last did not come to close it, so its log must be there.
    """
    check_sqlite(apsw.sqlite_lib_version())
    if not path.parent.is_dir():
        raise StoreInvalid(f"the directory {path.parent} does not exist: create it or give another path")
    if path.is_dir():
        raise StoreInvalid(f"{path} is a directory: give the path of a file in it")
    check_file_is_there(path, was_serving=was_serving)
    if was_serving:
        check_log_is_there(path)
    try:
        connection = apsw.Connection(str(path))
    except apsw.Error as error:
        raise StoreUnavailable(f"{path} cannot be opened ({error}): check its permissions") from error
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        # Only a store that is closed in order takes its log away: the mark in the lock file counts on it.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        _check_ours(connection, path, len(steps))
        check_log_is_whole(connection, path)
        check_file_is_whole(connection, path)
        _set_up(connection, path)
        migrate(connection, steps)
        _make_durable(connection, path)
        connection.execute(sql_file("queries/write.sql"))
    except (apsw.Error, OSError) as error:
        connection.close()
        raise opening_error(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """A reading connection beside the writing one."""
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    _set(connection, mmap_size=0, cache_size=-16_384, temp_store="memory")
    return connection


def open_beside(path: Path) -> apsw.Connection:
    """A reading connection to a store that may be in use. Raises StoreInvalid or StoreUnavailable.

    Changes nothing, so the file must have the schema of this release.
    """
    if not path.is_file():
        raise StoreInvalid(f"there is no store at {path}: give the path of its file")
    try:
        connection = open_reader(path)
    except apsw.Error as error:
        raise opening_error(error, path) from error
    try:
        known = len(migrations())
        _check_ours(connection, path, known)
        version = int(connection.pragma("user_version"))
        if version < known:
            raise StoreInvalid(
                f"{path} has schema version {version}, this release needs {known}: start its server once"
                if version
                else f"{path} is empty: give the path of a store"
            )
    except apsw.Error as error:
        connection.close()
        raise opening_error(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def opening_error(error: apsw.Error | OSError, path: Path) -> StoreError:
    """What ``open`` raises for an error of SQLite or of the system."""
    if isinstance(error, apsw.NotADBError):
        return StoreInvalid(f"{path} is not a SQLite file: give another path or move it away")
    if isinstance(error, apsw.CorruptError):
        return StoreInvalid(f"{path} is damaged ({error}): restore it from a backup")
    if isinstance(error, apsw.SQLError):  # Our statements fit our schema, so this is another one.
        return StoreInvalid(f"{path} is damaged, its schema is not ours ({error}): restore it from a backup")
    if isinstance(error, apsw.BusyError):
        return StoreUnavailable(f"{path} is locked by another program ({error}): end it")
    return StoreUnavailable(f"{path} cannot be used now ({error}): check space and permissions")


def migrate(connection: apsw.Connection, steps: Sequence[str]) -> None:
    """Bring the file up to the last step, each in a transaction of its own."""
    version = int(connection.pragma("user_version"))
    for number, step in enumerate(steps[version:], version + 1):
        connection.execute("begin immediate")
        try:
            connection.execute(step).fetchall()
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {number}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise


def _check_ours(connection: apsw.Connection, path: Path, version_max: int) -> None:
    """Raise StoreInvalid, and change nothing, unless the file is empty or a store of a known version."""
    application_id = int(connection.pragma("application_id"))
    version = int(connection.pragma("user_version"))
    tables = int(connection.execute("select count(*) from sqlite_schema").get)
    if application_id != APPLICATION_ID and (application_id or version or tables):
        raise StoreInvalid(f"{path} belongs to another program: give another path or move it away")
    if version > version_max:
        raise StoreInvalid(
            f"{path} has schema version {version}, this release knows {version_max}: upgrade upbeat"
        )


def _set_up(connection: apsw.Connection, path: Path) -> None:
    """Make every commit an fsync, and leave checkpoints to the writer."""
    if connection.readonly("main"):
        raise StoreUnavailable(f"{path} is read-only: make it and its directory writable")
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreUnavailable(
            f"the file system cannot hold a write-ahead log (journal mode {mode}): use another"
        )
    _set(connection, synchronous="full", fullfsync="on", checkpoint_fullfsync="on", wal_autocheckpoint=0)
    _set(connection, mmap_size=0, cache_size=-WRITER_CACHE_KIB, temp_store="memory")


def _set(connection: apsw.Connection, **settings: int | str) -> None:
    """One statement each: of several at once, those behind one that answers a row would not run."""
    for name, value in settings.items():
        connection.pragma(name, value)


def _make_durable(connection: apsw.Connection, path: Path) -> None:
    """Put on disk what this file answers from now on.

    A process that was killed between the write and the fsync of a commit leaves a log that
    reads as committed and is not on disk yet. A checkpoint syncs log and file, so nothing is
    adopted that a power cut could still take back. The directory holds the names of new files.
    """
    _, pages, moved = connection.execute("pragma wal_checkpoint(truncate)").fetchone() or (1, 0, 0)
    if moved < pages:
        raise StoreUnavailable(f"{path} is being read by another program: stop it")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
