"""What must hold of a history, judged from outside: what callers and agents were told against what there is.

The properties are the invariants of ``server/ARCHITECTURE.md`` as somebody sees them who knows
nothing of the server's inside. Only what is decidable counts: a fact that was noted before an act
and one that was noted after its answer enclose what the server did.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from tests.faults.final import ENDED
from tests.faults.watch_checks import check_watches
from tests.support import facts as f

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.faults.final import FinalTask
    from tests.support.facts import Fact

T = TypeVar("T", bound="Fact")


class History:
    """All facts, and every task as it is in the end (from the store)."""

    def __init__(self, facts: Iterable[Fact], tasks: dict[str, FinalTask]) -> None:
        self.facts = sorted(facts, key=lambda fact: fact.at_ns)
        self.tasks = tasks
        self._by_kind: dict[type, list[Any]] = defaultdict(list)
        for fact in self.facts:
            self._by_kind[type(fact)].append(fact)

    def of(self, kind: type[T]) -> list[T]:
        """The facts of a kind, by time."""
        return self._by_kind[kind]

    def task_of_lease(self, lease_id: str) -> FinalTask | None:
        """The task a lease belongs to; a lease is its task and four digits for the attempt."""
        return self.tasks.get(lease_id[:16])


def check(
    facts: Iterable[Fact], stored: dict[str, FinalTask], answered: dict[str, FinalTask] | None = None
) -> list[str]:
    """Every violation as a sentence; empty if all is well."""
    history = History(facts, stored)
    found = [problem for property_ in PROPERTIES for problem in property_(history)]
    if answered is not None:
        found += compare(stored, answered)
    return found


def compare(stored: dict[str, FinalTask], answered: dict[str, FinalTask]) -> list[str]:
    """Where the server's answers differ from its store."""
    found = [f"{task_id} is in one of store and answers only" for task_id in stored.keys() ^ answered.keys()]
    found += [
        f"{task_id} is {stored[task_id]} in the store and {answered[task_id]} in answers"
        for task_id in stored.keys() & answered.keys()
        if stored[task_id].as_answered() != answered[task_id].as_answered()
    ]
    return found


def submissions(history: History) -> Iterator[str]:
    """An acknowledged one is never lost, one request_id is one task, a refusal had no effect."""
    bodies: dict[str, set[str]] = defaultdict(set)
    for sent in history.of(f.Submitting):
        bodies[sent.request_id].add(sent.body)
    task_ids: dict[str, str] = {}
    for told in history.of(f.Acknowledged):
        if task_ids.setdefault(told.request_id, told.task_id) != told.task_id:
            yield f"request {told.request_id} became {task_ids[told.request_id]} and {told.task_id}"
        task = history.tasks.get(told.task_id)
        if task is None:
            yield f"task {told.task_id} of request {told.request_id} was acknowledged and is lost"
        elif task.request_id != told.request_id:
            yield f"task {told.task_id} was acknowledged for {told.request_id}, it has {task.request_id}"
    if len(set(task_ids.values())) != len(task_ids):
        yield "two requests became one task"
    by_request: dict[str, str] = {}
    for task in history.tasks.values():
        if task.body not in bodies.get(task.request_id, ()):
            yield f"task {task.task_id} ({task.request_id}) was submitted by nobody, or otherwise"
        if by_request.setdefault(task.request_id, task.task_id) != task.task_id:
            yield f"request {task.request_id} has two tasks"


def refusals(history: History) -> Iterator[str]:
    """What was definitely refused, and neither accepted nor left open otherwise, is not there."""
    sent: dict[tuple[str, str], int] = defaultdict(int)
    for submitting in history.of(f.Submitting):
        sent[submitting.request_id, submitting.body] += 1
    refused: dict[tuple[str, str], int] = defaultdict(int)
    for told in history.of(f.Refused):
        refused[told.request_id, told.body] += 1
    there = {(task.request_id, task.body): task.task_id for task in history.tasks.values()}
    for key, count in refused.items():
        if count == sent[key] and key in there:
            yield f"every submission of {key[0]} was refused, and task {there[key]} exists"


