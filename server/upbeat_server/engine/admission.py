"""At the door of the queue: who gets in, and with which words not.

Order matters: a repeat of a request_id is answered before any bound is looked
at, so that a caller who repeats a submission after an indefinite answer never
hears QUEUE_FULL for a task that is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.collaboration import groups
from upbeat_server.engine.commands import SubmissionKnown, SubmissionRefused, Submitted
from upbeat_server.engine.model import Refusal, TaskRecord, TaskState
from upbeat_server.engine.queue import requirement_of
from upbeat_server.engine.task import Task

if TYPE_CHECKING:
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import Submission, TasksSubmitted
    from upbeat_server.engine.model import TaskSpec
    from upbeat_server.engine.queue import Signature

RETRY_FULL_MS = 1_000

PENDING, QUEUED = TaskState.PENDING, TaskState.QUEUED


def submit(engine: Engine, event: TasksSubmitted, now_ms: int) -> None:
    """Accept or refuse each submission of a batch, on its own."""
    commands, requests, origin = engine.commands, engine.requests, event.origin
    for submission in event.submissions:
        if submission.request_id and submission.request_id in requests:
            _repeat(engine, origin, submission)
            continue
        signature = engine.queue.signatures.get(requirement_of(submission.spec))
        refusal = _refusal(engine, submission, signature)
        if refusal is not None:
            commands.append(SubmissionRefused(origin, submission.index, refusal))
            continue
        task = _admit(engine, submission, signature, now_ms)
        commands.append(Submitted(origin, submission.index, task))
        if task.spec.collaboration is not None and task.record.eligible_ms <= now_ms:
            groups.start(engine, task, now_ms)


def _repeat(engine: Engine, origin: int, submission: Submission) -> None:
    """Answer a submission whose request_id is known."""
    task_id = engine.requests[submission.request_id]
    task = engine.tasks.get(task_id)
    if task is None:
        known = SubmissionKnown(origin, submission.index, task_id, submission.fingerprint)
        engine.commands.append(known)
    elif task.record.fingerprint == submission.fingerprint:
        engine.commands.append(Submitted(origin, submission.index, task))
    else:
        refusal = request_id_reused(submission.request_id)
        engine.commands.append(SubmissionRefused(origin, submission.index, refusal))


def request_id_reused(request_id: str) -> Refusal:
    """The refusal of a request_id that came with another spec before."""
    return Refusal(
        reasons.REQUEST_ID_REUSED,
        "request_id was used with another spec: use a new one for a new task",
        {"request_id": request_id},
    )


def _admit(engine: Engine, submission: Submission, signature: Signature | None, now_ms: int) -> Task:
    spec, spec_bytes = submission.spec, submission.spec_bytes
    record = TaskRecord(engine.next_id(), QUEUED, now_ms, submission.request_id, submission.fingerprint)
    if spec.not_before_ms > now_ms or spec.collaboration is not None:
        record.state = PENDING
        record.eligible_ms = max(spec.not_before_ms, now_ms)
    task = Task(record, spec, signature or engine.signature_of(spec, submission.predicate))
    task.spec_bytes = spec_bytes
    task.spec_size = len(spec_bytes)
    if spec.collaboration is not None:
        engine.compiled[task.task_id] = (submission.predicates, submission.checks)
    engine.admit(task, now_ms)
    return task


def _refusal(engine: Engine, submission: Submission, signature: Signature | None) -> Refusal | None:
    """Why a new task may not come in; None if it may."""
    spec = submission.spec
    bounds = engine.limits.bounds
    if spec.dedup_key and spec.dedup_key in engine.dedup_keys:
        other = f"{engine.dedup_keys[spec.dedup_key]:016x}"
        return Refusal(
            reasons.DUPLICATE_TASK,
            f"task {other} has this dedup_key and is not finished",
            {"dedup_key": spec.dedup_key, "task_id": other},
        )
    # Children are never refused: what collaborations may have live is reserved with them.
    own = 1 if spec.collaboration is None else 1 + engine.live_max(spec)
    if engine.reserved > engine.children:
        own += engine.reserved - engine.children
    if len(engine.tasks) + own > bounds.queue_tasks_max:
        return full(reasons.QUEUE_FULL, "queue_tasks_max", bounds.queue_tasks_max, "unfinished tasks")
    if engine.queue_bytes + len(submission.spec_bytes) > bounds.queue_bytes_max:
        return full(
            reasons.QUEUE_BYTES_FULL,
            "queue_bytes_max",
            bounds.queue_bytes_max,
            "bytes of unfinished tasks",
        )
    is_known = signature is not None and spec.collaboration is None
    if not is_known and not _has_room_for_signatures(engine, spec):
        return full(
            reasons.SIGNATURES_EXHAUSTED,
            "signatures_max",
            bounds.signatures_max,
            "different requirements (type, required_capabilities, selector)",
        )
    if (spec.limits or spec.collaboration is not None) and not _has_room_for_limits(engine, spec):
        keys_max = engine.limits.ordering.limit_keys_max
        return full(reasons.LIMIT_KEYS_EXHAUSTED, "limit_keys_max", keys_max, "keys of limits in use")
    if spec.fairness_key in engine.queue.keys[spec.priority]:
        return None
    return _key_refusal(engine)


def _has_room_for_limits(engine: Engine, spec: TaskSpec) -> bool:
    """Whether the limits that a task, or the steps of a collaboration, names have few enough keys.

    What the children of others will name counts as if they were there.
    """
    known, expected = engine.quotas.by_key, engine.expected.keys
    new = sum(key not in known and key not in expected for key in engine.expected.of(spec).keys)
    if not new:
        return True
    count = len(known) + sum(key not in known for key in expected)
    return count + new <= engine.limits.ordering.limit_keys_max


def _has_room_for_signatures(engine: Engine, spec: TaskSpec) -> bool:
    """Whether the requirements of a task, or of all steps of a collaboration, are few enough.

    What the children of others will require counts as if they were there.
    """
    live, expected = engine.queue.signatures, engine.expected.counts
    if not expected and spec.collaboration is None:  # Then it is known that it is not live.
        return len(live) < engine.limits.bounds.signatures_max
    new = 0
    for needed in engine.expected.of(spec).requirements:
        if needed not in live and needed not in expected:
            new += 1
    if not new:
        return True
    known = len(live) + sum(requirement not in live for requirement in expected)
    return known + new <= engine.limits.bounds.signatures_max


def _key_refusal(engine: Engine) -> Refusal | None:
    queue = engine.queue
    keys_max = engine.limits.bounds.fairness_keys_max
    if queue.key_count < keys_max:
        return None
    queue.sweep_keys()
    if queue.key_count < keys_max:
        return None
    return full(reasons.FAIRNESS_KEYS_EXHAUSTED, "fairness_keys_max", keys_max, "fairness keys in use")


def full(reason: str, bound: str, limit: int, what: str) -> Refusal:
    """The refusal of what is one too many, or too large, for now."""
    return Refusal(
        reason,
        f"the namespace has {limit:,} {what}, which is its limit ({bound}): try again later",
        {"bound": bound, "limit": str(limit)},
        retry_ms=RETRY_FULL_MS,
    )
