"""Raw HTTP/2 abuse: whatever peers do, an ordinary caller loses no call and the server grows nowhere.

Each attack runs for a third of a second here; ``make abuse`` runs them long and prints
how ordinary callers fared. Nothing is asserted on how fast they are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.abuse.attacks import ATTACKS, fleets, stalls
from tests.abuse.scene import Scene
from tests.abuse.siege import Siege
from tests.abuse.vitals import look
from tests.support.server_process import ServerProcess, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 0.3
SCALE = 0.1
PATIENCE_S = 40.0
QUICK = "[engine.graces]\ndisconnect_grace_ms = 500\n"
"""So that nobody waits for tasks to come back from agents that hung up."""
UNREAD = {
    "agent": fleets.agents_unread,
    "submissions": stalls.submissions_unread,
    "watch": stalls.watches_unread,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """One server for all attacks: what one of them leaves behind is the next one's problem."""
    folder = tmp_path_factory.mktemp("abuse")
    config = folder / "upbeat.toml"
    config.write_text(QUICK)
    async with Scene(folder, "--config", str(config)) as scene:
        yield scene


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_ordinary_caller_does_not_notice(scene: Scene, name: str) -> None:
    outcome = await scene.besiege(ATTACKS[name], SECONDS, SCALE)
    assert outcome.problems() == []
    assert outcome.calls_s
    assert outcome.counts  # The attack took place.


@pytest.mark.parametrize("kind", UNREAD)
async def test_streams_that_are_never_read_are_given_up_while_the_attacker_holds_on(
    tmp_path: Path, kind: str
) -> None:
    http_port = free_port()
    config = tmp_path / "upbeat.toml"
    config.write_text(QUICK + "[runtime.streams]\nwrite_ms = 300\n")
    options = ("--config", str(config), "--http", f"127.0.0.1:{http_port}")
    server = ServerProcess("memory", tmp_path, *options)
    await asyncio.to_thread(server.start)
    attack = asyncio.create_task(UNREAD[kind](Siege(server.port, PATIENCE_S)))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                vitals = await look(server.pid, http_port)
                is_ended = f"{kind} SLOW_READER" in vitals.ended_streams and not vitals.streams[kind]
                if is_ended and not vitals.unfinished.get("RUNNING"):  # Its tasks go back to the queue, too.
                    break
                await asyncio.sleep(0.1)  # The server is asked again; nobody can tell when.
        assert not attack.done()
    finally:
        attack.cancel()
        await asyncio.gather(attack, return_exceptions=True)
        await asyncio.to_thread(server.kill)