def results(history: History) -> Iterator[str]:
    """One accepted result for a task; ACCEPTED means stored, STALE means not, UNKNOWN means never granted."""
    outputs = {told.lease_id: told.output for told in history.of(f.Reported)}
    assigned = {given.lease_id for given in history.of(f.Assigned)}
    accepted: dict[str, str] = {}
    for judged in history.of(f.Judged):
        lease_id, task = judged.lease_id, history.task_of_lease(judged.lease_id)
        if judged.outcome == "UNKNOWN":
            if lease_id in assigned:
                yield f"lease {lease_id} was handed out, and its result was UNKNOWN"
            continue
        if task is None:
            yield f"the result of lease {lease_id} was {judged.outcome}, and there is no such task"
            continue
        outcome = next((each.outcome for each in task.attempts if each.lease_id == lease_id), None)
        if judged.outcome == "STALE" and outcome in {"COMPLETED", "FAILED"}:
            yield f"the result of lease {lease_id} was STALE, and its attempt is {outcome}"
        if judged.outcome != "ACCEPTED":
            continue
        if outputs.get(lease_id) is None:
            if outcome not in {"FAILED", None}:
                yield f"the error of lease {lease_id} was ACCEPTED, and its attempt is {outcome}"
        elif accepted.setdefault(task.task_id, lease_id) != lease_id:
            yield f"task {task.task_id} has two accepted results: {accepted[task.task_id]} and {lease_id}"
        elif (task.state, task.accepted_attempt) != ("COMPLETED", int(lease_id[16:], 16)):
            yield f"lease {lease_id} was told ACCEPTED; its task is {task.state} by {task.accepted_attempt}"


def outputs(history: History) -> Iterator[str]:
    """A completed task holds what the agent of its accepted attempt reported, and nobody else does."""
    reported = {(told.agent_id, told.lease_id): told.output for told in history.of(f.Reported)}
    for task in history.tasks.values():
        completed = [each for each in task.attempts if each.outcome == "COMPLETED"]
        if task.state != "COMPLETED":
            if completed or task.output is not None:
                yield f"task {task.task_id} is {task.state} and has a result"
            continue
        if len(completed) != 1 or completed[0].attempt != task.accepted_attempt:
            yield f"task {task.task_id} is COMPLETED by {len(completed)} attempts"
            continue
        key = completed[0].agent_id, completed[0].lease_id
        if key not in reported:
            yield f"task {task.task_id} is COMPLETED by a result that {key[0]} never sent"
        elif reported[key] != task.output:
            yield f"task {task.task_id} holds {task.output!r}, its agent reported {reported[key]!r}"


def attempts(history: History) -> Iterator[str]:
    """Numbers rise without gaps, a lease has one holder, and what was handed out is durable."""
    holders: dict[str, str] = {}
    for given in history.of(f.Assigned):
        if holders.setdefault(given.lease_id, given.agent_id) != given.agent_id:
            yield f"lease {given.lease_id} was given to {holders[given.lease_id]} and {given.agent_id}"
        task = history.tasks.get(given.task_id)
        if task is None or task.attempt < given.attempt:
            yield f"attempt {given.attempt} of {given.task_id} was handed out and is not stored"
            continue
        if given.lease_id != f"{given.task_id}{given.attempt:04x}":
            yield f"lease {given.lease_id} is not attempt {given.attempt} of {given.task_id}"
        kept = next((each for each in task.attempts if each.attempt == given.attempt), None)
        if kept is not None and kept.agent_id != given.agent_id:
            yield f"lease {given.lease_id} went to {given.agent_id} and is stored for {kept.agent_id}"
    for task in history.tasks.values():
        numbers = [each.attempt for each in task.attempts]
        if numbers != list(range(task.attempt - len(numbers) + 1, task.attempt + 1)):
            yield f"task {task.task_id} has attempts with gaps: {numbers} of {task.attempt}"
        if task.failures is not None and task.failures > task.attempts_max:
            yield f"task {task.task_id} failed {task.failures} times of {task.attempts_max}"


