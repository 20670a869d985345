"""The demo as a user runs it: its own processes, on real files, with the kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 100


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "upbeat", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finished(*arguments: str, folder: Path) -> tuple[int, str, str]:
    process = start(*arguments, folder=folder)
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree of real modules, one of which does not parse."""
    source = Path(tempfile.__file__).read_bytes()
    for name in ("a.py", "pack/__init__.py", "pack/b.py", "pack/c.py", "other/d.py"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source)
    (tmp_path / "tree" / "pack" / "old.py").write_text("print 'old'\n")
    return tmp_path / "tree"


def check_what_was_done_together(together: dict[str, Any]) -> None:
    """The vote, the race and the stream add up."""
    vote, race, stream = together["vote"], together["race"], together["stream"]
    assert together["errors"] == {}
    assert together["unfinished"] == []
    assert together["children"] == 5 + 3 + 3 * len(stream["items"])
    assert len({ballot["agent"] for ballot in vote["ballots"]}) == 5
    votes = Counter(ballot["module"] for ballot in vote["ballots"])
    assert {entry["module"]: entry["ballots"] for entry in vote["tally"]} == votes
    assert votes[vote["winner"]] == max(votes.values())
    assert [b["dissents"] for b in vote["ballots"]] == [
        b["module"] != vote["winner"] for b in vote["ballots"]
    ]
    assert race["module"] == vote["winner"]
    assert [lane["state"] for lane in race["lanes"] if lane["won"]] == ["COMPLETED"]
    assert len({lane["agent"] for lane in race["lanes"]}) == 3
    assert len({item["module"] for item in stream["items"]}) == len(stream["items"]) == 16
    assert all(item["lines"] and item["functions"] for item in stream["items"])
    assert list(stream["stage_seconds"]) == ["fetch", "measure", "digest"]


@pytest.mark.slow
def test_the_demo_loses_nothing_when_an_agent_is_killed(tmp_path: Path) -> None:
    code, out, err = finished("--quick", "-o", "json", folder=tmp_path)
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    assert report["good"]
    tasks = report["tasks"]
    assert tasks["submitted"] == tasks["recorded"] == tasks["by_state"]["COMPLETED"]
    assert tasks["attempts_by_outcome"]["COMPLETED"] == tasks["submitted"]
    assert (
        tasks["missing"]
        == tasks["unknown"]
        == tasks["unfinished"]
        == tasks["without_exactly_one_result"]
        == []
    )
    assert [agent["agent"] for agent in report["agents"] if agent["killed"]] == ["analyst-2"]
    check_what_was_done_together(report["together"])
    assert "killed with SIGKILL" in err
    assert "\x1b" not in err + out
    assert list(tmp_path.iterdir()) == [], "the store and the logs are left behind"


@pytest.mark.slow
def test_the_demo_reviews_a_tree_of_the_users(tmp_path: Path, tree: Path) -> None:
    code, out, err = finished("--path", str(tree), "--agents", "2", "--no-kill", folder=tmp_path)
    assert code == 0, err
    assert "6 files, 27 tasks" in out
    assert "Nothing was lost" in out
    assert "pack.old" in out
    assert "killed" not in out
    assert "vote: 2 reviewers, which of 5 files is the riskiest?" in err
    assert "Race (competitive)" in out
    assert "5 items in" in out


def test_a_tree_without_python_is_wrong_usage(tmp_path: Path) -> None:
    code, out, err = finished("--path", str(tmp_path), folder=tmp_path)
    assert (code, out) == (2, "")
    assert "no Python file" in err


def test_a_store_that_cannot_be_opened_ends_the_demo_with_the_reason(tmp_path: Path, tree: Path) -> None:
    code, out, err = finished("--path", str(tree), "--store", "nonsense:x", folder=tmp_path)
    assert code != 0
    assert out == ""
    assert "Traceback" not in err
    assert "nonsense" in err


@pytest.mark.slow
def test_staying_up_ends_with_an_interrupt_and_leaves_no_process(tmp_path: Path, tree: Path) -> None:
    process = start("--path", str(tree), "--agents", "2", "--stay", folder=tmp_path)
    assert process.stderr is not None
    heard: list[str] = []
    for line in process.stderr:
        heard.append(line)
        if "Ctrl-C here stops everything" in line:
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, "".join(heard)
    assert "Nothing was lost" in out
    # Its children hold the write end of the log files and nothing of ours: their folder is gone with them.
    assert [path for path in tmp_path.iterdir() if path != tree] == []
