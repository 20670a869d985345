"""A sixth mode in somebody else's package: installed beside the server, which knows nothing of it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

import upbeat
from tests.support.server_process import ServerProcess
from upbeat import Agent, Client, InvalidField, Skill, TaskState

PACKAGE = Path(__file__).parent / "until_mode"
INSTALL_S = 60
WAIT_S = 30
REFINE: Skill[dict[str, Any], dict[str, Any]] = Skill("refine", dict, dict)
BY_AN_EDITOR = upbeat.step(REFINE, selector='labels.role == "editor"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package, built from its sources."""
    folder = tmp_path_factory.mktemp("until")
    sources = shutil.copytree(PACKAGE, folder / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", *install, "--target", str(folder / "site"), str(sources)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert result.returncode == 0, result.stderr
    return folder / "site"


class EquippedServer(ServerProcess):
    """`upbeat serve` in an environment where the package is installed."""

    site = Path()

    def start(self) -> Self:
        """Start it there, whoever else is started elsewhere."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PYTHONPATH", str(self.site))
            return super().start()


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[ServerProcess]:
    """One for all tests: each brings agents and tasks of its own, and stops the agents."""
    process = EquippedServer(f"sqlite:{site.parent / 'upbeat.db'}", site.parent)
    process.site = site
    with process:
        yield process


class Desk:
    """An editor, which does the work, and an apprentice, which must not be given any.

    The editor adds 1 to the draft and is done at ``enough``; it waits in the round
    that makes it ``held_at``.
    """

    def __init__(self, *, enough: int = 4, held_at: int = 0) -> None:
        self.drafts: list[int] = []
        self.apprentice_was_asked = False
        self.is_held = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.editor = Agent("editor", labels={"role": "editor"})
        self.apprentice = Agent("apprentice", slots=8, labels={"role": "apprentice"})

        @self.editor.on(REFINE)
        async def refine(draft: dict[str, Any]) -> dict[str, Any]:
            number = draft["number"] + 1
            if number == held_at:
                self.is_held.set()
                await self.may_go_on.wait()
            self.drafts.append(number)
            return {"number": number, "done": number == enough}

        @self.apprentice.on(REFINE)
        async def spoil(draft: dict[str, Any]) -> dict[str, Any]:
            self.apprentice_was_asked = True
            return draft


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(server.address) as up:
        yield up


async def started(desk: Desk, server: ServerProcess) -> Desk:
    await desk.apprentice.start(server.address)
    await desk.editor.start(server.address)
    return desk


async def stopped(desk: Desk) -> None:
    await desk.editor.stop()
    await desk.apprentice.stop()


async def test_it_goes_on_after_a_kill_of_the_server_where_it_was(
    server: ServerProcess, client: Client
) -> None:
    desk = await started(Desk(held_at=3), server)
    handle = await client.submit(
        upbeat.custom("until", BY_AN_EDITOR, params={"rounds": 10}), {"number": 0}, timeout=WAIT_S
    )
    async with asyncio.timeout(WAIT_S):
        await desk.is_held.wait()
        server.kill()
        server.start()
        desk.may_go_on.set()
        assert await handle.result() == {"number": 4, "done": True}
    await stopped(desk)
    assert desk.drafts == [1, 2, 3, 4]  # No round was done again.
    assert not desk.apprentice_was_asked

    task = await handle.get()
    assert task.collaboration is not None
    assert task.collaboration.mode == "until"
    children = [child async for child in handle.children()]
    assert [(child.member, child.state) for child in children] == [
        (f"round/{number}", TaskState.COMPLETED) for number in range(4)
    ]
    assert {child.attempts[-1].agent_id for child in children} == {desk.editor.agent_id}


async def test_its_failure_is_the_callers_with_a_reason_of_its_own(
    server: ServerProcess, client: Client
) -> None:
    desk = await started(Desk(enough=9), server)
    with pytest.raises(upbeat.TaskFailed, match="not done after 2 rounds") as caught:
        await client.custom("until", BY_AN_EDITOR, params={"rounds": 2}).run({"number": 0}, timeout=WAIT_S)
    await stopped(desk)
    assert caught.value.reason == "NOT_DONE"
    assert desk.drafts == [1, 2]


async def test_it_is_a_step_of_our_modes_and_ours_are_its_steps(
    server: ServerProcess, client: Client
) -> None:
    desk = await started(Desk(enough=3), server)
    inner = upbeat.sequence(BY_AN_EDITOR, context="previous")
    until = upbeat.custom("until", inner, params={"rounds": 5})
    outer = upbeat.sequence(until, context="previous")
    assert await client.run(outer, {"number": 0}, timeout=WAIT_S) == {"number": 3, "done": True}
    await stopped(desk)


@pytest.mark.parametrize(
    ("params", "steps", "complaint"),
    [
        ({"rounds": 0}, [BY_AN_EDITOR], "rounds is 0"),
        ({"turns": 1}, [BY_AN_EDITOR], "unknown field `turns`"),
        ({"rounds": 1}, [BY_AN_EDITOR, BY_AN_EDITOR], "has 2 entries"),
    ],
)
async def test_the_door_says_what_the_mode_finds_wrong(
    client: Client, params: dict[str, int], steps: list[Any], complaint: str
) -> None:
    with pytest.raises(InvalidField, match=complaint):
        await client.submit(upbeat.custom("until", *steps, params=params), {"number": 0})


async def test_a_server_without_the_package_refuses_the_mode(tmp_path: Path) -> None:
    with ServerProcess("memory", tmp_path) as plain:
        async with Client(plain.address) as up:
            with pytest.raises(InvalidField, match=r"custom\.name: is no mode that this server has"):
                await up.submit(upbeat.custom("until", BY_AN_EDITOR, params={"rounds": 1}), {"number": 0})
