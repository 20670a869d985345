"""Those who want something of the server: submitters of three kinds, cancellers, readers, a watcher.

Each repeats what had no definite answer, with the same request_id, and writes down what it
was told.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc

from tests.simulation.calls import Stub
from tests.simulation.claims import Submitted
from tests.simulation.virtual_loop import Host
from upbeat.channel import Target
from upbeat.connection import Connection
from upbeat.errors import Refused
from upbeat.refusal import error_of_call
from upbeat.stream import TaskStream
from upbeat.submission import Submission
from upbeat.v1 import task_pb2, task_service_pb2, task_spec_pb2

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.claims import Claims
    from tests.simulation.ledger import Ledger, Life
    from tests.simulation.network import Network

pb: Any = task_service_pb2
INDEFINITE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
FINISHED = (task_pb2.Task.STATE_COMPLETED, task_pb2.Task.STATE_FAILED, task_pb2.Task.STATE_CANCELLED)


class SimulatedConnection(Connection):
    """The SDK's connection over the simulated network."""

    def __init__(self, network: Network, host: Host) -> None:
        super().__init__(Target("simulated:1"), None, "", 100_000.0)
        self._stub = Stub(network, host, "TaskService")

    @property
    def tasks(self) -> Any:
        """TaskService."""
        self.check_open()
        return self._stub


class Caller:
    """A process that calls; it stays alive."""

    def __init__(
        self, name: str, network: Network, claims: Claims, rng: Random, service: str = "TaskService"
    ) -> None:
        self.host = Host(name)
        self.network = network
        self.claims = claims
        self.rng = rng
        self.tasks: Any = Stub(network, self.host, service)
        self.is_done = False

    async def ask(self, method: str, request: Any, timeout_s: float = 10.0) -> Any:
        """A call, repeated while nobody knows what became of it. Raises the SDK's typed error.

        A refusal is of the last try only: one before may have been heard.
        """
        is_repeated = False
        while True:
            try:
                return await getattr(self.tasks, method)(request, timeout=timeout_s)
            except grpc.aio.AioRpcError as failure:
                error = error_of_call(failure)
            if error.code not in INDEFINITE:
                if error.code in ("INTERNAL", "UNKNOWN"):
                    self.claims._fail(10, f"{method} was answered {error.code}: {error.message}")
                error.metadata["repeated"] = "yes" if is_repeated else ""
                raise error
            is_repeated = True
            self.claims.counts[f"repeated after {error.code}"] += 1
            await asyncio.sleep(self.rng.random() * 0.5 + (error.retry_after or 0.0))


