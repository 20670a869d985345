"""``upbeat serve`` as a process: what it says, how it ends, what signals do."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE_S = 60


class Serving:
    """A running `serve`, its announcement read."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "upbeat_server", "serve", *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline()

    def port(self, kind: str) -> int:
        """A port of the announcement."""
        found = re.search(rf"{kind} on 127\.0\.0\.1:(\d+)", self.said)
        assert found, self.said
        return int(found[1])

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Its exit code, when it is there."""
        try:
            return self._process.wait(PATIENCE_S)
        finally:
            self.kill()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    server = Serving(tmp_path, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--store", "memory")
    yield server
    server.kill()


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "upbeat_server", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_it_says_where_it_listens_and_does(serving: Serving) -> None:
    for kind in ("gRPC", "HTTP"):
        socket.create_connection(("127.0.0.1", serving.port(kind)), timeout=PATIENCE_S).close()
    assert "store memory" in serving.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(serving: Serving, number: signal.Signals) -> None:
    serving.signal(number)
    assert serving.ended() == 0


def test_a_port_in_use_is_one_line_and_an_exit_code(serving: Serving, tmp_path: Path) -> None:
    done = run(
        tmp_path,
        *("serve", "--listen", f"127.0.0.1:{serving.port('gRPC')}", "--http", "", "--store", "memory"),
    )
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "in use" in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_not_ours_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, and not to be touched")
    done = run(tmp_path, *("serve", "--listen", "127.0.0.1:0", "--http", "", "--store", "sqlite:notes.txt"))
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "notes.txt" in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "not a database, and not to be touched"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--listen", "0.0.0.0:0"), "--insecure"),
        (("--listen", "50051"), "HOST:PORT"),
        (("--log-level", "loud"), "log.level"),
        (("--config", "nothing.toml"), "nothing.toml"),
        (("--tls-cert", "a.pem"), "belong together"),
        (("--no-such-option",), "no-such-option"),
    ],
)
def test_wrong_settings_are_told_without_a_traceback(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = run(tmp_path, "serve", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_config_show_tells_values_and_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "upbeat.toml").write_text("[service]\ndrain_ms = 7\n")
    done = run(
        tmp_path,
        *("config", "show", "--config", "upbeat.toml"),
        UPBEAT_LOG__LEVEL="debug",
        UPBEAT_AUTH__TOKENS="a-secret-that-stays-one",
    )
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 0
    assert lines["service.drain_ms"].split()[1:] == ["7", "upbeat.toml"]
    assert lines["log.level"].split()[1:] == ["debug", "UPBEAT_LOG__LEVEL"]
    assert lines["listen.grpc"].split()[1:] == ["127.0.0.1:50051", "default"]
    assert "a-secret-that-stays-one" not in done.stdout


def test_config_show_writes_json_for_programs(tmp_path: Path) -> None:
    import json

    done = run(tmp_path, "config", "show", "-o", "json")
    entries = {entry["key"]: entry for entry in json.loads(done.stdout)}
    assert entries["store.address"] == {
        "key": "store.address",
        "value": "sqlite:upbeat.db",
        "source": "default",
    }
