"""``upbeat backup`` beside a server under load, and a server on the copy; what both commands say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.faults.audit import Caller, ended, problems
from tests.support.gated_fleet import GatedFleet
from tests.support.server_process import ServerProcess
from tests.support.stored_tasks import QUEUED, write_store
from upbeat_server.__main__ import main
from upbeat_server.store.sqlite_check import Check, Violation

COMMAND_S = 60
SERVED = 100
"""Tasks that are followed to their end on the copy."""


def upbeat(*arguments: str) -> dict[str, Any]:
    """The answer of a command in a process of its own, as a document."""
    line = [sys.executable, "-m", "upbeat_server", *arguments, "--output", "json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def violations(path: Path) -> list[Violation]:
    return list(Check(path).violations())


def ids_in(path: Path) -> set[int]:
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    try:
        return {int(task_id) for (task_id,) in connection.execute("select task_id from task")}
    finally:
        connection.close()


def test_a_backup_under_load_holds_what_was_acknowledged_and_a_server_goes_on_from_it(tmp_path: Path) -> None:
    store, copy = f"sqlite:{tmp_path}/upbeat.db", tmp_path / "backup.db"
    with ServerProcess(store, tmp_path) as server:
        fleet = GatedFleet(server.address, "fleet", agents=2, slots=40)
        callers = [Caller(server.address, prefix) for prefix in ("first", "second")]
        later = Caller(server.address, "later")
        try:
            for caller in callers:
                caller.start()
                caller.wait_for(400)
            fleet.wait_for_starts(80)
            before = {key: value for caller in callers for key, value in dict(caller.acknowledged).items()}
            told = upbeat("backup", "--store", store, str(copy))
            counts = [len(caller.acknowledged) for caller in callers]
            for caller, count in zip(callers, counts, strict=True):
                caller.wait_for(count + 100)  # The server took everything meanwhile, and goes on.
            assert violations(tmp_path / "upbeat.db") == []
            for caller in callers:
                caller.stop()
            server.kill()
            server.start()  # Under the next epoch, which a copy would raise to as well.
            later.start()
            later.wait_for(200)
            later.stop()
            server.kill()
            given_out = {*later.acknowledged.values()}.union(*(c.acknowledged.values() for c in callers))
            assert violations(copy) == []
            assert {int(task_id, 16) for task_id in before.values()} <= ids_in(copy)

            with ServerProcess(f"sqlite:{copy}", tmp_path, port=server.port):
                anew = Caller(server.address, "anew")
                anew.start()
                anew.wait_for(SERVED)
                anew.stop()
                new_ids = list(anew.acknowledged.values())
                fleet.go()  # Its agents hold leases that the copy knows, and some that it does not.
                served = ended(server.address, [*list(before.values())[-SERVED:], *new_ids[:SERVED]])
        finally:
            for caller in (*callers, later):
                caller.stop()
            fleet.close()
    assert told["tasks"] >= len(before)
    assert sum(counts) > len(before)
    assert problems(served, {**before, **anew.acknowledged}) == []
    assert given_out.isdisjoint(new_ids)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    await write_store(path)
    return path


def test_what_a_backup_holds_is_told_to_people_and_to_programs(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = f"sqlite:{path}"
    assert main(["backup", "--store", store, f"{path}.1"]) == 0
    words = capsys.readouterr().out.split()
    assert dict(zip(words[::2], words[1::2], strict=True)).items() >= {
        ("target", f"{path}.1"),
        ("namespaces", "1"),
        ("tasks", "4"),
        ("finished", "1"),
    }
    assert main(["backup", "--store", store, f"{path}.2", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    size = Path(f"{path}.2").stat().st_size
    assert told.pop("seconds") >= 0
    counts = {"namespaces": 1, "tasks": 4, "finished": 1, "notes": 11}
    assert told == {"target": f"{path}.2", **counts, "bytes": size}


def test_the_store_may_be_named_by_the_settings(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPBEAT_STORE__ADDRESS", f"sqlite:{path}")
    assert main(["check"]) == 0
    assert "violations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["backup", "--store", "sqlite:{folder}/none.db", "{folder}/b"], 5, "there is no store at"),
        (["backup", "--store", "memory", "{folder}/b"], 2, "a store in memory has no file"),
        (["backup", "--store", "redis:x", "{folder}/b"], 2, "there is no store at 'redis:x'"),
        (["backup", "--store", "sqlite:{folder}/x.db", "{folder}/taken"], 4, "--force"),
        (["backup", "--store", "sqlite:{folder}/x.db", "{folder}/x.db", "--force"], 5, "is the store itself"),
        (["backup", "--store", "sqlite:{folder}/x.db", "{folder}/no/b"], 5, "does not exist"),
        (["check", "--store", "sqlite:{folder}/none.db"], 5, "there is no store at"),
        (["check", "--store", "sqlite:{folder}/taken"], 5, "is not a SQLite file"),
        (["check", "--store", "memory"], 2, "a store in memory has no file"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_an_exit_code(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    path.with_name("taken").write_text("precious, and long enough to be read as a file of SQLite")
    assert main([word.format(folder=path.parent) for word in arguments]) == code
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""
    assert path.with_name("taken").read_text().startswith("precious")


def test_a_damaged_store_is_told_task_by_task_and_by_the_exit_code(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("update task set priority = 1 where task_id = ?", (QUEUED,))
    connection.close()
    assert main(["check", "--store", f"sqlite:{path}"]) == 1
    told = capsys.readouterr().out
    assert f"{QUEUED:016x}" in told
    assert "its column priority says 1, its bytes say 2" in told
    assert main(["check", "--store", f"sqlite:{path}", "--output", "json"]) == 1
    (violation,) = json.loads(capsys.readouterr().out)["violations"]
    assert violation == {
        "task_id": f"{QUEUED:016x}",
        "namespace": "default",
        "text": "its column priority says 1, its bytes say 2",
    }