class Submitter(Caller):
    """Submits its specs one by one, in the three ways that there are."""

    def __init__(
        self,
        name: str,
        network: Network,
        claims: Claims,
        rng: Random,
        specs: list[tuple[float, str, task_spec_pb2.TaskSpec]],
    ) -> None:
        super().__init__(name, network, claims, rng)
        self._specs = specs  # (after how many seconds, request_id, spec)
        self._open = 0
        self.stream: TaskStream | None = None

    async def work(self) -> None:
        """Submit all of it, and wait for every answer."""
        self.stream = TaskStream(SimulatedConnection(self.network, self.host))
        for after_s, request_id, spec in self._specs:
            await asyncio.sleep(after_s)
            self.claims.submissions[request_id] = Submitted(spec)
            match self.rng.randrange(4):
                case 0:
                    await self._submit(request_id, spec)
                case 1:
                    await self._submit_many(request_id, spec)
                case _:
                    self._add(request_id, spec)
        while self._open:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.5)
        self.is_done = True

    def _add(self, request_id: str, spec: task_spec_pb2.TaskSpec) -> None:
        """On the SDK's stream, sometimes by its batches."""
        submission = Submission(spec, request_id, is_patient=True, may_overflow=self.rng.random() < 0.3)
        self._open += 1
        submission.when_accepted(lambda: self._accepted(submission))
        submission.when_settled(lambda: self._settled(submission))
        assert self.stream is not None
        self.stream.add(submission)
        if submission.may_overflow:
            submission.when_accepted(lambda: self._follow(submission))

    def _follow(self, submission: Submission) -> None:
        if self.stream is not None and not submission.is_settled:
            self.stream.attach(submission)

    def _accepted(self, submission: Submission) -> None:
        if submission.task_id:
            self.claims.submissions[submission.request_id].task_ids.add(submission.task_id)

    def _settled(self, submission: Submission) -> None:
        self._open -= 1
        submitted = self.claims.submissions[submission.request_id]
        finished, error = submission.finished, submission.error
        if finished is not None:
            submitted.task_ids.add(finished.task_id)
            self.claims.ended(finished.task_id, finished.state, finished.output.data)
        elif isinstance(error, Refused) and error.code not in INDEFINITE:
            self._refused(submission.request_id, error)
        else:
            submitted.is_indefinite = True

    def _refused(self, request_id: str, error: Refused) -> None:
        submitted = self.claims.submissions[request_id]
        self.claims.counts[f"refused {error.reason}"] += 1
        if submitted.task_ids and error.reason == "TASK_NOT_FOUND":
            self.claims.counts["end was purged"] += 1
        elif error.code in ("INTERNAL", "UNKNOWN"):
            self.claims._fail(10, f"{request_id} was answered {error.code}: {error.message}")
        elif error.metadata.get("repeated"):
            submitted.is_indefinite = True
        else:
            submitted.refusals.append(error.reason)

    async def _submit(self, request_id: str, spec: task_spec_pb2.TaskSpec) -> None:
        """By a unary call, perhaps twice at once, perhaps again much later."""
        request = pb.SubmitTaskRequest(request_id=request_id, spec=spec)
        times = 2 if self.rng.random() < 0.2 else 1
        await asyncio.gather(*(self._submit_once(request) for _ in range(times)))

    async def _submit_once(self, request: Any) -> None:
        submitted = self.claims.submissions[request.request_id]
        try:
            answer = await self.ask("SubmitTask", request)
        except Refused as error:
            self._refused(request.request_id, error)
        else:
            submitted.task_ids.add(answer.task.task_id)

    async def _submit_many(self, request_id: str, spec: task_spec_pb2.TaskSpec) -> None:
        """In a batch with one that is wrong."""
        batch = pb.BatchSubmitTasksRequest()
        batch.requests.add(request_id=request_id, spec=spec)
        batch.requests.add(request_id=f"{request_id}-bad", spec={"type": ""})
        self.claims.submissions[f"{request_id}-bad"] = Submitted(spec)
        try:
            answer = await self.ask("BatchSubmitTasks", batch)
        except Refused as error:
            self._refused(request_id, error)
            return
        for result, name in zip(answer.results, (request_id, f"{request_id}-bad"), strict=True):
            submitted = self.claims.submissions[name]
            if result.HasField("task"):
                submitted.task_ids.add(result.task.task_id)
            elif result.error.reason == "SERVER_BUSY":
                submitted.is_indefinite = True  # Its task is being purged: an earlier try was heard.
            elif result.error.code != grpc.StatusCode.UNAVAILABLE.value[0]:
                submitted.refusals.append(result.error.reason)
            else:
                submitted.is_indefinite = True


class Reader(Caller):
    """Reads tasks, waits for their ends, repeats old submissions, cancels some."""

    def __init__(
        self, name: str, network: Network, claims: Claims, rng: Random, ledger: Ledger, cancel_share: float
    ) -> None:
        super().__init__(name, network, claims, rng)
        self._ledger = ledger
        self._cancel_share = cancel_share
        self._others = 0
        self.pause_s = 2.0
        self.only_looks = False  # Submits nothing more: what was purged would begin anew.
        self.is_leaving = False

    async def work(self) -> None:
        """Until it is told to leave."""
        while not self.is_leaving:
            await asyncio.sleep(self.rng.random() * self.pause_s)
            known = [
                (request_id, task_id)
                for request_id, submitted in self.claims.submissions.items()
                for task_id in sorted(submitted.task_ids)
            ]
            if known:
                request_id, task_id = self.rng.choice(known)
                with suppress(Refused):
                    await self._look(request_id, task_id)
            children = self._ledger.family.latest_live()
            if children and self.rng.random() < 0.5:
                with suppress(Refused):
                    await self._look_at_child(self.rng.choice(children))
        self.is_done = True

    async def _look(self, request_id: str, task_id: str) -> None:
        luck = self.rng.random()
        if luck < self._cancel_share:
            await self._cancel(task_id)
        elif luck < 0.6 or self.only_looks:
            await self._get(task_id)
        elif luck < 0.8:
            await self._repeat(request_id, task_id)
        else:
            await self.ask("ListTasks", pb.ListTasksRequest(page_size=5))

    async def _look_at_child(self, child: Life) -> None:
        """A child is a task like any other: it can be read, and cancelled by itself or with its parent."""
        task_id = f"{child.task_id:016x}"
        if self.rng.random() >= 2 * self._cancel_share:
            await self._get(task_id)
        elif self.rng.random() < 0.7:
            await self._cancel(task_id)
        else:
            await asyncio.gather(self._cancel(task_id), self._cancel(f"{child.last.parent_id:016x}"))

    async def _get(self, task_id: str) -> None:
        request = pb.GetTaskRequest(task_id=task_id)
        if self.rng.random() < 0.5:
            request.wait.seconds = self.rng.randrange(1, 20)
        try:
            task = (await self.ask("GetTask", request, 30.0)).task
        except Refused as error:
            if error.code == "NOT_FOUND" and int(task_id, 16) in self._ledger.lives:
                self.claims._fail(1, f"task {task_id} was acknowledged and is not found")
            return
        if task.state in FINISHED:
            self.claims.ended(task_id, task.state, task.output.data)

    async def _cancel(self, task_id: str) -> None:
        try:
            task = (await self.ask("CancelTask", pb.CancelTaskRequest(task_id=task_id))).task
        except Refused as error:
            if error.code == "FAILED_PRECONDITION":
                self.claims.too_late_to_cancel.add(task_id)
            return
        if task.state != task_pb2.Task.STATE_CANCELLED:
            self.claims._fail(5, f"task {task_id} was cancelled and is {task.state}")
        self.claims.cancelled.add(task_id)

    async def _repeat(self, request_id: str, task_id: str) -> None:
        """The same submission again, or another one under its name."""
        submitted = self.claims.submissions[request_id]
        request = pb.SubmitTaskRequest(request_id=request_id, spec=submitted.spec)
        is_other = self.rng.random() < 0.3
        if is_other:
            self._others += 1
            request.spec.labels["other"] = str(self._others)
        try:
            answer = await self.ask("SubmitTask", request)
        except Refused as error:
            if error.reason == "REQUEST_ID_REUSED" and not is_other:
                self.claims._fail(1, f"{request_id} was repeated as it was and told that it was not")
            return
        is_purged = int(task_id, 16) in self._ledger.gone
        if is_purged:
            if is_other:
                submitted.spec = request.spec
            submitted.task_ids.discard(task_id)
            submitted.task_ids.add(answer.task.task_id)
        elif is_other:
            self.claims._fail(1, f"{request_id} was used for another task and accepted")
        elif answer.task.task_id != task_id:
            self.claims._fail(1, f"{request_id} became the tasks {task_id} and {answer.task.task_id}")


