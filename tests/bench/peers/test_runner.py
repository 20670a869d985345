"""The runner with made-up scripts: rows, failures, time limits, and that nothing outlives a script."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from shlex import quote

import pytest

from tests.bench.figures import Figure, Missing
from tests.bench.peers import environments, measure, runner
from tests.bench.peers.pins import PEERS, Peer
from tests.bench.peers.table import table

PEER = Peer("made_up", "made_up", ("made-up==1",))
FACTS = {
    "version": "made up 1",
    "broker": "none",
    "durability": "no",
    "worker": "1",
    "outstanding": "2",
    "broker_cpu_share": 0.5,
}
ROWS = [
    {"measure": measure, "value": value, "unit": unit, "facts": FACTS}
    for measure, value, unit in (("throughput", 1_234.5, "tasks/s"), ("p50", 1.5, "ms"), ("p99", 2.5, "ms"))
]


def run(code: str, folder: Path, seconds: float = 60.0, **settings: str) -> str:
    """What a script printed."""
    return runner.printed([sys.executable, "-c", code], folder, seconds, settings)


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program in the place of the Python of a peer; a test writes it."""
    program = tmp_path / "python"
    monkeypatch.setattr(runner, "python_of", lambda peer, folder: program)
    monkeypatch.setattr(runner, "LOGS", tmp_path / "logs")
    return program


def write(program: Path, code: str) -> None:
    """Make a program of Python code. The path of the interpreter may have spaces, which a #! line cannot."""
    script = program.with_name("script.py")
    script.write_text(f"{code}\n")
    program.write_text(f'#!/bin/sh\nexec {quote(sys.executable)} {quote(str(script))} "$@"\n')
    program.chmod(0o755)


def test_the_last_line_of_a_script_becomes_three_figures(python: Path) -> None:
    write(python, f"print('a package says hello')\nprint({json.dumps(json.dumps(ROWS))})")
    found = runner.outcomes("arq", PEER, quick=True)
    assert found == [
        Figure("peer.arq.throughput", 1_234.5, "tasks/s", FACTS),  # type: ignore[arg-type]
        Figure("peer.arq.p50", 1.5, "ms", FACTS),  # type: ignore[arg-type]
        Figure("peer.arq.p99", 2.5, "ms", FACTS),  # type: ignore[arg-type]
    ]


def test_a_script_is_told_which_peer_it_is_and_whether_to_hurry(python: Path) -> None:
    write(python, "import sys\nsys.exit(' '.join(sys.argv[1:]))")
    assert runner.outcomes("arq", PEER, quick=True) == [
        Missing("peer.arq", "-m tests.bench.peers.made_up arq --quick")
    ]
    assert runner.outcomes("arq", PEER, quick=False) == [
        Missing("peer.arq", "-m tests.bench.peers.made_up arq")
    ]


def test_a_script_that_fails_is_missing_with_the_last_line_of_its_error(python: Path) -> None:
    write(python, "raise RuntimeError('redis-server is not installed')")
    assert runner.outcomes("arq", PEER, quick=True) == [
        Missing("peer.arq", "RuntimeError: redis-server is not installed")
    ]


def test_the_reason_is_found_in_a_group_of_errors(python: Path) -> None:
    write(python, "raise ExceptionGroup('some', [ValueError('an echo is not what was sent')])")
    assert runner.outcomes("arq", PEER, quick=True) == [
        Missing("peer.arq", "ValueError: an echo is not what was sent")
    ]


def test_a_script_that_fails_without_a_word_is_missing_with_its_code(python: Path) -> None:
    write(python, "import os\nos._exit(3)")
    assert runner.outcomes("arq", PEER, quick=True) == [Missing("peer.arq", "ended with 3")]


def test_a_script_that_cannot_be_started_is_missing(python: Path) -> None:
    (missing,) = runner.outcomes("arq", PEER, quick=True)
    assert isinstance(missing, Missing)
    assert "No such file" in missing.why


