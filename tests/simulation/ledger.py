"""Everything that became durable, row by row, held against the rules of a task's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.family import Family
from tests.simulation.letters import Letters
from upbeat_server.engine.model import FINISHED, AttemptOutcome, TaskState
from upbeat_server.engine.record_rules import violations
from upbeat_server.engine.task_machine import NEXT
from upbeat_server.engine.timers import BUCKET_MS
from upbeat_server.store import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upbeat_server.engine.model import Attempt, TaskRecord, TaskSpec
    from upbeat_server.store.store import Adoption, NamespaceBatch


def _reachable() -> dict[int, set[int]]:
    """The states that a path of the diagram leads to, one commit or several turns later."""
    found: dict[int, set[int]] = {state: {state} for state in TaskState}
    for _ in TaskState:
        for (before, _input), after in NEXT.items():
            found[before] |= found[after]
    return found


REACHABLE = _reachable()


class Life:
    """One task, as the medium has seen it."""

    def __init__(self, task_id: int, spec: TaskSpec, spec_bytes: bytes) -> None:
        self.task_id = task_id
        self.spec = spec
        self.spec_bytes = spec_bytes
        self.records: list[TaskRecord] = []
        self.eligible_ms = 0
        self.holders: dict[int, str] = {}  # Attempt to agent, for good.
        self.outcomes: dict[int, int] = {}

    @property
    def last(self) -> TaskRecord:
        """As it is now."""
        return self.records[-1]

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.last.state in FINISHED

    def at(self, revision: int) -> TaskRecord | None:
        """As it was with a revision."""
        return next((record for record in self.records if record.revision == revision), None)


class Ledger:
    """All tasks that ever were durable."""

    def __init__(self, fail: Callable[[int, str], None], lease_losses_max: int) -> None:
        self._fail = fail  # Told of the invariant's number and what is wrong.
        self._lease_losses_max = lease_losses_max
        self.lives: dict[int, Life] = {}
        self.by_request: dict[str, Life] = {}
        self.gone: dict[int, Life] = {}  # Purged.
        self.family = Family(fail, self.known)
        self.letters = Letters(fail, self.known)
        self.epoch = 0
        self.revision = 0
        self.clock_ms = 0
        self.rows = 0
        self.trace: Callable[[str], None] = lambda _line: None

    def adopted(self, _namespace: str, adoption: Adoption) -> None:
        """A server took over."""
        if adoption.epoch <= self.epoch:
            self._fail(9, f"epoch {adoption.epoch} after {self.epoch}")
        self.epoch = adoption.epoch
        self.trace(f"adopted {adoption.epoch} {len(adoption.unfinished)}")

    def committed(self, batches: list[NamespaceBatch]) -> None:
        """A commit is durable from now on."""
        for batch in batches:
            if batch.clock_ms < self.clock_ms:
                self._fail(9, f"engine time went back by {self.clock_ms - batch.clock_ms} ms")
            self.clock_ms = max(self.clock_ms, batch.clock_ms)
            for row in batch.rows:
                self.rows += 1
                record = codec.decode_record(row.record)
                self.trace(f"row {row.task_id:x} {row.record.hex()}")
                if record.revision <= self.revision and record.revision <= batch.revision - len(batch.rows):
                    self._fail(9, f"revision {record.revision} is not new")
                self._take(record, row.spec)
            self.revision = max(self.revision, batch.revision)
            self.family.committed()
            for note in batch.notes:
                self.letters.committed(*note)

    def purged(self, _namespace: str, task_ids: list[int], before_ms: int, keep: int) -> None:
        """The store forgot tasks: those that ended before a time, and all but the newest ``keep``."""
        finished = sum(life.is_finished for life in self.lives.values())
        too_many = max(0, finished - keep)
        for task_id in task_ids:
            life = self.lives.pop(task_id, None)
            if life is None:
                self._fail(1, f"task {task_id:016x} was purged and never was")
                continue
            if not life.is_finished:
                self._fail(1, f"task {task_id:016x} was purged unfinished")
            elif self._is_needed(life):
                self._fail(13, f"task {task_id:016x} was purged before its collaboration had ended")
            elif life.last.end_ms >= before_ms and too_many <= 0:
                self._fail(1, f"task {task_id:016x} was purged before its time")
            too_many -= 1
            self.gone[task_id] = life
            if self.by_request.get(life.last.request_id) is life:
                del self.by_request[life.last.request_id]

    def _is_needed(self, life: Life) -> bool:
        parent = self.known(life.last.parent_id)
        return parent is not None and not parent.is_finished

    def known(self, task_id: int) -> Life | None:
        """A task, also one that was purged."""
        return self.lives.get(task_id) or self.gone.get(task_id)

    def _take(self, record: TaskRecord, spec_bytes: bytes | None) -> None:
        life = self.lives.get(record.task_id)
        name = f"task {record.task_id:016x}"
        if life is None:
            if spec_bytes is None:
                self._fail(1, f"{name} has no spec")
                return
            life = self.lives[record.task_id] = Life(
                record.task_id, codec.decode_spec(spec_bytes), spec_bytes
            )
            if record.request_id and self.by_request.setdefault(record.request_id, life) is not life:
                self._fail(1, f"{name} has the request_id {record.request_id} of another task")
        else:
            for words in _between(life.last, record):
                self._fail(5, f"{name} {words}")
        for words in violations(record, life.spec):
            self._fail(_number(words), f"{name}: {words}")
        if record.lease_losses > self._lease_losses_max:
            self._fail(5, f"{name} lost {record.lease_losses} leases")
        self._follow_attempts(life, record, name)
        life.records.append(record)
        self.family.took(life)

    def _follow_attempts(self, life: Life, record: TaskRecord, name: str) -> None:
        highest = max(life.holders, default=0)
        for attempt in record.attempts:
            number = attempt.attempt
            holder = life.holders.setdefault(number, attempt.agent_id)
            if holder != attempt.agent_id:
                self._fail(3, f"{name}: attempt {number} was {holder}'s and is {attempt.agent_id}'s")
            before = life.outcomes.get(number, AttemptOutcome.RUNNING)
            overtook = (before, attempt.outcome) == (AttemptOutcome.HEDGED, AttemptOutcome.COMPLETED)
            if before not in (AttemptOutcome.RUNNING, attempt.outcome) and not overtook:
                self._fail(3, f"{name}: attempt {number} ended as {before} and again as {attempt.outcome}")
            life.outcomes[number] = attempt.outcome
            self.family.counts["attempt overtook its hedge"] += overtook
            self.family.counts["attempt hedged"] += before != attempt.outcome == AttemptOutcome.HEDGED
            if number > highest:
                self._check_start(life, attempt, name)
                self.family.check_start(record, attempt.start_ms)
        if list(life.outcomes.values()).count(AttemptOutcome.COMPLETED) > 1:
            self._fail(2, f"{name} has two accepted results")
        if record.state == TaskState.PENDING:
            life.eligible_ms = record.eligible_ms

    def _check_start(self, life: Life, attempt: Attempt, name: str) -> None:
        spec, start_ms = life.spec, attempt.start_ms
        if start_ms < max(life.eligible_ms, spec.not_before_ms):
            self._fail(5, f"{name}: attempt {attempt.attempt} began before its time")
        create_ms = life.last.create_ms if life.records else start_ms
        if spec.total_timeout_ms and start_ms > create_ms + spec.total_timeout_ms + 2 * BUCKET_MS:
            self._fail(5, f"{name}: attempt {attempt.attempt} began after its total_timeout")


def _number(words: str) -> int:
    """The invariant that a broken rule of a record belongs to."""
    if "UNSAFE" in words:
        return 6
    if "accepted" in words:
        return 2
    return 3 if "attempt" in words else 5


def _between(before: TaskRecord, after: TaskRecord) -> Iterator[str]:
    """What two versions of a task that follow each other may not do."""
    if before.state in FINISHED:
        yield f"changed after it ended as {TaskState(before.state).name}"
    if after.state not in REACHABLE[before.state]:
        yield f"went from {TaskState(before.state).name} to {TaskState(after.state).name}"
    if after.attempt < before.attempt:
        yield f"went back to attempt {after.attempt}"
    if after.revision <= before.revision:
        yield "has an old revision"
    if (after.create_ms, after.request_id, after.fingerprint) != (
        before.create_ms,
        before.request_id,
        before.fingerprint,
    ):
        yield "changed what it was submitted as"
    if after.failures < before.failures or after.lease_losses < before.lease_losses:
        yield "forgot failures"