class Watcher(Caller):
    """Follows every change, over broken streams, from where it was."""

    def __init__(self, name: str, network: Network, claims: Claims, rng: Random) -> None:
        super().__init__(name, network, claims, rng)
        self.is_leaving = False
        self.since = -1  # It has seen every change after this revision ...
        self.revision = 0  # ... up to this one.
        self.seen: set[tuple[int, int]] = set()
        self._is_snapshot = True

    async def work(self) -> None:
        """Until it is told to leave."""
        while not self.is_leaving:
            self._is_snapshot = self.revision == 0
            if self._is_snapshot:
                self.seen.clear()
            call = self.tasks.WatchTasks(pb.WatchTasksRequest(revision=self.revision))
            try:
                while (frame := await call.read()) is not grpc.aio.EOF:
                    self._take(frame)
                    if self.rng.random() < 0.02:
                        await asyncio.sleep(self.rng.random() * 5)
            except grpc.aio.AioRpcError as failure:
                self._ended(error_of_call(failure))
            await asyncio.sleep(self.rng.random())
        self.is_done = True

    def _ended(self, error: Refused) -> None:
        if error.code == "OUT_OF_RANGE":
            self.revision, self.since = 0, -1
            self.seen.clear()
            self.claims.counts["watch out of range"] += 1
        elif error.code in ("INTERNAL", "UNKNOWN"):
            self.claims._fail(10, f"a watch was ended with {error.code}: {error.message}")
        else:
            self.claims.counts["watch resumed"] += self.revision > 0

    def _take(self, frame: Any) -> None:
        for event in frame.events:
            if not event.HasField("task"):
                continue
            revision = event.task.revision
            if not self._is_snapshot:
                if revision <= self.revision:
                    self.claims._fail(11, f"a watch told revision {revision} after {self.revision}")
                self.revision = revision
                self.seen.add((int(event.task.task_id, 16), revision))
        if self._is_snapshot and not frame.snapshot_done:
            return
        if self._is_snapshot:
            self._is_snapshot = False
            self.since = frame.revision
        if frame.revision < self.revision:
            self._went_back(frame.revision)
        self.revision = max(self.revision, frame.revision)

    def _went_back(self, revision: int) -> None:
        self.claims._fail(11, f"a watch went back from revision {self.revision} to {revision}")

    def missed(self, ledger: Ledger) -> list[str]:
        """Changes within what it has seen that it was not told of."""
        if self.since < 0:
            return []
        wanted = {
            (life.task_id, record.revision)
            for life in (*ledger.lives.values(), *ledger.gone.values())
            for record in life.records
            if self.since < record.revision <= self.revision
        }
        return [f"task {task:016x} revision {at}" for task, at in sorted(wanted - self.seen)]
