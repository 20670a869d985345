"""A command line to call, and a server with agents for it to talk to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import upbeat.testing
from tests.support.command_line import EVIL, CommandLine, Outcome
from upbeat import Agent, Context, Fail
from upbeat.cli.main import run


@pytest.fixture(autouse=True)
def profiles_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the profiles of a test are; never those of whoever runs it."""
    path = tmp_path / "upbeat" / "config.toml"
    monkeypatch.setenv("UPBEAT_CLI_CONFIG", str(path))
    monkeypatch.delenv("UPBEAT_PROFILE", raising=False)
    return path


@pytest.fixture
def upbeat_command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Runs ``upbeat ARGUMENTS`` within this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def gate() -> threading.Event:
    """Open: tasks of type ``wait`` may end."""
    return threading.Event()


@pytest.fixture(scope="module")
def address(gate: threading.Event) -> Iterator[str]:
    """A server with one agent that echoes, fails and waits."""
    agent = Agent("tester", agent_id="tester-1", slots=2, labels={"region": "eu"})

    @agent.on("echo")
    def echo(value: Any) -> Any:
        return value

    @agent.on("fail")
    def fail(value: Any) -> Any:
        raise Fail("BROKEN", EVIL, retryable=False)

    @agent.on("wait")
    async def wait(value: Any, context: Context) -> Any:
        await context.progress(0.5, EVIL)
        await asyncio.to_thread(gate.wait, 60)
        return value

    with upbeat.testing.server() as server, _running(agent, server.address):
        yield server.address
        gate.set()


class _running:  # noqa: N801 - reads as a word
    """The agent on a loop of its own, in a thread."""

    def __init__(self, agent: Agent, address: str) -> None:
        self._agent = agent
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._agent.start(self._address), self._loop).result(30)

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._agent.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture
def up(upbeat_command: CommandLine, address: str, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """``upbeat`` with the server of this module as its default."""
    monkeypatch.setenv("UPBEAT_SERVER", address)
    return upbeat_command
