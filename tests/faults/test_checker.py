"""The checker itself: a good history passes, and each property has a history that it must reject."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.faults.checker import check
from tests.faults.final import FinalAttempt, FinalTask
from tests.support import facts as f
from tests.support.facts import Fact

TASK = "0000010000000001"
OTHER = "0000010000000002"
LEASE_1, LEASE_2 = f"{TASK}0001", f"{TASK}0002"


class Case:
    """A story that is all right; a test spoils it in one place."""

    def __init__(self) -> None:
        self._now = 0
        self.facts: list[Fact] = []
        self.tasks: dict[str, FinalTask] = {}
        self.answered: dict[str, FinalTask] | None = None

    def note(self, fact: Fact, at: int = 0) -> None:
        """The next fact, or one at another time."""
        self._now += 10
        self.facts.append(msgspec.structs.replace(fact, at_ns=at or self._now))

    def tell(self) -> None:
        """A task is submitted, lost by one agent, done by another, and seen by caller and watch."""
        self.note(f.Submitting(request_id="r1", body="in"))
        self.note(f.Acknowledged(request_id="r1", task_id=TASK))
        self.note(f.WatchBegan(watch="w", revision=0))
        self.note(f.Watched(watch="w", revision=1, task_id=TASK, state="QUEUED", attempt=0))
        self.note(f.Snapshotted(watch="w", revision=1))
        for agent, attempt in (("a1", 1), ("a2", 2)):
            lease = f"{TASK}{attempt:04x}"
            self.note(self.assigned(agent, attempt))
            self.note(f.Began(agent_id=agent, process=agent, task_id=TASK, lease_id=lease, attempt=attempt))
            watched = f.Watched(
                watch="w", revision=attempt + 1, task_id=TASK, state="RUNNING", attempt=attempt
            )
            self.note(watched)
        self.note(f.Reported(agent_id="a2", lease_id=LEASE_2, output="out"))
        self.note(f.Reported(agent_id="a1", lease_id=LEASE_1, output="late"))
        self.note(f.Judged(agent_id="a2", lease_id=LEASE_2, outcome="ACCEPTED"))
        self.note(f.Judged(agent_id="a1", lease_id=LEASE_1, outcome="STALE"))
        self.note(f.Watched(watch="w", revision=4, task_id=TASK, state="COMPLETED", attempt=2))
        self.note(f.WatchCaughtUp(watch="w", revision=4))
        self.note(self.seen("COMPLETED", output="out"))
        attempts = (
            FinalAttempt(1, LEASE_1, "a1", "LEASE_LOST"),
            FinalAttempt(2, LEASE_2, "a2", "COMPLETED"),
        )
        self.tasks[TASK] = FinalTask(
            TASK, "r1", "in", "COMPLETED", "out", "", 2, attempts, 4, False, 3, failures=0, accepted_attempt=2
        )

    def seen(self, state: str, output: str | None = None, attempt: int = 2) -> f.Seen:
        """A caller was told of the task."""
        return f.Seen(
            task_id=TASK, state=state, asked_ns=self._now + 5, output=output, attempt=attempt, by="GetTask"
        )

    def change(self, **fields: object) -> None:
        """The task is otherwise in the end."""
        self.tasks[TASK] = msgspec.structs.replace(self.tasks[TASK], **fields)

    def swap(self, kind: type[Fact], **fields: object) -> None:
        """The first fact of a kind says something else."""
        index = next(i for i, fact in enumerate(self.facts) if type(fact) is kind)
        self.facts[index] = msgspec.structs.replace(self.facts[index], **fields)

    def lost(self) -> tuple[FinalAttempt, ...]:
        """Both attempts, the first of which was lost."""
        first, second = self.tasks[TASK].attempts
        return (msgspec.structs.replace(first, outcome="LEASE_LOST"), second)

    def assigned(self, agent: str, attempt: int) -> f.Assigned:
        """An agent was handed an attempt of the task."""
        lease = f"{TASK}{attempt:04x}"
        return f.Assigned(agent_id=agent, process=agent, task_id=TASK, lease_id=lease, attempt=attempt)

    def watched(self, revision: int, state: str) -> f.Watched:
        """The watch told of the task."""
        return f.Watched(watch="w", revision=revision, task_id=TASK, state=state, attempt=2)

    def drop_watched(self, revision: int) -> None:
        """The watch leaves a change out."""
        self.facts = [x for x in self.facts if not (isinstance(x, f.Watched) and x.revision == revision)]

    def swap_last_watched(self, state: str) -> None:
        """The last change has another state."""
        self.drop_watched(4)
        self.note(self.watched(4, state))

    def snapshot_twice(self) -> None:
        """A snapshot has the task twice."""
        for _ in range(2):
            self.note(self.watched(1, "QUEUED"))

    def with_output(self, output: str) -> FinalTask:
        """The task, otherwise answered."""
        return msgspec.structs.replace(self.tasks[TASK].as_answered(), output=output)

    def problems(self) -> list[str]:
        """What the checker says."""
        return check(self.facts, self.tasks, self.answered)


@pytest.fixture
def case() -> Case:
    good = Case()
    good.tell()
    return good


def cancelled(case: Case) -> None:
    """The task was cancelled instead, and both sides were told so."""
    attempts = (case.tasks[TASK].attempts[0], FinalAttempt(2, LEASE_2, "a2", "CANCELLED"))
    case.change(state="CANCELLED", output=None, error="CANCELLED", accepted_attempt=0, attempts=attempts)
    case.facts = [fact for fact in case.facts if not isinstance(fact, f.Seen | f.Judged)]
    last = max(i for i, fact in enumerate(case.facts) if isinstance(fact, f.Watched))
    case.facts[last] = msgspec.structs.replace(case.facts[last], state="CANCELLED")
    case.note(f.Cancelling(task_id=TASK))
    case.note(f.CancelAnswered(task_id=TASK, state="CANCELLED"))
    case.note(f.Judged(agent_id="a2", lease_id=LEASE_2, outcome="STALE"))


def failed(case: Case) -> None:
    """The second attempt failed for good instead."""
    attempts = (case.tasks[TASK].attempts[0], FinalAttempt(2, LEASE_2, "a2", "FAILED"))
    case.change(state="FAILED", output=None, error="PLANNED", attempts=attempts, failures=1)
    case.facts = [fact for fact in case.facts if not isinstance(fact, f.Seen)]
    last = max(i for i, fact in enumerate(case.facts) if isinstance(fact, f.Watched))
    case.facts[last] = msgspec.structs.replace(case.facts[last], state="FAILED")
    case.swap(f.Reported, output=None)


@pytest.mark.parametrize("story", [lambda _: None, cancelled, failed])
def test_a_history_in_which_all_is_well_passes(case: Case, story: Callable[[Case], None]) -> None:
    story(case)
    case.answered = {task_id: task.as_answered() for task_id, task in case.tasks.items()}
    assert case.problems() == []


def second_submission(case: Case, **fields: object) -> None:
    """Another task in the store."""
    changes = {"task_id": OTHER, "attempt": 0, "attempts": (), "state": "CANCELLED", "output": None} | fields
    case.tasks[OTHER] = msgspec.structs.replace(case.tasks[TASK], accepted_attempt=0, **changes)
    case.note(f.Cancelling(task_id=OTHER))


def watch_again(case: Case, *revisions: int) -> None:
    """A second watch that tells of some of the changes."""
    case.note(f.WatchBegan(watch="v", revision=0))
    case.note(f.Watched(watch="v", revision=1, task_id=TASK, state="QUEUED", attempt=0))
    case.note(f.Snapshotted(watch="v", revision=1))
    for revision in revisions:
        state = "COMPLETED" if revision == 4 else "RUNNING"
        attempt = min(revision - 1, 2)
        case.note(f.Watched(watch="v", revision=revision, task_id=TASK, state=state, attempt=attempt))
    case.note(f.WatchCaughtUp(watch="v", revision=4))


def refuse(case: Case) -> None:
    """Somebody else's submission was refused."""
    case.note(f.Submitting(request_id="r2", body="in"))
    case.note(f.Refused(request_id="r2", body="in", reason="QUEUE_FULL"))


