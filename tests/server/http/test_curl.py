"""Every curl command in the documents works as printed, but for the port and how long it waits."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.server.http.site import Site, running

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    path for path in [ROOT / "README.md", *ROOT.glob("[!.b]*/**/*.md")] if "node_modules" not in path.parts
)
PATIENCE_S = 20

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt install curl")


def commands() -> list[str]:
    """The commands, in the order in which they stand; the first ones submit what later ones name."""
    found: list[str] = []
    for document in DOCUMENTS:
        for block in re.findall(r"^```sh\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            whole = block.replace("\\\n", " ")
            found += [line for line in whole.splitlines() if line.startswith("curl ")]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with running() as site:
        yield site


async def run(command: str, folder: Path) -> asyncio.subprocess.Process:
    """The command in a shell, failing for an answer that is an error."""
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    return await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"exec {command}",
        env=os.environ | {"CURL_HOME": str(folder), "NO_PROXY": "localhost", "no_proxy": "localhost"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def answered(command: str, folder: Path) -> Any:
    """What it prints: an answer, or the first event of a stream."""
    process = await run(command, folder)
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        if " -N " not in command:
            printed, _ = await process.communicate()
            assert process.returncode == 0, printed.decode()
            return json.loads(printed)
        while not (line := await process.stdout.readline()).startswith(b"data: "):
            assert line, "the stream ended before an event"
    process.terminate()
    await process.communicate()
    return json.loads(line.removeprefix(b"data: "))


def test_there_are_commands_and_every_method_is_among_them() -> None:
    text = "\n".join(commands())
    assert " -d " in text
    assert " -X DELETE " in text
    assert " -N " in text


@pytest.mark.parametrize("command", commands())
def test_what_a_shell_would_take_for_a_pattern_is_quoted(command: str) -> None:
    words = shlex.split(command, posix=False)
    assert [word for word in words if set(word) & set("?*[{&") and word[0] not in "'\""] == []


@needs_curl
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("command", commands())
async def test_every_command_is_answered(site: Site, tmp_path: Path, command: str) -> None:
    here = command.replace("localhost:8080", f"localhost:{site.port}").replace("wait=30s", "wait=0.1s")
    assert f"localhost:{site.port}/" in here, "commands speak to localhost:8080, where a server listens"
    tree = await answered(here, tmp_path)
    named = re.search(r"/tasks/(\d+)", command)
    if named is not None:
        assert tree["task"]["taskId"] == named[1]
