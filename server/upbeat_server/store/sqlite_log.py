"""Whether the log beside a store file still holds what was acknowledged.

SQLite reads its log up to the first frame that is not right and forgets the rest without a
word: after a crash that is what a transaction looks like whose commit was never answered. But a
log that goes on behind such a frame, or is not there at all beside a file that was being served,
has lost what callers were told. These checks come before anything is changed.

The format is that of https://sqlite.org/fileformat2.html#walformat: a header of 32 bytes, then
frames of 24 bytes and a page. The two salts of a frame are those of the header; its checksum goes
on from that of the frame before it; the last frame of a transaction has the size of the file.
"""

from __future__ import annotations

import struct
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import apsw

from upbeat_server.store.store import StoreInvalid

if TYPE_CHECKING:
    from pathlib import Path

CHECKED_BYTES_MAX = 256 << 20
"""Up to this size every page is looked at when the store is opened: 0.15 s for 100,000 tasks (90 MiB)."""

_HEADER = struct.Struct(">8I")  # Magic, version, page size, checkpoints, two salts, two checksums.
_FRAME = struct.Struct(">6I")  # Page, size of the file after a commit or 0, two salts, two checksums.
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}
"""Byte order of the checksums by magic."""

_WORD = (1 << 32) - 1
_PAGES_AT = 28
"""Where the first page of the file says how many there are."""


def log_of(path: Path) -> Path:
    """The log of a store file."""
    return path.with_name(path.name + "-wal")


def check_file_is_there(path: Path, *, was_serving: bool) -> None:
    """Raise StoreInvalid if the file is gone or empty and there was something in it.

    SQLite would begin anew, and throw the log away.
    """
    log = log_of(path)
    if _size(path):
        return
    if _size(log) > _HEADER.size:
        raise StoreInvalid(
            f"{path} is missing or empty, but its log {log} is there: put the file back, "
            "or restore both from a backup; move the log away to begin anew"
        )
    if was_serving and path.exists():
        raise StoreInvalid(
            f"{path} is empty, and a server was using it: restore it from a backup, "
            "or remove it to begin anew"
        )


def check_log_is_there(path: Path) -> None:
    """Raise StoreInvalid if a server ended without closing the file, and its log is gone since.

    A copy that upbeat made needs none. Opens the file so that no log is made for it.
    """
    if log_of(path).exists() or not _size(path) or _needs_no_log(path):
        return
    raise StoreInvalid(
        f"the log {log_of(path)} is missing, and the server that used it had not moved it into {path}: "
        "what was acknowledged last is in it; put it back, or restore a backup. "
        f"To go on without it (or if another program has moved it into the file since), remove {path}.lock"
    )


def check_log_is_whole(connection: apsw.Connection, path: Path) -> None:
    """Raise StoreInvalid if the log goes on behind the place up to which SQLite can read it."""
    log = log_of(path)
    if _size(log) <= _HEADER.size or connection.pragma("journal_mode") != "wal":
        return
    read, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    page_bytes = int(connection.pragma("page_size"))
    with log.open("rb") as file:
        if _goes_on(file, max(0, read), page_bytes):
            raise StoreInvalid(
                f"the log {log} is damaged behind its frame {max(0, read):,}, and what follows was "
                "acknowledged: restore it and the file from a backup. To go on without what "
                "is lost, move the log away and remove "
                f"{path}.lock"
            )


def check_file_is_whole(connection: apsw.Connection, path: Path) -> None:
    """Raise StoreInvalid if pages are missing or were mixed up; a larger file is checked for its end only.

    It may be shorter than its first page says when a checkpoint was interrupted; the log has the
    rest then. SQLite does not ask whether it really has.
    """
    with path.open("rb") as file:
        head = file.read(_PAGES_AT + 4)
    size = _size(path)
    is_cut_off = size < int.from_bytes(head[_PAGES_AT:]) * int(connection.pragma("page_size"))
    if size > CHECKED_BYTES_MAX and not is_cut_off:
        return
    if (fault := connection.execute("pragma integrity_check(1)").get) != "ok":
        fault = " ".join(str(fault).split())
        raise StoreInvalid(f"{path} is damaged ({fault}): restore it from a backup")


def _goes_on(file: BinaryIO, read: int, page_bytes: int) -> bool:
    """Whether a transaction that was followed by another one ends behind the first frames.

    Another one begins only after the commit before it was synced; so that one was whole, and
    what cannot be read of it today is damage and no crash.
    """
    head = file.read(_HEADER.size)
    magic, _version, log_page_bytes, _count, *rest = _HEADER.unpack(head)
    orders = _ORDERS.get(magic, "<>")
    # A log is begun anew over an old one, so salts that are not those of a good header mean nothing.
    is_good = any(_checksum(head[:24], (0, 0), order) == (rest[2], rest[3]) for order in orders)
    step = _FRAME.size + (log_page_bytes if is_good else page_bytes)
    before: tuple[int, ...] | None = None
    file.seek(_HEADER.size + read * step)
    while len(raw := file.read(step)) == step:
        frame = _FRAME.unpack_from(raw)
        _page, _pages, *salts = frame[:4]
        if (
            before is not None
            and before[1]  # A commit.
            and list(before[2:4]) == salts == (rest[:2] if is_good else salts)
            and any(_checksum(raw[:8] + raw[24:], before[4:], order) == frame[4:] for order in orders)
        ):
            return True
        before = frame
    return False


def _checksum(content: bytes, start: tuple[int, ...], order: str) -> tuple[int, int]:
    """The checksum of the format: it goes on from ``start``."""
    one, two = start
    for first, second in struct.iter_unpack(f"{order}II", content):
        one = (one + first + two) & _WORD
        two = (two + second + one) & _WORD
    return one, two


def _needs_no_log(path: Path) -> bool:
    """Whether it is a copy, or no store of ours, which others say better."""
    try:
        address = f"file:{quote(str(path))}?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        with closing(apsw.Connection(address, flags=flags)) as connection:
            columns = connection.execute("select name from pragma_table_info('namespace')").fetchall()
            if ("is_copy",) in columns:
                return bool(connection.execute("select max(is_copy) from namespace").get)
            return not columns
    except apsw.Error:
        return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
