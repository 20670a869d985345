"""The example in JavaScript as a stranger has it: copied, installed from its pins, killed beneath."""

from __future__ import annotations

import json
import queue
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from tests.outside.conftest import ROOT, npm_install
from tests.support.server_process import ServerProcess
from upbeat.v1 import agent_pb2, agent_service_pb2, task_pb2, task_service_pb2
from upbeat.v1.agent_service_pb2_grpc import AgentServiceStub
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub

PATIENCE_S = 60
HERE = Path(__file__).parent
EXAMPLE = ROOT / "client" / "examples" / "node"

tasks_pb: Any = task_service_pb2


@pytest.fixture(scope="module")
def example() -> Path:
    """The example as its README says: its folder, with protos/ beside package.json."""
    folder = ROOT / "build" / "node-example"
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "protos", folder / "protos", dirs_exist_ok=True)
    package = json.loads((EXAMPLE / "package.json").read_text())
    npm_install(folder, package["dependencies"])
    shutil.copy(EXAMPLE / "package.json", folder)
    return folder


class Node:
    """A node process whose lines are facts in JSON."""

    def __init__(self, *command: object) -> None:
        self._process = subprocess.Popen(
            ["node", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.facts: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def hear(self, key: str, count: int = 1) -> list[Any]:
        """Wait until it has said so many facts of a kind in all; answers them."""
        while len(heard := [fact[key] for fact in self.facts if key in fact]) < count:
            line = self._lines.get(timeout=PATIENCE_S)
            assert line, f"it ended and said only {self.facts}"
            assert line.startswith("{"), line
            self.facts.append(json.loads(line))
        return heard

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once all that it says is heard."""
        code = self._process.wait(timeout=PATIENCE_S)
        while line := self._lines.get(timeout=PATIENCE_S):
            if line.startswith("{"):
                self.facts.append(json.loads(line))
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def recorder(example: Path, server: ServerProcess, agent_id: str, slots: int = 1) -> Node:
    """An agent that writes down what befalls it."""
    return Node(HERE / "recorder.mjs", example, server.address, agent_id, slots)


@pytest.fixture
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    """A channel to the module's server."""
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def submit(channel: grpc.Channel, number: int) -> str:
    """Submit a task for a recorder."""
    spec = {"type": "hold", "input": {"content_type": "application/json", "data": str(number).encode()}}
    answer = TaskServiceStub(channel).SubmitTask(tasks_pb.SubmitTaskRequest(spec=spec), timeout=PATIENCE_S)
    return answer.task.task_id


def ended(channel: grpc.Channel, task_id: str) -> Any:
    """A task once it has ended."""
    request = tasks_pb.GetTaskRequest(task_id=task_id, wait={"seconds": PATIENCE_S})
    return TaskServiceStub(channel).GetTask(request, timeout=2 * PATIENCE_S).task


def agent_state(channel: grpc.Channel, agent_id: str) -> int:
    """What the server makes of an agent."""
    request = agent_service_pb2.GetAgentRequest(agent_id=agent_id)
    return AgentServiceStub(channel).GetAgent(request, timeout=PATIENCE_S).agent.state


def test_the_agent_and_the_caller_of_the_readme_find_each_other(example: Path, server: ServerProcess) -> None:
    with subprocess.Popen(
        ["node", "agent.mjs", server.address], cwd=example, stderr=subprocess.PIPE
    ) as agent:
        assert agent.stderr is not None
        assert b"connected as node-writer-" in agent.stderr.readline()
        command = ["node", "caller.mjs", server.address]
        said = subprocess.run(
            command, cwd=example, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=PATIENCE_S) == 0
    first, second, third = said.stdout.splitlines()
    assert first == "one: 9 words, such as Nothing, Results, Agents"
    assert second.endswith("is STATE_FAILED: EMPTY_TEXT: 'empty' has no text")
    assert third == "20 documents, 180 words"


def test_the_page_generates_the_types_of_typescript(example: Path, tmp_path: Path) -> None:
    page = (ROOT / "protos" / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"`npx (proto-loader-gen-types [^`]+)`", page)
    program, *arguments = command.replace("--outDir=gen", f"--outDir={tmp_path}").split()
    subprocess.run(
        [example / "node_modules" / ".bin" / program, *arguments], cwd=example, timeout=PATIENCE_S, check=True
    )
    assert "heldLeases" in (tmp_path / "upbeat" / "v1" / "Hello.ts").read_text()


def test_a_server_that_is_killed_in_the_middle_loses_nothing_and_nothing_runs_twice(
    example: Path, tmp_path: Path
) -> None:
    count, slots = 20, 8
    with (
        ServerProcess(f"sqlite:{tmp_path}/upbeat.db", tmp_path) as server,
        recorder(example, server, "survivor", slots) as agent,
        Node(HERE / "submitter.mjs", example, server.address, count) as caller,
    ):
        agent.hear("began", slots)
        server.kill()
        server.start()
        agent.tell(signal.SIGUSR2)  # What was begun ends only now.
        (answers,) = caller.hear("answers")
        assert caller.wait() == 0
        agent.tell(signal.SIGTERM)
        assert agent.wait() == 0
    assert answers == [2 * number for number in range(count)]
    assert sorted(agent.hear("began")) == list(range(count))
    assert set(agent.hear("attempt")) == {1}
    assert [line for line in agent.hear("log") if line.startswith("connected")] == [
        "connected as survivor",
        "connected as survivor",  # Not "again": another server process has no session of it.
    ]


def test_cancelled_work_is_aborted_and_its_slot_is_free(
    example: Path, server: ServerProcess, channel: grpc.Channel
) -> None:
    with recorder(example, server, "cancelled") as agent:
        task_id = submit(channel, 1)
        agent.hear("began")
        cancel = task_service_pb2.CancelTaskRequest(task_id=task_id)
        TaskServiceStub(channel).CancelTask(cancel, timeout=PATIENCE_S)
        agent.hear("aborted")
        assert agent.facts[-1]["reason"] == "CANCELLED"
        agent.tell(signal.SIGUSR2)
        second = ended(channel, submit(channel, 2))
        agent.tell(signal.SIGTERM)
        assert agent.wait() == 0
    assert (second.state, second.output.data) == (task_pb2.Task.STATE_COMPLETED, b"4")
    assert ended(channel, task_id).state == task_pb2.Task.STATE_CANCELLED
    assert agent_state(channel, "cancelled") == agent_pb2.Agent.STATE_DISCONNECTED


def test_a_sigterm_lets_work_end_and_takes_no_more(
    example: Path, server: ServerProcess, channel: grpc.Channel
) -> None:
    with recorder(example, server, "drained", 2) as agent:
        first = submit(channel, 1)
        agent.hear("began")
        watch = AgentServiceStub(channel).WatchAgents(agent_service_pb2.WatchAgentsRequest())
        agent.tell(signal.SIGTERM)
        for frame in watch:
            if any(a.agent_id == "drained" and a.state == a.STATE_DRAINING for a in frame.agents):
                break
        watch.cancel()
        second = submit(channel, 2)
        agent.tell(signal.SIGUSR2)
        assert agent.wait() == 0
        assert ended(channel, first).output.data == b"2"
    assert agent.hear("began") == [1]
    assert agent.hear("over") == ["left"]
    TaskServiceStub(channel).CancelTask(
        task_service_pb2.CancelTaskRequest(task_id=second), timeout=PATIENCE_S
    )


def test_who_was_taken_over_ends_with_its_work_aborted(
    example: Path, server: ServerProcess, channel: grpc.Channel
) -> None:
    with recorder(example, server, "twin") as older:
        task_id = submit(channel, 1)
        older.hear("began")
        with recorder(example, server, "twin") as newer:
            assert older.wait() == 1
            assert older.hear("over") == ["FENCED"]
            assert older.hear("reason") == ["LEASE_LOST"]
            newer.hear("began")
            newer.tell(signal.SIGUSR2)
            assert ended(channel, task_id).state == task_pb2.Task.STATE_COMPLETED
