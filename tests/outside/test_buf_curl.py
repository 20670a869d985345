"""``buf curl`` finds the services by reflection and calls them: what people write as JSON arrives."""

from __future__ import annotations

import base64
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.server_process import ServerProcess
from upbeat.v1 import agent_service_pb2, task_service_pb2
from upbeat.v1.agent_service_pb2_grpc import AgentServiceStub
from upbeat.v1.task_service_pb2_grpc import TaskServiceStub

agents_pb: Any = agent_service_pb2
tasks_pb: Any = task_service_pb2

ECHO = {"type": "curl.echo"}
YES = {"json": "yes"}
COLLABORATIONS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, object]] = {
    # By mode: its spec, the input, and the output if every step answers what it was given.
    "sequential": ({"steps": [ECHO, ECHO]}, {"json": {"n": 1}}, {"n": 1}),
    "parallel": ({"steps": [ECHO], "mapOver": "/items"}, {"json": {"items": [1, "b"]}}, [1, "b"]),
    "pipeline": ({"stages": [ECHO, ECHO], "items": [{"json": 1}, {"json": None}]}, None, [1, None]),
    "consensus": ({"voter": ECHO, "voters": 3, "rule": "RULE_UNANIMOUS"}, YES, "yes"),
    "competitive": ({"candidates": [ECHO], "count": 2, "select": "SELECT_FIRST_SUCCESS"}, YES, "yes"),
}


def run(
    buf: Path, server: ServerProcess, method: str, request: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Call one method over reflection."""
    command = [str(buf), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data"]
    command += [json.dumps(request), f"http://{server.address}/{method}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def curl(buf: Path, server: ServerProcess, method: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON of every answer."""
    result = run(buf, server, method, request)
    assert result.returncode == 0, result.stderr
    answers: list[dict[str, Any]] = []
    text = result.stdout.strip()
    while text:
        answer, end = json.JSONDecoder().raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
    return answers


class EchoAgent:
    """An agent on a thread that answers every task with its input, until it is told to leave."""

    def __init__(self, channel: grpc.Channel, agent_id: str) -> None:
        self._sent: queue.Queue[Any] = queue.Queue()
        hello = {"agent_id": agent_id, "capabilities": ["curl", "curl.echo"], "slots": 8}
        self._sent.put(agents_pb.ConnectRequest(hello=hello))
        self._stream = AgentServiceStub(channel).Connect(self._requests())
        self._thread = threading.Thread(target=self._work)

    def _requests(self) -> Iterator[Any]:
        while (frame := self._sent.get()) is not None:
            yield frame

    def _work(self) -> None:
        for frame in self._stream:
            answer = agents_pb.ConnectRequest()
            for assignment in frame.assignments:
                answer.attempt_acks.add(lease_id=assignment.lease_id, accepted=True)
                answer.results.add(lease_id=assignment.lease_id).output.CopyFrom(assignment.input)
            for cancel in frame.cancels:
                answer.results.add(lease_id=cancel.lease_id).error.reason = cancel.reason
            if answer.results:
                self._sent.put(answer)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._sent.put(agents_pb.ConnectRequest(goodbye={"reason": "done"}))
        self._sent.put(None)
        self._thread.join()


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    """A channel to the server, on which three agents echo."""
    with grpc.insecure_channel(server.address) as opened, ExitStack() as agents:
        for number in range(3):
            agents.enter_context(EchoAgent(opened, f"echo-{number}"))
        yield opened


def test_a_task_is_submitted_watched_to_its_end_and_listed(
    buf: Path, server: ServerProcess, channel: grpc.Channel
) -> None:
    spec = {"type": "curl", "input": {"json": {"n": 1}}, "priority": "PRIORITY_HIGH"}
    (submitted,) = curl(buf, server, "upbeat.v1.TaskService/SubmitTask", {"spec": spec, "requestId": "curl"})
    task_id = submitted["task"]["taskId"]
    assert submitted["task"]["spec"]["priority"] == "PRIORITY_HIGH"

    frames = curl(
        buf, server, "upbeat.v1.TaskService/WatchTasks", {"taskId": task_id, "view": "TASK_VIEW_FULL"}
    )
    seen = [event["task"] for frame in frames for event in frame.get("events", ())]
    assert seen[-1]["state"] == "STATE_COMPLETED"
    assert json.loads(base64.b64decode(seen[-1]["output"]["data"])) == {"n": 1}
    assert sum(frame.get("snapshotDone", False) for frame in frames) == 1

    (listed,) = curl(buf, server, "upbeat.v1.TaskService/ListTasks", {"filter": 'type = "curl"'})
    assert [task["taskId"] for task in listed["tasks"]] == [task_id]


def test_every_mode_is_submitted_as_json_and_does_what_it_says(
    buf: Path, server: ServerProcess, channel: grpc.Channel
) -> None:
    requests = [
        {"spec": {"collaboration": {mode: fields}, **({"input": given} if given else {})}}
        for mode, (fields, given, _) in COLLABORATIONS.items()
    ]
    requests.append({"spec": {"collaboration": {"custom": {"name": "nobody"}}}})
    (answer,) = curl(buf, server, "upbeat.v1.TaskService/BatchSubmitTasks", {"requests": requests})
    *accepted, refused = answer["results"]
    assert refused["error"]["violations"][0]["field"] == "spec.collaboration.custom.name"
    outputs = {}
    for mode, result in zip(COLLABORATIONS, accepted, strict=True):
        request = tasks_pb.GetTaskRequest(task_id=result["task"]["taskId"], wait={"seconds": 60})
        task = TaskServiceStub(channel).GetTask(request, timeout=90).task
        assert task.state == task.STATE_COMPLETED, (mode, task.error)
        outputs[mode] = json.loads(task.output.data)
    assert outputs == {mode: output for mode, (_, _, output) in COLLABORATIONS.items()}


def test_who_is_wrong_hears_which_field_is(buf: Path, server: ServerProcess) -> None:
    result = run(buf, server, "upbeat.v1.TaskService/SubmitTask", {"spec": {}})
    assert result.returncode != 0
    assert "invalid_argument" in result.stderr
    assert "spec.type" in result.stderr


def test_what_keda_sees_is_seen_by_people_too(buf: Path, server: ServerProcess) -> None:
    method = "externalscaler.ExternalScaler/IsActive"
    assert curl(buf, server, method, {"scalerMetadata": {"types": "nobody.wants.this"}}) == [{}]
