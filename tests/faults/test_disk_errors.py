"""Writes and syncs of a loaded server fail: nobody is told what is not so, and all of it heals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.disk_load import DiskLoad
from tests.support.store_server import StoreServer
from tests.support.told import Told, missing_from_file, missing_from_server, not_completed
from tests.support.tracer import injected

SYNCS = "fdatasync,fsync:error=EIO"
ODD_SYNCS = "fdatasync:error=EIO:when=1+2"  # What opens the store anew fails in turn.
CASES = [ODD_SYNCS]
MORE = [
    SYNCS,
    "pwrite64:error=ENOSPC:when=20+20",
    "fdatasync:error=EIO:when=5",
    "fdatasync:error=ENOSPC:when=3+3",
    "fdatasync:error=EIO:when=2+",
    "pwrite64:error=EIO",
    "pwrite64:error=EIO:when=20+20",
    "pwrite64:error=EIO:when=12+",
    "pwrite64:error=ENOSPC",
    "pwrite64:error=EROFS",
    "pwrite64:error=EDQUOT:when=7+9",
]
if os.environ.get("DISK_ALL"):
    CASES += MORE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "upbeat.db"


@pytest.mark.parametrize("injection", CASES)
def test_nothing_acknowledged_is_lost_by_errors_of_the_disk(
    tmp_path: Path, path: Path, injection: str
) -> None:
    told = Told()
    with StoreServer(path).stopped_at_the_end() as server:
        server.start()
        # Inputs that need many pages, so that checkpoints happen meanwhile.
        with DiskLoad(server.address, told, "load", padding=3_000) as load:
            told.wait_for_more(60, 60)
            with injected(server.pid, tmp_path / "trace", injection):
                no = told.wait_for_refusal("STORE_UNAVAILABLE")
                assert no.retry_ms > 0
                assert "repeat the call with the same request_id" in no.message
                for _ in range(20):
                    told.wait_for_refusal("STORE_UNAVAILABLE")
            assert "INJECTED" in (tmp_path / "trace").read_text()
            server.wait_for_health(serving=True)
            told.wait_for_more(60, 60)
            load.stop_submitting()
            assert not_completed(told, server.address) == []
        assert missing_from_server(told, server.address) == []
        server.kill()
    assert missing_from_file(told, path) == []


def test_a_disk_that_stays_broken_costs_nothing_more(tmp_path: Path, path: Path) -> None:
    told = Told()
    with StoreServer(path, runtime__loop__retry_last_ms=50).stopped_at_the_end() as server:
        server.start()
        with DiskLoad(server.address, told, "load"):
            told.wait_for_more(60, 60)
            with injected(server.pid, tmp_path / "trace", SYNCS):
                server.wait_for_health(serving=False)
                assert server.readiness() == (503, {"ready": False, "reasons": ["store unavailable"]})
                server.wait_for_log("store_not_read_again", 3)
                before = server.holdings()
                server.wait_for_log("store_not_read_again", 15)
                after = server.holdings()
                server.kill()
            assert after["task"] <= before["task"] + 2, (before, after)
            assert after["fd"] <= before["fd"] + 6, (before, after)  # Connections come and go.
    assert missing_from_file(told, path) == []
