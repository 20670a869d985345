from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.committing_process import record_of
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import TaskQuery

ROUNDS = 6
ROOT = Path(__file__).parents[3]


def commit_until_killed(path: Path, acks: int) -> tuple[set[int], set[int]]:
    """What a process had acknowledged as submitted and as finished when SIGKILL ended it."""
    command = [sys.executable, "-m", "tests.support.committing_process", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acks)]
        process.kill()
        lines += process.stdout.readlines()
    words = [line.split() for line in lines if line.endswith(b"\n")]
    assert len(words) >= acks
    submitted = {int(task_id) for word, task_id in words if word == b"submitted"}
    finished = {int(task_id) for word, task_id in words if word == b"finished"}
    return submitted, finished


async def test_every_acknowledged_row_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(path)
    submitted: set[int] = set()
    finished: set[int] = set()
    for round_number in range(ROUNDS):
        more_submitted, more_finished = commit_until_killed(path, 1 + 37 * round_number)
        assert not submitted & more_submitted
        submitted |= more_submitted
        finished |= more_finished
        await store.open()
        found = await store.get("default", sorted(submitted))
        assert [task.task_id for task in found if task] == sorted(submitted)
        done = await store.get("default", sorted(finished))
        assert [task.record for task in done if task] == [record_of(task_id) for task_id in sorted(finished)]
        adoption = await store.adopt("default")
        assert adoption.epoch == 2 * (round_number + 1)
        unfinished = {task.task_id for task in adoption.unfinished}
        ended = {task_id for _, task_id in adoption.finished_requests}
        assert finished <= ended
        assert not unfinished & ended
        labelled = 0
        for worker in range(4):
            query = TaskQuery(labels=(("worker", str(worker)),))
            labelled += len(await store.query("default", query, 100_000, 1 << 30))
        assert labelled == len(unfinished) + len(ended)
        await store.close()
