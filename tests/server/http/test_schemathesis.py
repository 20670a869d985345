"""schemathesis reads /openapi.json and tries what it allows, and what it does not.

A few examples of each call, always the same; ``make schemathesis`` tries many, new ones each time. Left out
are streams, which do not end. That all that a schema allows is accepted is not asked for: rules such as the
grammar of a filter are beyond schemas. Nor that what was deleted is gone: a task that is cancelled stays.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tests.server.http.site import Site, running

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))
LEFT_OUT = ("WatchTasks", "WatchAgents", "WatchStats")
NESTED = ("SubmitTask", "BatchSubmitTasks")
"""Specs hold specs: to go through all of their values systematically does not end within minutes."""

WAIT_MS = 50


async def findings(folder: Path, phases: str, without: tuple[str, ...], examples: int) -> str:
    """What schemathesis has to complain about a server; "" for nothing."""
    options = [f"--exclude-operation-id={name}" for name in without]
    options += [
        "--exclude-checks=positive_data_acceptance,use_after_free",
        "--no-color",
        f"--phases={phases}",
    ]
    options += [f"--max-examples={examples}", *([] if EXAMPLES else ["--generation-deterministic"])]
    async with running() as site:
        _wait_briefly(site)
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"http://127.0.0.1:{site.port}/openapi.json",
            *options,
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    return "" if process.returncode == 0 else said.decode()


def _wait_briefly(site: Site) -> None:
    """Let calls that wait for a task end soon: nobody does any, and a caller gives up after ten seconds."""
    orchestrator: Any = site.app.orchestrator
    get = orchestrator.get

    async def get_soon(namespace: str, task_id: int, wait_ms: int = 0) -> Any:
        return await get(namespace, task_id, min(wait_ms, WAIT_MS))

    orchestrator.get = get_soon


async def test_generated_requests_are_answered_as_described(tmp_path: Path) -> None:
    assert await findings(tmp_path, "fuzzing", LEFT_OUT, EXAMPLES or 3) == ""


async def test_requests_at_every_bound_are_answered_as_described(tmp_path: Path) -> None:
    phases = "coverage,stateful" if EXAMPLES else "coverage"
    assert await findings(tmp_path, phases, LEFT_OUT + NESTED, EXAMPLES or 3) == ""
