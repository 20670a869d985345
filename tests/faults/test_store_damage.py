"""A server started on what it must not serve: one sentence that says what to do, and an exit code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tests.support.disk_load import DiskLoad
from tests.support.store_server import Failed, StoreServer
from tests.support.told import Told, missing_from_file, missing_from_server

LOCK = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("begin immediate")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Path]:
    """What clients were told by a server that was killed, and the files that it left."""
    folder, told = tmp_path_factory.mktemp("crashed"), Told()
    (folder / "store").mkdir()
    path = folder / "store" / "upbeat.db"
    with StoreServer(path).stopped_at_the_end() as server:
        server.start()
        with DiskLoad(server.address, told, "load"):
            told.wait_for_more(100, 100)
            server.kill()
    return told, path


@pytest.fixture
def path(crashed: tuple[Told, Path], tmp_path: Path) -> Path:
    """A copy of those files."""
    shutil.copytree(crashed[1].parent, tmp_path / "store")
    return tmp_path / "store" / "upbeat.db"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def flip(path: Path, at: int) -> None:
    overwrite(path, at, bytes([path.read_bytes()[at] ^ 4]))


def close_in_order(path: Path) -> None:
    """Move the log into the file, as a server that is told to stop does."""
    with StoreServer(path).stopped_at_the_end() as server:
        server.start()
        assert server.stop() == 0


def cut_off(path: Path) -> None:
    close_in_order(path)
    os.truncate(path, path.stat().st_size // 2 // 4_096 * 4_096)


def exchange_page(path: Path) -> None:
    close_in_order(path)
    overwrite(path, 2 * 4_096, path.read_bytes()[5 * 4_096 : 6 * 4_096])


def be_foreign(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    other = apsw.Connection(str(path))
    other.execute("create table recipes (name text)")
    other.close()


def be_newer(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    path.with_name("upbeat.db.lock").unlink()


def be_no_database(path: Path) -> None:
    close_in_order(path)
    path.write_bytes(b"PK\3\4" * 5_000)


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: log_of(path).unlink(), r"the log .*-wal is missing, .* put it back, or restore a backup"),
    (
        lambda path: flip(log_of(path), 900),
        r"the log .* is damaged .*: restore it and the file from a backup",
    ),
    (exchange_page, r"upbeat\.db is damaged .*: restore it from a backup"),
    (be_foreign, r"belongs to another program: give another path or move it away"),
]
MORE: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda path: path.unlink(),
        r"upbeat\.db is missing or empty, but its log .* is there: put the file back",
    ),
    (lambda path: flip(log_of(path), 3), r"the log .* is damaged .*: restore it and the file from a backup"),
    (cut_off, r"upbeat\.db is damaged .*: restore it from a backup"),
    (be_no_database, r"is not a SQLite file: give another path or move it away"),
    (be_newer, r"has schema version 99, this release knows \d+: upgrade upbeat"),
]
if os.environ.get("DISK_ALL"):
    DAMAGES += MORE


def assert_told(failed: Failed, text: str) -> None:
    """One sentence for a person and an exit code for a script."""
    assert failed.code == 5, failed
    assert "Traceback" not in failed.output
    said = " ".join(failed.output.split())
    assert re.search(f"the server cannot start: .*{text}", said), said


@pytest.mark.parametrize(("damage", "text"), DAMAGES)
def test_a_damaged_store_is_refused_in_words(path: Path, damage: Callable[[Path], object], text: str) -> None:
    damage(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".lock"}
    with StoreServer(path).stopped_at_the_end() as server:
        assert_told(server.start_in_vain(), text)
    for name in ("upbeat.db", "upbeat.db-wal"):  # Nothing that a person could still need was touched.
        if before.get(name):
            assert (path.parent / name).read_bytes() == before[name]


def test_a_store_in_use_is_refused_and_its_server_serves_on(crashed: tuple[Told, Path], path: Path) -> None:
    told = crashed[0]
    with StoreServer(path).stopped_at_the_end() as server, StoreServer(path).stopped_at_the_end() as second:
        server.start()
        assert_told(
            second.start_in_vain(), rf"is in use by another upbeat server \(process {server.pid}\): stop it"
        )
        assert missing_from_server(told, server.address) == []
        server.kill()
    assert missing_from_file(told, path) == []


def test_a_lock_of_another_program_is_waited_for_and_survived(crashed: tuple[Told, Path], path: Path) -> None:
    told = Told()
    with StoreServer(path).stopped_at_the_end() as server:
        server.start()
        holder = subprocess.Popen(
            [sys.executable, "-c", LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with DiskLoad(server.address, told, "load"):
                no = told.wait_for_refusal("STORE_UNAVAILABLE")
                assert no.retry_ms > 0
                assert server.readiness()[0] == 503
                assert missing_from_server(crashed[0], server.address) == []
                holder.kill()
                server.wait_for_health(serving=True)
                told.wait_for_more(40, 40)
        finally:
            holder.kill()
            holder.communicate()
        assert missing_from_server(told, server.address) == []


def test_a_start_on_a_store_that_another_program_locks_says_so(path: Path) -> None:
    close_in_order(path)
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with StoreServer(path).stopped_at_the_end() as server:
            assert_told(server.start_in_vain(), r"cannot be written now, another program locks it .*: end it")
    finally:
        holder.kill()
        holder.communicate()
