"""The plug is pulled: every acknowledged submission and accepted result is there afterwards.

One round of each way to lose power in the default run; ``make power ROUNDS=200`` for more. The
control at the end runs the same rounds on commits that are not synced, and fails unless something
acknowledged is lost: without it nobody would know that this file can see a loss.

What counts is what was heard before the cut. A real one ends all at once; this one takes a few
milliseconds, and an fdatasync that is under way meanwhile can return 0 although the kernel aborts
the journal commit that it waited for (seen in 2 of 100 rounds, with strace). What is sent from then
until the process is gone would not have left a machine without power.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.disk_load import DiskLoad
from tests.support.ext4_disk import Ext4Disk, ext4_disk
from tests.support.store_server import CARELESS, StoreServer
from tests.support.told import Told, missing_from_file, missing_from_server

ROUNDS = int(os.environ.get("POWER_ROUNDS", "4"))
ROUNDS_A_DISK = 20
CONTROL_ROUNDS = 12
SEED = 20_260_101


def cut_then_kill(server: StoreServer, disk: Ext4Disk, told: Told) -> None:
    """Everything stops at once."""
    told.close()
    disk.cut_power()
    server.kill()


def kill_then_cut(server: StoreServer, disk: Ext4Disk, _told: Told) -> None:
    """The process is gone first: what it had written and not synced is in memory only."""
    server.kill()
    disk.cut_power()


def cut_and_look_on(server: StoreServer, disk: Ext4Disk, told: Told) -> None:
    """The disk is gone first: the server must not acknowledge anything any more."""
    told.close()
    disk.cut_power()
    for _ in range(3):  # By then everybody has read what was sent before.
        told.wait_for_refusal("STORE_UNAVAILABLE")
    late = told.late
    told.wait_for_refusal("STORE_UNAVAILABLE")
    server.kill()
    assert told.late == late, "something was acknowledged after the disk was gone"


def cut_while_starting(server: StoreServer, disk: Ext4Disk, told: Told) -> None:
    """Killed under load, and the plug is pulled while the next one reads what was left."""
    server.kill()
    server.launch()
    lock = Path(f"{server.store.partition(':')[2]}.lock")
    while lock.read_text().split()[:1] != [str(server.pid)]:
        assert server.is_running(), server.text()[-2_000:]
    told.close()
    disk.cut_power()
    server.kill()


WAYS: tuple[Callable[[StoreServer, Ext4Disk, Told], None], ...] = (
    cut_then_kill,
    kill_then_cut,
    cut_and_look_on,
    cut_while_starting,
)


def play_round(server: StoreServer, disk: Ext4Disk, told: Told, number: int) -> None:
    """Load, cut, power on again; nothing runs afterwards."""
    told.open()
    draw = random.Random(f"{SEED}/{number}")
    padding = draw.choice((0, 500, 20_000))  # The last one has checkpoints under way.
    with DiskLoad(server.address, told, f"round{number}", padding=padding):
        told.wait_for_more(draw.randint(1, 400), draw.randint(0, 200))
        WAYS[number % len(WAYS)](server, disk, told)
    disk.restore_power()


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path) -> None:
    for first in range(0, ROUNDS, ROUNDS_A_DISK):
        folder = tmp_path / str(first)
        folder.mkdir()
        told = Told()
        with ext4_disk(folder) as disk:
            path = disk.place / "upbeat.db"
            with StoreServer(path).stopped_at_the_end() as server:
                for number in range(first, min(first + ROUNDS_A_DISK, ROUNDS)):
                    server.start()
                    assert missing_from_server(told, server.address) == []
                    play_round(server, disk, told, number)
                    assert missing_from_file(told, path) == [], f"round {number}"
                server.start()
                assert missing_from_server(told, server.address) == []
        assert told.accepted


def test_the_same_rounds_lose_what_was_not_synced(tmp_path: Path) -> None:
    with (
        ext4_disk(tmp_path) as disk,
        StoreServer(disk.place / "upbeat.db", module=CARELESS).stopped_at_the_end() as server,
    ):
        for number in range(0, CONTROL_ROUNDS * len(WAYS), len(WAYS)):
            told = Told()
            server.start()
            play_round(server, disk, told, number)
            if missing_from_file(told, disk.place / "upbeat.db"):
                return
    pytest.fail(f"{CONTROL_ROUNDS} power cuts lost nothing that was acknowledged and not synced")