def leases(history: History) -> Iterator[str]:
    """A lease whose result was accepted was alive from its assignment to its report: no other was."""
    accepted = {told.lease_id for told in history.of(f.Judged) if told.outcome == "ACCEPTED"}
    reported: dict[str, int] = {}
    for told in history.of(f.Reported):
        reported.setdefault(told.lease_id, told.at_ns)
    given: dict[str, list[f.Assigned]] = defaultdict(list)
    for each in history.of(f.Assigned):
        given[each.task_id].append(each)
    for task_id, handed in given.items():
        for one in handed:
            if one.lease_id not in accepted or one.lease_id not in reported:
                continue
            for other in handed:
                is_later = other.attempt > one.attempt
                if is_later and other.at_ns < reported[one.lease_id]:
                    yield f"task {task_id} had two live leases: attempts {one.attempt} and {other.attempt}"


def beginnings(history: History) -> Iterator[str]:
    """A lease is worked on once, by the agent that was handed it."""
    holders = {given.lease_id: given.agent_id for given in history.of(f.Assigned)}
    began: set[str] = set()
    for fact in history.of(f.Began):
        if fact.lease_id in began:
            yield f"the handler of lease {fact.lease_id} began twice"
        began.add(fact.lease_id)
        if holders.get(fact.lease_id) != fact.agent_id:
            yield f"{fact.agent_id} works on lease {fact.lease_id}, which it was not given"


def unsafe_work(history: History) -> Iterator[str]:
    """At most one handler ever begins UNSAFE work."""
    began: dict[str, set[str]] = defaultdict(set)
    for fact in history.of(f.Began):
        began[fact.task_id].add(f"attempt {fact.attempt} in {fact.process}")
    for task_id, acts in began.items():
        task = history.tasks.get(task_id)
        if task is not None and task.is_unsafe and len(acts) > 1:
            yield f"UNSAFE task {task_id} was acted on {len(acts)} times: {sorted(acts)}"


def cancellations(history: History) -> Iterator[str]:
    """A cancelled task never completes; where a result came first, the canceller is told so."""
    for told in history.of(f.CancelAnswered):
        task = history.tasks.get(told.task_id)
        if task is None:
            yield f"task {told.task_id} was cancelled and is not there"
        elif task.state != told.state:
            yield f"the cancellation of {told.task_id} was answered {told.state}, it is {task.state}"
    wanted = {fact.task_id for fact in history.of(f.Cancelling)}
    for task in history.tasks.values():
        if task.state == "CANCELLED" and task.task_id not in wanted:
            yield f"task {task.task_id} is CANCELLED and nobody wanted it"


def ends(history: History) -> Iterator[str]:
    """Terminal is final: whoever was told an end was told the end; and in the end all have one."""
    ended_ns: dict[str, int] = {}
    for seen in history.of(f.Seen):
        task = history.tasks.get(seen.task_id)
        if task is None:
            yield f"task {seen.task_id} was seen by {seen.by} and is not there"
            continue
        if seen.state == "NOT_THERE":
            yield f"{seen.by} was told that there is no task {seen.task_id}"
            continue
        if seen.state not in ENDED:
            if ended_ns.get(seen.task_id, seen.asked_ns) < seen.asked_ns:
                yield f"task {seen.task_id} had ended, and {seen.by} was told {seen.state} later"
            if seen.attempt > task.attempt:
                yield f"task {seen.task_id} was seen at attempt {seen.attempt} of {task.attempt}"
            continue
        ended_ns.setdefault(seen.task_id, seen.at_ns)
        if seen.state != task.state:
            yield f"{seen.by} was told that {seen.task_id} is {seen.state}, it is {task.state}"
        elif seen.state == "COMPLETED" and seen.output is not None and seen.output != task.output:
            yield f"{seen.by} was told the output {seen.output!r} of {seen.task_id}, it is {task.output!r}"
    for task in history.tasks.values():
        if task.state not in ENDED:
            yield f"task {task.task_id} has not ended: {task.state}"


def watches(history: History) -> Iterator[str]:
    """Ordered by revision, no gap, no duplicate."""
    yield from check_watches(history.facts, history.tasks)


PROPERTIES = (
    submissions,
    refusals,
    results,
    outputs,
    attempts,
    leases,
    beginnings,
    unsafe_work,
    cancellations,
    ends,
    watches,
)
