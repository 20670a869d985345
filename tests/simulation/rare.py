"""Events that a campaign must have met: what a workload never reaches, it never tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

RARE = (
    "server died",
    "server died in a commit",
    "server died in recovery",
    "cancel meets result",
    "result ACCEPTED",
    "result STALE",
    "result UNKNOWN",
    "result REJECTED",
    "ResolveResult",
    "SubmissionKnown",
    "lease dropped",
    "session resumed",
    "session ended FENCED",
    "session ended SILENT",
    "session ended in peace",
    "overdue lane",
    "attempt cancelled CANCELLED",
    "attempt cancelled ATTEMPT_TIMEOUT",
    "attempt cancelled NOT_ACKNOWLEDGED",
    "attempt cancelled TOTAL_TIMEOUT",
    "FAILED LEASE_LOST",
    "FAILED QUEUE_TIMEOUT",
    "FAILED TOTAL_TIMEOUT",
    "FAILED ATTEMPT_TIMEOUT",
    "refused QUEUE_FULL",
    "refused SERVER_BUSY",
    "refused DUPLICATE_TASK",
    "refused REQUEST_ID_REUSED",
    "repeated after UNAVAILABLE",
    "repeated after DEADLINE_EXCEEDED",
    "end was purged",
    "watch resumed",
    "watch out of range",
    "outcome unknown, written",
    "outcome unknown, not written",
    "commit refused",
    "attempt cancelled SUPERSEDED",
    "nested decision in the turn of a cancel",
    "collaboration within two others",
    "recovered with waiting spawns",
    "recovered with ends of children",
    "hedge launched",
    "attempt hedged",
    "attempt overtook its hedge",
    "ballot replaced",
    "decided early",
    "judge asked",
    "fallback run",
    "candidate validated",
    "voter graded",
    "items appended",
    "items refused TASK_FINISHED",
    "FAILED BUDGET_EXCEEDED",
    "FAILED INFEASIBLE",
    "message delivered again",
    "dead letter",
    "Sequential FAILED",
    "Parallel FAILED",
    "Pipeline FAILED",
    "Consensus FAILED",
    "Competitive FAILED",
    "limited",
    "type paused",
)


def missing(counts: Counter[str]) -> list[str]:
    """Those that never happened."""
    return [name for name in RARE if not counts[name]]