def test_a_script_that_takes_too_long_is_missing(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "QUICK_S_MAX", 0.5)
    write(python, "import threading\nthreading.Event().wait()")
    assert runner.outcomes("arq", PEER, quick=True) == [Missing("peer.arq", "not done within 0.5 s")]


@pytest.mark.parametrize(
    "output",
    [
        "",
        "no JSON",
        "3",
        "null",
        '["text"]',
        json.dumps([{"measure": "p50"}]),
        json.dumps([{**ROWS[0], "value": "much"}]),
        json.dumps([{**ROWS[0], "facts": 3}]),
    ],
)
def test_output_without_rows_is_refused(output: str) -> None:
    with pytest.raises(runner.Failed, match="printed no rows"):
        runner.figures("arq", output)


def test_rows_that_are_not_all_there_are_refused() -> None:
    with pytest.raises(runner.Failed, match="printed no p99, throughput"):
        runner.figures("arq", json.dumps(ROWS[1:2]))


def is_alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


DAEMON = """
import os, sys, threading
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.close(1)
        threading.Event().wait()
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives daemons back to who started them")
def test_a_daemon_does_not_outlive_its_script(tmp_path: Path) -> None:
    pid = int(run(DAEMON, tmp_path))
    assert pid != os.getpid()
    assert not is_alive(pid)


def test_what_a_script_started_ends_with_it_when_it_is_out_of_time(tmp_path: Path) -> None:
    code = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    before = runner.STOP_S_MAX
    runner.STOP_S_MAX = 0.2
    try:
        with pytest.raises(runner.Failed, match="not done within 2 s"):
            run(code, tmp_path, 2.0)
    finally:
        runner.STOP_S_MAX = before
    assert not is_alive(int((tmp_path / "child").read_text()))


def test_what_a_script_stores_is_gone_with_it(tmp_path: Path) -> None:
    code = "import tempfile; print(tempfile.mkdtemp())"
    folder = Path(run(code, tmp_path).strip())
    assert folder.parent.name.startswith("peer-")
    assert not folder.parent.exists()


def test_an_environment_that_cannot_be_made_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    (missing,) = runner.outcomes("arq", PEER, quick=True)
    assert isinstance(missing, Missing)
    assert "no-python" in missing.why
    assert not (tmp_path / "made_up" / "requirements.txt").exists()


def test_an_environment_is_made_anew_when_a_pin_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def note(command: list[str]) -> None:
        (tmp_path / "made_up").mkdir(exist_ok=True)
        commands.append(command)

    monkeypatch.setattr(environments, "_run", note)
    environments.python_of(PEER, tmp_path)
    environments.python_of(PEER, tmp_path)
    assert [command[-1] for command in commands] == [str(tmp_path / "made_up"), "made-up==1"]
    environments.python_of(Peer("made_up", "made_up", ("made-up==2",)), tmp_path)
    assert commands[-1][-1] == "made-up==2"


def test_only_the_peers_whose_name_contains_the_word_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "outcomes", lambda name, peer, quick: [Missing(f"peer.{name}", "made up")])
    assert [outcome.name for outcome in measure("peer.nats", quick=True)] == [
        "peer.nats_core",
        "peer.nats_jetstream",
    ]
    assert len(list(measure("", quick=True))) == len(PEERS) == 12
    assert list(measure("throughput.durable", quick=True)) == []


def test_every_peer_has_a_script_and_exact_pins() -> None:
    folder = Path(runner.__file__).parent
    assert [name for name, peer in PEERS.items() if not (folder / f"{peer.script}.py").is_file()] == []
    assert [pin for peer in PEERS.values() for pin in peer.requirements if "==" not in pin] == []


def test_the_table_has_a_line_for_each_peer_the_missing_ones_with_the_reason() -> None:
    lines = table(
        [*runner.figures("arq", json.dumps(ROWS)), Missing("peer.dbos", "no database")]
    ).splitlines()
    assert lines[2] == "| arq (made up 1; none) | 1,234 | 1.5 | 2.5 | no | 1 | 2 | broker 0.5 |"
    assert lines[3].startswith("| dbos | missing: no database |")
