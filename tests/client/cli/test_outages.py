"""What a watch and a wait do while the server is away, and arguments in odd locales."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import upbeat.testing
from tests.support.command_line import CommandLine
from upbeat.cli import resuming
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.resuming import resumed
from upbeat.v1.stats_pb2 import BusStats
from upbeat.v1.stats_service_pb2 import WatchStatsRequest
from upbeat.v1.stats_service_pb2_grpc import StatsServiceStub
from upbeat.v1.task_service_pb2 import CancelTaskRequest, GetTaskRequest
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub


def restart_and_cancel(server: upbeat.testing.Server, task_id: str) -> None:
    """Take the server away, bring it back, and end the task."""
    with (
        server.__class__(server.store, server.port) as again,
        grpc.insecure_channel(again.address) as channel,
    ):
        stub = TaskServiceStub(channel)
        stub.CancelTask(CancelTaskRequest(task_id=task_id), wait_for_ready=True, timeout=30)
        # Stay until the command has had time to ask: it ends with the task, and then so do we.
        stub.GetTask(GetTaskRequest(task_id=task_id), timeout=30)
        ended.wait(30)


ended = threading.Event()


@pytest.mark.parametrize("command", [("watch",), ("get", "--wait", "-o", "json")])
def test_following_a_task_survives_a_restart_of_the_server(
    upbeat_command: CommandLine, tmp_path: Path, command: tuple[str, ...]
) -> None:
    ended.clear()
    server = upbeat.testing.server(store=f"sqlite:{tmp_path / 'db'}")
    server.__enter__()
    task_id = upbeat_command("tasks", "submit", "nobody", "--server", server.address).out.strip()
    name, *options = command

    def outage() -> None:
        server.__exit__()
        restart_and_cancel(server, task_id)

    thread = threading.Timer(0.5, outage)
    thread.start()
    outcome = upbeat_command("tasks", name, task_id, *options, "--server", server.address)
    ended.set()
    thread.join(60)
    assert outcome.code == 1
    assert "CANCELLED" in outcome.out


def test_a_subscriber_hears_what_is_published_after_a_restart_of_the_server(
    upbeat_command: CommandLine, tmp_path: Path
) -> None:
    server = upbeat.testing.server(store=f"sqlite:{tmp_path / 'db'}")
    server.__enter__()
    where = ("--server", server.address)
    options = ("--name", "me", "--limit", "2", "-o", "json", *where)
    listener = subprocess.Popen(
        [sys.executable, "-m", "upbeat", "bus", "subscribe", "orders", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def publish(word: str) -> None:
        assert upbeat_command("bus", "publish", "orders", word, *where).code == 0

    with grpc.insecure_channel(server.address) as channel:
        stub = StatsServiceStub(channel)
        wait_for(stub, lambda bus: bus.subscribers == 1)
        publish("before")
        wait_for(stub, lambda bus: bus.acked == 1)
    server.__exit__()
    with server.__class__(server.store, server.port):
        publish("after")
        out, err = listener.communicate(timeout=60)
    heard = [json.loads(line)["delivery"]["payload"]["text"] for line in out.splitlines()]
    assert (heard, listener.returncode) == (["before", "after"], 0)
    assert b"resuming as soon as it can be reached" in err


def wait_for(stub: StatsServiceStub, is_so: Callable[[BusStats], bool]) -> None:
    """Follow the figures of the bus until they are as wanted."""
    request = WatchStatsRequest(interval=Duration(nanos=100_000_000))
    assert any(is_so(frame.stats.bus) for frame in stub.WatchStats(request, timeout=30))


def interrupted(*streams: list[str | Failure]) -> Callable[[], Iterator[str]]:
    """What opens one stream after the other."""
    left = iter(streams)

    def opened() -> Iterator[str]:
        for each in next(left):
            if isinstance(each, Failure):
                raise each
            yield each

    return opened


AWAY = Failure(ExitCode.UNAVAILABLE, "no server answers")


def test_a_stream_goes_on_after_outages_and_says_so_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "RECONNECT_S", 0)
    said: list[str] = []
    screen: Any = SimpleNamespace(say=lambda words, **_: said.append(words))
    opened = interrupted(["a", AWAY], [AWAY], ["b", AWAY], ["c"])
    assert list(resumed(screen, opened)) == ["a", "b", "c"]
    assert said == ["no server answers; resuming as soon as it can be reached"] * 2


@pytest.mark.parametrize(
    "streams",
    [[[AWAY]], [["a", Failure(ExitCode.REFUSED, "not for you")]]],
    ids=["it never was there", "it says no"],
)
def test_but_not_after_anything_else(streams: list[list[str | Failure]]) -> None:
    screen: Any = SimpleNamespace(say=pytest.fail)
    with pytest.raises(Failure):
        list(resumed(screen, interrupted(*streams)))


def run_in_locale(locale: str, *arguments: bytes | str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return subprocess.run(
        [sys.executable, "-m", "upbeat", *arguments],
        capture_output=True,
        env=environment,
        check=False,
        timeout=60,
    )


def test_utf8_arguments_arrive_whole_in_the_c_locale(upbeat_command: CommandLine) -> None:
    with upbeat.testing.server() as server:
        where = ("--server", server.address)
        done = run_in_locale("C", "tasks", "submit", "x", "grün ✓", "--label", "a=ü", *where)
        assert done.returncode == 0, done.stderr
        task = upbeat_command("tasks", "get", done.stdout.decode().strip(), "-o", "json", *where).document
        assert task["spec"]["input"]["text"] == "grün ✓"
        assert task["spec"]["labels"] == {"a": "ü"}
        listed = run_in_locale("C", "tasks", "list", "-o", "json", *where)
        assert listed.returncode == 0


def test_an_argument_that_is_not_utf8_is_wrong_usage() -> None:
    done = run_in_locale("C.UTF-8", "tasks", "submit", "x", "--label", b"a=\xff", "--server", "127.0.0.1:1")
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr
