"""``buf curl`` finds the services by reflection and calls them."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import grpc

from upbeat.v1 import agent_service_pb2, agent_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server_process import ServerProcess


def curl(buf: Path, server: ServerProcess, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """Call one method over reflection; answers the JSON of the response."""
    url = f"http://{server.address}/upbeat.v1.{method}"
    command = [
        str(buf),
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "--data",
        json.dumps(request),
        url,
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_buf_curl_submits_a_task_and_reads_its_result(buf: Path, server: ServerProcess) -> None:
    submitted = curl(
        buf,
        server,
        "TaskService/SubmitTask",
        {"spec": {"type": "curl", "input": {"json": {"n": 1}}, "priority": "PRIORITY_HIGH"}},
    )
    task_id = submitted["task"]["taskId"]
    assert submitted["task"]["state"] == "STATE_QUEUED"
    with grpc.insecure_channel(server.address) as channel:
        _work_once(channel)
    got = curl(buf, server, "TaskService/GetTask", {"taskId": task_id, "wait": "10s"})
    assert got["task"]["state"] == "STATE_COMPLETED"
    assert json.loads(base64.b64decode(got["task"]["output"]["data"])) == {"n": 1}
    listed = curl(buf, server, "TaskService/ListTasks", {"filter": 'type = "curl"'})
    assert [task["taskId"] for task in listed["tasks"]] == [task_id]


def test_buf_curl_hears_which_field_is_wrong(buf: Path, server: ServerProcess) -> None:
    url = f"http://{server.address}/upbeat.v1.TaskService/SubmitTask"
    command = [
        str(buf),
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "--data",
        '{"spec": {}}',
        url,
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode != 0
    assert "invalid_argument" in result.stderr
    assert "spec.type" in result.stderr


def _work_once(channel: grpc.Channel) -> None:
    """An agent that echoes one task and leaves."""
    stub = agent_service_pb2_grpc.AgentServiceStub(channel)
    answers: list[agent_service_pb2.ConnectRequest] = []
    hello = agent_service_pb2.ConnectRequest()
    hello.hello.agent_id = "echo-once"
    hello.hello.capabilities.append("curl")
    hello.hello.slots = 1
    answers.append(hello)
    ready = threading.Condition()

    def requests() -> Iterator[agent_service_pb2.ConnectRequest]:
        while True:
            with ready:
                ready.wait_for(lambda: bool(answers))
                request = answers.pop(0)
            yield request
            if request.HasField("goodbye"):
                return

    for frame in stub.Connect(requests()):
        answer = agent_service_pb2.ConnectRequest()
        for assignment in frame.assignments:
            answer.results.add(lease_id=assignment.lease_id).output.CopyFrom(assignment.input)
        for _ in frame.result_acks:
            answer.goodbye.reason = "done"
        with ready:
            answers.append(answer)
            ready.notify()
