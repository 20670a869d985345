"""An agent and a caller in JavaScript live on the contract alone."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from tests.outside.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server_process import ServerProcess


def test_a_javascript_agent_gets_a_javascript_callers_task_and_its_result_is_read_back(
    grpc_js: Path, server: ServerProcess
) -> None:
    program = ROOT / "tests/outside/agent_and_caller.mjs"
    result = subprocess.run(
        ["node", str(program), str(ROOT / "protos"), server.address],
        env={**os.environ, "NODE_PREFIX": str(grpc_js)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen["frames"] == ["welcome", "assignment", "result_ack OUTCOME_ACCEPTED"]
    assert seen["assignment"]["attempt"] == 1
    assert seen["state"] == "STATE_COMPLETED"
    assert seen["output"] == "HELLO"