def accept_again(case: Case) -> None:
    """The late result was accepted, too."""
    index = next(i for i, x in enumerate(case.facts) if isinstance(x, f.Judged) and x.lease_id == LEASE_1)
    case.facts[index] = msgspec.structs.replace(case.facts[index], outcome="ACCEPTED")


def overlap(case: Case) -> None:
    """The first attempt was alive until after the second was handed out: its error was accepted."""
    accept_again(case)
    index = next(i for i, x in enumerate(case.facts) if isinstance(x, f.Reported) and x.lease_id == LEASE_1)
    case.facts[index] = msgspec.structs.replace(case.facts[index], output=None)
    case.change(attempts=(FinalAttempt(1, LEASE_1, "a1", "FAILED"), case.tasks[TASK].attempts[1]), failures=1)


def both(one: Callable[[Case], object], other: Callable[[Case], object]) -> Callable[[Case], object]:
    """One after the other."""

    def spoil(case: Case) -> None:
        one(case)
        other(case)

    return spoil


SPOILED: list[tuple[str, Callable[[Case], object]]] = [
    ("acknowledged and is lost", lambda c: c.tasks.clear()),
    ("was acknowledged for r9", lambda c: c.swap(f.Acknowledged, request_id="r9")),
    ("became", lambda c: c.note(f.Acknowledged(request_id="r1", task_id=OTHER))),
    ("two requests became one task", lambda c: c.note(f.Acknowledged(request_id="r2", task_id=TASK))),
    ("submitted by nobody", lambda c: second_submission(c, request_id="r7")),
    ("submitted by nobody, or otherwise", lambda c: c.change(body="other")),
    ("has two tasks", second_submission),
    ("every submission of r2 was refused", both(refuse, lambda c: second_submission(c, request_id="r2"))),
    ("its result was UNKNOWN", lambda c: c.swap(f.Judged, outcome="UNKNOWN")),
    ("was STALE, and its attempt is COMPLETED", lambda c: c.swap(f.Judged, outcome="STALE")),
    ("has two accepted results", accept_again),
    ("told ACCEPTED; its task is FAILED", lambda c: c.change(state="FAILED")),
    ("told ACCEPTED; its task is COMPLETED by 1", lambda c: c.change(accepted_attempt=1)),
    ("ACCEPTED, and its attempt is LEASE_LOST", both(overlap, lambda c: c.change(attempts=c.lost()))),
    ("FAILED and has a result", lambda c: c.change(state="FAILED")),
    ("is COMPLETED by 0 attempts", lambda c: c.change(attempts=())),
    ("never sent", lambda c: c.swap(f.Reported, agent_id="a3")),
    ("its agent reported", lambda c: c.change(output="late")),
    ("was given to", lambda c: c.note(c.assigned("a9", 2))),
    ("handed out and is not stored", lambda c: c.note(c.assigned("a9", 3))),
    ("is not attempt 1", lambda c: c.swap(f.Assigned, lease_id=f"{TASK}0009")),
    ("is stored for a1", lambda c: c.swap(f.Assigned, agent_id="a7")),
    ("attempts with gaps", lambda c: c.change(attempts=(c.tasks[TASK].attempts[1],) * 2)),
    ("failed 4 times of 3", lambda c: c.change(failures=4)),
    ("two live leases", overlap),
    ("began twice", lambda c: c.note(next(x for x in c.facts if isinstance(x, f.Began)))),
    ("which it was not given", lambda c: c.swap(f.Began, agent_id="a5")),
    ("was acted on 2 times", lambda c: c.change(is_unsafe=True)),
    ("was answered CANCELLED", lambda c: c.note(f.CancelAnswered(task_id=TASK, state="CANCELLED"))),
    ("was answered FAILED", lambda c: c.note(f.CancelAnswered(task_id=TASK, state="FAILED"))),
    ("nobody wanted it", both(second_submission, lambda c: c.facts.pop())),
    ("was told that", lambda c: c.note(c.seen("FAILED"))),
    ("was told that there is no task", lambda c: c.note(c.seen("NOT_THERE"))),
    ("was told the output", lambda c: c.note(c.seen("COMPLETED", output="late"))),
    ("was told RUNNING later", lambda c: c.note(c.seen("RUNNING"))),
    ("seen at attempt 3 of 2", lambda c: c.note(c.seen("RUNNING", attempt=3))),
    ("has not ended", lambda c: c.change(state="RUNNING")),
    ("came twice", lambda c: c.note(c.watched(4, "COMPLETED"))),
    ("came out of order", both(lambda c: c.drop_watched(3), lambda c: c.note(c.watched(3, "RUNNING")))),
    ("a gap", lambda c: c.drop_watched(2)),
    ("had ended as COMPLETED", lambda c: c.note(c.watched(5, "RUNNING"))),
    ("lacks revision 4", lambda c: c.drop_watched(4)),
    ("v lacks revision 3", lambda c: watch_again(c, 2, 4)),
    ("resumed after 3, had 4", lambda c: c.note(f.WatchBegan(watch="w", revision=3))),
    ("went back from 4 to 2", lambda c: c.note(f.WatchCaughtUp(watch="w", revision=2))),
    ("twice in a snapshot", both(lambda c: c.note(f.WatchBegan(watch="w", revision=0)), Case.snapshot_twice)),
    ("a snapshot up to 0 holds 1", lambda c: c.swap(f.Snapshotted, revision=0)),
    ("was FAILED, it is COMPLETED", lambda c: c.swap_last_watched("FAILED")),
    ("one of store and answers only", lambda c: setattr(c, "answered", {})),
    ("in answers", lambda c: setattr(c, "answered", {TASK: c.with_output("other")})),
]


@pytest.mark.parametrize(("words", "spoil"), SPOILED, ids=[words for words, _ in SPOILED])
def test_a_bad_history_is_rejected_for_what_is_bad_in_it(
    case: Case, words: str, spoil: Callable[[Case], object]
) -> None:
    spoil(case)
    problems = case.problems()
    assert any(words in problem for problem in problems), problems


def test_a_cancelled_task_that_holds_a_result_is_rejected(case: Case) -> None:
    cancelled(case)
    case.change(output="out")
    assert any("CANCELLED and has a result" in problem for problem in case.problems())


def test_every_property_has_a_bad_history() -> None:
    """A property that no bad history fails would be one that cannot fail."""
    from tests.faults import checker

    silent = {property_.__name__ for property_ in checker.PROPERTIES}
    for _, spoil in SPOILED:
        case = Case()
        case.tell()
        spoil(case)
        history = checker.History(case.facts, case.tasks)
        silent -= {property_.__name__ for property_ in checker.PROPERTIES if list(property_(history))}
    assert silent == set()
