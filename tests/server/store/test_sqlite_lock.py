from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.sqlite_lock import FileLock
from upbeat_server.store.store import StoreInvalid, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from upbeat_server.store.sqlite_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_second_store_in_this_process_is_refused(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "x.db"), SqliteStore(str(tmp_path / "x.db"))
    await first.open()
    with pytest.raises(
        StoreInvalid, match=rf"in use by another upbeat server \(process {os.getpid()}\): stop it"
    ):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_a_path_through_a_link_is_the_same_file(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "x.db")
    await first.open()
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    with pytest.raises(StoreInvalid, match="in use"):
        await SqliteStore(tmp_path / "link.db").open()
    await first.close()


def test_another_process_is_refused_until_the_holder_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "x.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreInvalid, match=rf"\(process {holder.pid}\)"):
            FileLock(tmp_path / "x.db")
        holder.kill()
        holder.wait()
        FileLock(tmp_path / "x.db").release()


def test_a_lock_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "x.db.lock").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        FileLock(tmp_path / "x.db")
