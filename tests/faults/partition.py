"""Two agents and a network between one of them and the server: the story of a partition, step by step."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Self

import grpc

from tests.faults.callers import state_name
from tests.faults.checker import check
from tests.faults.final import ENDED, FinalTask, answered, stored
from tests.support import facts as f
from tests.support.facts import Ledger
from tests.support.recorded_fleet import RecordedFleet
from upbeat.v1 import (
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.support.facts import Fact
    from tests.support.server_process import ServerProcess

TASKS = 9  # Of each kind: so that some of both kinds are reported although they were taken away.
FOREVER_MS = 600_000
WAIT_S = 30.0


class Partition:
    """The agent ``far`` is at the other end of a network that fails, ``near`` starts when it is asked to."""

    def __init__(
        self,
        server: ServerProcess,
        folder: Path,
        far: str,
        *,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._server = server
        self._path = folder / "upbeat.db"
        self._ledger = Ledger()
        self.far = RecordedFleet(
            far, folder, ["far"], slots=2 * TASKS, prefix=prefix, environment=environment
        )
        self.near = RecordedFleet(server.address, folder, ["near"], slots=2 * TASKS)
        self._count = 0

    def __enter__(self) -> Self:
        self.far.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.far.close()
        self.near.close()

    def submit(self, count: int, far_ms: int) -> None:
        """Tasks that take the far agent so long, and others no time."""
        batch = task_service_pb2.BatchSubmitTasksRequest()
        for _ in range(count):
            self._count += 1
            name = f"task-{self._count}"
            body = json.dumps({"id": name, "ms": 0, "ms_of": {"far": far_ms}})
            request = batch.requests.add(request_id=name)
            request.spec.type = "work"
            request.spec.input.data = body.encode()
            self._ledger.note(f.Submitting(request_id=name, body=body))
        with grpc.insecure_channel(self._server.address) as channel:
            answer = task_service_pb2_grpc.TaskServiceStub(channel).BatchSubmitTasks(batch, timeout=WAIT_S)
        for request, result in zip(batch.requests, answer.results, strict=True):
            task_id = result.task.task_id
            self._ledger.note(f.Acknowledged(request_id=request.request_id, task_id=task_id))

    def begin(self) -> None:
        """The far agent works: on half of it shortly, on the other half for ever."""
        self.submit(TASKS, far_ms=1_000)
        self.submit(TASKS, far_ms=FOREVER_MS)
        self.far.wait_for(lambda facts: _count(facts, f.Began) == 2 * TASKS)

    def go_on_elsewhere(self) -> None:
        """The work is lost and done by the near agent."""
        self.near.start()
        self.wait_for_ends(2 * TASKS)
        assert {task.attempts[-1].agent_id for task in self.tasks().values()} == {"near"}

    def far_comes_back(self) -> None:
        """It is told to stop, what it reports all the same is STALE, and it gets work again."""
        self.far.wait_for(lambda facts: _count(facts, f.Stopped) == TASKS, 150.0)
        self.far.wait_for(lambda facts: _count(facts, f.Judged) >= 2 * TASKS // 3)
        assert {fact.outcome for fact in self.far.facts() if isinstance(fact, f.Judged)} == {"STALE"}
        assert {fact.reason for fact in self.far.facts() if isinstance(fact, f.Stopped)} == {"LEASE_LOST"}
        self.wait_for_far()
        self.near.close()
        self.submit(1, far_ms=0)
        self.wait_for_ends(2 * TASKS + 1)

    def wait_for_far(self) -> None:
        """Until the server takes the far agent for connected. Raises TimeoutError."""
        until = time.monotonic() + WAIT_S
        with grpc.insecure_channel(self._server.address) as channel:
            stub = agent_service_pb2_grpc.AgentServiceStub(channel)
            request = agent_service_pb2.GetAgentRequest(agent_id="far")
            while stub.GetAgent(request, timeout=WAIT_S).agent.state != agent_pb2.Agent.STATE_CONNECTED:
                if time.monotonic() > until:
                    raise TimeoutError("the agent does not come back")
                time.sleep(0.05)

    def wait_for_ends(self, count: int) -> None:
        """Until so many tasks have ended, all of them COMPLETED."""
        assert self._states(self._task_ids()[:count], WAIT_S) == {"COMPLETED"}

    def wait_for_all(self) -> None:
        """Until all tasks have ended, however they did."""
        assert self._states(self._task_ids(), WAIT_S) <= ENDED

    def work_on(self) -> None:
        """Some more tasks, and a moment for them; the far agent is started again if it gave up."""
        if not self.far.is_running:
            self.far.start()
        self.submit(TASKS, far_ms=0)
        self._states(self._task_ids()[-1:], 0.2)

    def _task_ids(self) -> list[str]:
        return [fact.task_id for fact in self._ledger.facts if isinstance(fact, f.Acknowledged)]

    def _states(self, task_ids: list[str], wait_s: float) -> set[str]:
        """The states of tasks, after waiting so long for the end of each."""
        states = set()
        with grpc.insecure_channel(self._server.address) as channel:
            stub = task_service_pb2_grpc.TaskServiceStub(channel)
            for task_id in task_ids:
                request = task_service_pb2.GetTaskRequest(task_id=task_id)
                request.wait.FromMilliseconds(int(wait_s * 1_000))
                states.add(state_name(stub.GetTask(request, timeout=wait_s + WAIT_S).task.state))
        return states

    def tasks(self) -> dict[str, FinalTask]:
        """All tasks that have ended."""
        return {k: v for k, v in answered(self._server.address).items() if v.state in ENDED}

    def facts(self) -> list[Fact]:
        """What everybody noted."""
        return [*self._ledger.facts, *self.far.facts(), *self.near.facts()]

    def audit(self) -> list[str]:
        """Stop everybody, compare what was told with what is there."""
        tasks = answered(self._server.address)
        self.far.close()
        self.near.close()
        self._server.stop()
        return check(self.facts(), stored(self._path), tasks)


def _count(facts: list[Fact], kind: type[f.Noted]) -> int:
    return sum(isinstance(fact, kind) for fact in facts)
